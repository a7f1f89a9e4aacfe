package jwtauth

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

func TestTokenThatIsNoPlainSignedOneIsRefused(t *testing.T) {
	auth := bySecret(t)
	token := hs256(plain, good())
	if id, err := ask(auth, token); err != nil || id.UserID != "alice" {
		t.Fatalf("got %+v, %v for a good token", id, err)
	}
	part := strings.Split(token, ".")
	flattened, err := json.Marshal(map[string]string{"protected": part[0], "payload": part[1], "signature": part[2]})
	if err != nil {
		t.Fatal(err)
	}
	general := fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, part[1], part[0], part[2])
	other := hs256(plain, strings.Replace(good(), "alice", "bob", 1))
	for _, test := range []struct{ name, token, why string }{
		{"without a signature", part[0] + "." + part[1] + ".", "base64url"},
		{"without a signature and its dot", part[0] + "." + part[1], "three parts"},
		{"without a payload", part[0] + ".." + part[2], "base64url"},
		{"without a header", "." + part[1] + "." + part[2], "base64url"},
		{"encrypted", strings.Join([]string{part[0], part[1], part[2], part[1], part[2]}, "."), "three parts"},
		{"with a fourth part", token + "." + part[2], "three parts"},
		{"flattened JSON", string(flattened), "three parts"},
		{"general JSON", general, "three parts"},
		{"padded", part[0] + "." + part[1] + "." + part[2] + "=", "base64url"},
		{"of the other base64", strings.Replace(token, part[2], strings.NewReplacer("-", "+", "_", "/").Replace("-"+part[2][1:]), 1), "base64url"},
		{"with a line end", token[:20] + "\n" + token[20:], "base64url"},
		{"with a line end at its end", token + "\n", "base64url"},
		{"with a space before it", " " + token, "base64url"},
		{"with bits to spare", token[:len(token)-1] + flip(token[len(token)-1]), "base64url"},
		{"with another's payload", part[0] + "." + strings.Split(other, ".")[1] + "." + part[2], "signature"},
		{"with another's signature", part[0] + "." + part[1] + "." + strings.Split(other, ".")[2], "signature"},
		{"by half its signature", part[0] + "." + part[1] + "." + encode(decode(t, part[2])[:16]), "signature"},
		{"by another secret", craft(plain, good(), "HS256", []byte(secret+"!")), "signature"},
		{"by the secret and its line end", craft(plain, good(), "HS256", []byte(secret+"\n")), "signature"},
		{"by an empty secret", craft(plain, good(), "HS256", []byte{}), "signature"},
		{"by nobody", craft(`{"alg":"none"}`, good(), "none", nil), "base64url"},
		{"by nobody, signed", hs256(`{"alg":"none"}`, good()), "alg"},
		{"by Nobody, signed", hs256(`{"alg":"nOnE"}`, good()), "alg"},
		{"longest", hs256(plain, padded(8192)), ""},
		{"too long", hs256(plain, padded(8196)), "8 kB"},
		{"header is no object", hs256(`["HS256"]`, good()), "not a JSON object"},
		{"header goes on", hs256(plain+"{}", good()), "not a JSON object"},
		{"header is not UTF-8", hs256("{\"alg\":\"HS256\",\"x\":\"\xff\"}", good()), "not a JSON object"},
		{"header ends early", hs256(`{"alg":"HS256"`, good()), "not a JSON object"},
		{"payload is no object", hs256(plain, `"alice"`), "not a JSON object"},
		{"payload is a token", hs256(plain, token), "not a JSON object"},
		{"payload goes on", hs256(plain, good()+good()), "not a JSON object"},
		{"payload is null", hs256(plain, `null`), "not a JSON object"},
		{"payload is nested too deep", hs256(plain, strings.Repeat(`{"a":`, 1000)), "not a JSON object"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, err := ask(auth, test.token)
			if test.why == "" {
				if err != nil || id.UserID != "alice" {
					t.Fatalf("got %+v, %v, want alice", id, err)
				}
				return
			}
			wantRefused(t, id, err, test.token, test.why)
		})
	}
}

// flip changes the lowest bit of the last character of a signature of 32 bytes, which
// has two that mean nothing.
func flip(last byte) string { return string(base64url[strings.IndexByte(base64url, last)^1]) }

func decode(t *testing.T, part string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// padded is a good payload that makes a token of that many bytes.
func padded(length int) string {
	head := len(hs256(plain, ""))
	payload := strings.TrimSuffix(good(), "}") + `,"x":"`
	return payload + strings.Repeat("x", (length-head)*3/4-len(payload)-2) + `"}`
}

func TestHeaderThatAsksForMoreIsRefused(t *testing.T) {
	auth := bySecret(t)
	own := keys()["RSA again"].Public().(*rsa.PublicKey)
	jwk := fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q}`, encode(string(own.N.Bytes())), encode(string(big.NewInt(int64(own.E)).Bytes())))
	oct := fmt.Sprintf(`{"kty":"oct","k":%q}`, encode("secret of the attacker's, 32 bytes"))
	for _, test := range []struct{ name, header, why string }{
		{"crit", `{"alg":"HS256","crit":["exp"]}`, "crit"},
		{"empty crit", `{"alg":"HS256","crit":[]}`, "crit"},
		{"crit that the library knows", `{"alg":"HS256","crit":["b64"],"b64":true}`, "crit"},
		{"b64", `{"alg":"HS256","b64":false}`, "b64"},
		{"own key", `{"alg":"HS256","jwk":` + oct + `}`, "jwk"},
		{"own RSA key", `{"alg":"HS256","jwk":` + jwk + `}`, "jwk"},
		{"own key set", `{"alg":"HS256","jku":"https://evil.example/jwks.json"}`, "jku"},
		{"own certificate's address", `{"alg":"HS256","x5u":"https://evil.example/c.pem"}`, "x5u"},
		{"own certificate", `{"alg":"HS256","x5c":["AAAA"]}`, "x5c"},
		{"nested", `{"alg":"HS256","cty":"JWT"}`, "nested"},
		{"encrypted", `{"alg":"HS256","enc":"A128GCM"}`, "encrypted"},
		{"compressed", `{"alg":"HS256","zip":"DEF"}`, "compressed"},
		{"no alg", `{"typ":"JWT"}`, "no alg"},
		{"alg is a list", `{"alg":["HS256"]}`, "no alg"},
		{"alg is null", `{"alg":null}`, "no alg"},
		{"alg in another case", `{"alg":"hs256"}`, "alg"},
		{"ALG", `{"ALG":"HS256"}`, "no alg"},
		{"alg twice", `{"alg":"HS256","alg":"none"}`, "twice"},
		{"alg twice the same", `{"alg":"HS256","alg":"HS256"}`, "twice"},
		{"alg twice, once by an escape", `{"alg":"HS256","\u0061lg":"HS256"}`, "twice"},
		{"kid is a number", `{"alg":"HS256","kid":1}`, "kid"},
		{"typ of another kind", `{"alg":"HS256","typ":"logout+jwt"}`, "typ"},
		{"typ is a number", `{"alg":"HS256","typ":1}`, "typ"},
		{"typ", `{"alg":"HS256","typ":"JWT"}`, ""},
		{"typ in another case", `{"alg":"HS256","typ":"jwt"}`, ""},
		{"typ of an access token", `{"alg":"HS256","typ":"application/at+jwt"}`, ""},
		{"kid that leads elsewhere", `{"alg":"HS256","kid":"../../dev/null"}`, ""}, // a file's key is the key
		{"what nobody knows", `{"alg":"HS256","x":{"y":[1]}}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := hs256(test.header, good())
			id, err := ask(auth, token)
			if test.why != "" {
				wantRefused(t, id, err, token, test.why)
			} else if err != nil || id.UserID != "alice" {
				t.Errorf("got %+v, %v, want alice", id, err)
			}
		})
	}
}
