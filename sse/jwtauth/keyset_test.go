package jwtauth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pgbell/pgbell/sse"
)

func TestKeysOfAnIssuerAreForWhatTheySay(t *testing.T) {
	more := func(name string, value any) map[string]any { return map[string]any{name: value} }
	for _, test := range []struct {
		name  string
		key   map[string]any
		token string
		want  bool
	}{
		{"RSA", published("RSA", "k", nil), by("RSA", "k", "RS256"), true},
		{"RSA as PS", published("RSA", "k", nil), by("RSA", "k", "PS512"), true},
		{"P-256", published("P-256", "k", nil), by("P-256", "k", "ES256"), true},
		{"P-384", published("P-384", "k", nil), by("P-384", "k", "ES384"), true},
		{"P-521", published("P-521", "k", nil), by("P-521", "k", "ES512"), true},
		{"Ed25519", published("Ed25519", "k", nil), by("Ed25519", "k", "EdDSA"), true},
		{"without an id in the token", published("RSA", "k", nil), by("RSA", "", "RS256"), true},
		{"without an id in the key", published("RSA", "", nil), by("RSA", "", "RS256"), true},
		{"an id in the token alone", published("RSA", "", nil), by("RSA", "k", "RS256"), false},
		{"another id", published("RSA", "k", nil), by("RSA", "K", "RS256"), false},
		{"another key", published("RSA", "k", nil), by("RSA again", "k", "RS256"), false},
		{"its alg", published("RSA", "k", more("alg", "RS256")), by("RSA", "k", "RS256"), true},
		{"not its alg", published("RSA", "k", more("alg", "RS256")), by("RSA", "k", "RS512"), false},
		{"not its alg, without an id", published("RSA", "k", more("alg", "RS256")), by("RSA", "", "PS256"), false},
		{"alg of another type", published("RSA", "k", more("alg", "ES256")), by("RSA", "k", "RS256"), false},
		{"alg of another curve", published("P-256", "k", more("alg", "ES384")), by("P-256", "k", "ES384"), false},
		{"alg for encryption", published("RSA", "k", more("alg", "RSA-OAEP")), by("RSA", "k", "RS256"), false},
		{"alg none", published("RSA", "k", more("alg", "none")), by("RSA", "k", "RS256"), false},
		{"alg HS256 on a public key", published("RSA", "k", more("alg", "HS256")), by("RSA", "k", "RS256"), false},
		{"for signatures", published("RSA", "k", more("use", "sig")), by("RSA", "k", "RS256"), true},
		{"for encryption", published("RSA", "k", more("use", "enc")), by("RSA", "k", "RS256"), false},
		{"for something else", published("RSA", "k", more("use", "tea")), by("RSA", "k", "RS256"), false},
		{"for verifying", published("RSA", "k", more("key_ops", []string{"verify"})), by("RSA", "k", "RS256"), true},
		{"for wrapping", published("RSA", "k", more("key_ops", []string{"wrapKey"})), by("RSA", "k", "RS256"), false},
		{"too short", published("RSA 1024", "k", nil), by("RSA 1024", "k", "RS256"), false},
		{"with a certificate", published("RSA", "k", more("x5t", "AAAA")), by("RSA", "k", "RS256"), true},
		{"private", private("P-256", "k"), by("P-256", "k", "ES256"), false},
		{"secret", map[string]any{"kty": "oct", "kid": "k", "k": encode(secret)},
			craft(`{"alg":"HS256","kid":"k"}`, good(), "HS256", []byte(secret)), false},
		{"secret with alg", map[string]any{"kty": "oct", "kid": "k", "alg": "HS256", "k": encode(secret)},
			craft(`{"alg":"HS256"}`, good(), "HS256", []byte(secret)), false},
		{"public key as a secret", published("RSA", "k", nil),
			craft(`{"alg":"HS256","kid":"k"}`, good(), "HS256", []byte(publicPEM("RSA"))), false},
		{"unsigned", published("RSA", "k", nil), craft(`{"alg":"none","kid":"k"}`, good(), "none", nil) + "AA", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			// Keys that nobody can use yet must not get in the way.
			others := []map[string]any{
				{"kty": "AKP", "alg": "ML-DSA-44", "kid": "post-quantum", "pub": "AAAA"}, {"kty": 1}, {}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
			}
			auth := newAuth(t, Config{JWKSURL: newIssuer(t, append(others, test.key)...).URL})
			id, err := ask(auth, test.token)
			if !test.want {
				wantRefused(t, id, err, test.token, "")
			} else if err != nil || id.UserID != "alice" {
				t.Errorf("got %+v, %v, want alice", id, err)
			}
		})
	}
}

func TestKeysWithTheSameIDAreAllTried(t *testing.T) {
	auth := newAuth(t, Config{JWKSURL: newIssuer(t, published("RSA", "k", nil), published("P-256", "k", nil), published("RSA again", "k", nil)).URL})
	for name, alg := range map[string]string{"RSA": "RS256", "RSA again": "PS256", "P-256": "ES256"} {
		for _, kid := range []string{"k", ""} {
			if id, err := ask(auth, by(name, kid, alg)); err != nil || id.UserID != "alice" {
				t.Errorf("%s, id %q: got %+v, %v, want alice", name, kid, id, err)
			}
		}
	}
}

func TestAddressOfTheKeysIsSafe(t *testing.T) {
	for _, test := range []struct{ url, why string }{
		{"https://issuer.example/jwks.json", ""},
		{"https://10.0.0.1:8443/jwks.json?tenant=1", ""},
		{"http://127.0.0.1:1/jwks.json", ""},
		{"http://[::1]:1/jwks.json", ""},
		{"http://localhost:1/jwks.json", ""},
		{"http://issuer.example/jwks.json", "must be https"},
		{"http://10.0.0.1/jwks.json", "must be https"},
		{"http://localhost.evil.example/jwks.json", "must be https"},
		{"http://127.0.0.1.evil.example/jwks.json", "must be https"},
		{"https://user:hunter2@issuer.example/jwks.json", "no user and password"},
		{"http://localhost@evil.example/", "no user and password"},
		{"file:///etc/jwks.json", "is a URL such as https://"},
		{"/etc/jwks.json", "is a URL such as https://"},
		{"issuer.example", "is a URL such as https://"},
		{"https://", "is a URL such as https://"},
		{"https://issuer.example:port/", "is a URL such as https://"},
	} {
		_, err := newKeySet(test.url, nil)
		if test.why == "" && err != nil || test.why != "" && (err == nil || !strings.Contains(err.Error(), test.why) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: got %v, want %q", test.url, err, test.why)
		}
	}
}

func TestAnswerThatIsNoKeySetCountsAsNone(t *testing.T) {
	other := newIssuer(t, published("RSA", "k", nil))
	text := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, text) }
	}
	one, err := json.Marshal(published("RSA", "k", nil))
	if err != nil {
		t.Fatal(err)
	}
	redirect := func(to string) http.HandlerFunc { return http.RedirectHandler(to, http.StatusFound).ServeHTTP }
	for _, test := range []struct {
		name  string
		reply http.HandlerFunc
		why   string
	}{
		{"an error", text(500, `{"keys":[`+string(one)+`]}`), "500"},
		{"no JSON", text(200, "<html>"), "not a JWKS"},
		{"no keys", text(200, "{}"), "not a JWKS"},
		{"null", text(200, "null"), "not a JWKS"},
		{"one key", text(200, string(one)), "not a JWKS"},
		{"too long", text(200, `{"keys":[`+string(one)+`]}`+strings.Repeat(" ", maxKeySet)), "longer than 512 kB"},
		{"a redirect outside", redirect("http://issuer.example/"), "is not followed"},
		{"a redirect to another port", redirect(other.URL), "is not followed"},
		{"a redirect to a file", redirect("file:///etc/passwd"), "is not followed"},
		{"redirects without end", redirect("/again"), "more than three redirects"},
		{"not all of it", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			fmt.Fprint(w, `{"keys":[`+string(one)+`]}`)
		}, "read answer"},
		{"nothing", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log log
			i := newIssuer(t)
			i.answer(test.reply)
			auth := newAuth(t, Config{JWKSURL: i.URL + "/?secret=hunter2", Logger: log.logger()})
			id, err := ask(auth, by("RSA", "k", "RS256"))
			wantUnavailable(t, id, err)
			logged := log.String()
			if strings.Count(logged, "level=WARN") != 1 || !strings.Contains(logged, test.why) {
				t.Errorf("logged\n%s\nwant one warning with %q", logged, test.why)
			}
			if !strings.Contains(logged, strings.TrimPrefix(i.URL, "http://")) || strings.Contains(logged, "hunter2") {
				t.Errorf("logged\n%s\nwant the host and no more of the URL", logged)
			}
		})
	}
	t.Run("a redirect", func(t *testing.T) {
		i := newIssuer(t)
		i.answer(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				fmt.Fprint(w, `{"keys":[`+string(one)+`]}`)
				return
			}
			redirect("/keys")(w, r)
		})
		if id, err := ask(newAuth(t, Config{JWKSURL: i.URL}), by("RSA", "k", "RS256")); err != nil {
			t.Errorf("got %+v, %v, want alice", id, err)
		}
	})
}

func TestRedirectFromHTTPSToHTTPIsNotFollowed(t *testing.T) {
	plainIssuer := newIssuer(t, published("RSA", "k", nil))
	i := httptest.NewTLSServer(http.RedirectHandler(plainIssuer.URL, http.StatusFound))
	t.Cleanup(i.Close)
	set, err := newKeySet(i.URL, (&log{}).logger())
	if err != nil {
		t.Fatal(err)
	}
	set.client.Transport = i.Client().Transport
	t.Cleanup(i.Client().CloseIdleConnections)
	if _, err := set.fetch(); err == nil || !strings.Contains(err.Error(), "redirect") || plainIssuer.fetches() != 0 {
		t.Errorf("got %v and %d fetches over HTTP", err, plainIssuer.fetches())
	}
}

func wantUnavailable(t *testing.T, id sse.Identity, err error) {
	t.Helper()
	wantRefused(t, id, err, "", sse.ErrUnavailable.Error())
}
