package jwtauth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/sse"
)

// recorder is a response that can be streamed.
type recorder struct{ *httptest.ResponseRecorder }

func (recorder) SetWriteDeadline(time.Time) error { return nil }

// newHandler returns a handler that knows users by the secret.
func newHandler(t *testing.T, log *log) *sse.Handler {
	t.Helper()
	b, err := bus.New(bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.Advance("ab-1:1:")
	h, err := sse.NewHandler(b, sse.Config{
		Authenticate: newAuth(t, Config{SecretFile: write(t, secret), QueryParam: true, Logger: log.logger()}),
		Authorize:    sse.ByScopes,
		Logger:       log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestStreamEndsWhenTheTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, &log{})
		time.Sleep(300 * time.Millisecond)
		exp := time.Now().Add(time.Minute).Unix()
		r := httptest.NewRequest(http.MethodGet, "/events?scope=a", nil)
		r.Header.Set("Authorization", "Bearer "+hs256(plain, fmt.Sprintf(`{"sub":"alice","exp":%d,"scopes":["a"]}`, exp)))
		w := recorder{httptest.NewRecorder()}
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "event: ready") {
			t.Fatalf("got %d %s, want a stream", w.Code, w.Body)
		}
		if now := time.Now(); !now.Equal(time.Unix(exp, 0)) {
			t.Errorf("ended %v after exp", now.Sub(time.Unix(exp, 0)))
		}
	})
}

func TestScopesOfTheTokenAreAllThereIs(t *testing.T) {
	h := newHandler(t, &log{})
	payload := fmt.Sprintf(`{"sub":"alice","exp":%d,"scopes":["project:7","task:*"]}`, time.Now().Add(time.Hour).Unix())
	for scope, want := range map[string]int{"project:7": 200, "task:1": 200, "project:70": 403, "project:*": 403, "task": 403} {
		r := httptest.NewRequest(http.MethodGet, "/presence?scope="+scope, nil)
		r.Header.Set("Authorization", "Bearer "+hs256(plain, payload))
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: got %d %s, want %d", scope, w.Code, w.Body, want)
		}
	}
}

// At the level of debug, wherever the token came from and whatever is wrong with the request.
func TestTokenIsInNoLogAndNoAnswer(t *testing.T) {
	exp := time.Now().Add(time.Hour).Unix()
	payload := fmt.Sprintf(`{"sub":"alice","exp":%d,"scopes":["a"]}`, exp)
	bad := craft(plain, payload, "HS256", []byte("another secret"))
	for _, token := range []string{
		hs256(plain, payload), bad, bad + "!", bad + "%zz", bad[:40], "." + bad, hs256(plain, payload[1:]), hs256(`{"alg":"SECRETALG"}`, payload),
		hs256(`{"alg":"HS256","kid":1,"x":"SECRETHEADER"}`, payload), hs256(plain, `{"sub":"SECRETSUB"}`), hs256(plain, `{"sub":"SECRETSUB\u0007"}`),
		hs256(plain, fmt.Sprintf(`{"sub":"alice\u0007SECRETSUB","exp":%d}`, exp)),
	} {
		for _, query := range []string{"scope=a", "scope=b", "scope=", "since=x&scope=a", "scope=%zz", "scope=a;b", ""} {
			for _, place := range []string{"Authorization", "Cookie", "query"} {
				var log log
				h := newHandler(t, &log)
				target := &url.URL{Path: "/presence", RawQuery: query}
				r := httptest.NewRequest(http.MethodGet, "/presence", nil)
				switch place {
				case "Authorization":
					r.Header.Set(place, "Bearer "+token)
				case "Cookie":
					r.Header.Set(place, "pgbell_token="+token)
				case "query":
					target.RawQuery += "&token=" + token
				}
				r.URL = target
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				text := log.String() + w.Body.String() + fmt.Sprint(w.Header())
				if w.Code != http.StatusOK && !strings.Contains(text, "refused") {
					t.Errorf("%s, %s: %d is not in the log:\n%s", place, query, w.Code, text)
				}
				for part := range strings.SplitSeq(token, ".") {
					if len(part) > 10 && strings.Contains(text, part[:10]) {
						t.Errorf("%s, %s: told in\n%s", place, query, text)
					}
				}
				for _, inside := range []string{"SECRETALG", "SECRETHEADER", "SECRETSUB", secret} {
					if strings.Contains(text, inside) {
						t.Errorf("%s, %s: %s is told in\n%s", place, query, inside, text)
					}
				}
			}
		}
	}
}
