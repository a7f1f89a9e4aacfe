package sse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"

	"github.com/pgbell/pgbell/bus"
)

func TestRefusalsAreProblemDocuments(t *testing.T) {
	authenticate := func(r *http.Request) (Identity, error) {
		switch who := r.Header.Get("Who"); who {
		case "":
			return Identity{}, errors.New("the secret is 42")
		case "unknown":
			return Identity{UserID: who}, fmt.Errorf("%w: the secret is 44", ErrUnavailable)
		case "expired":
			return Identity{UserID: who, Expires: time.Now().Add(-time.Second)}, nil
		default:
			return Identity{UserID: who}, nil
		}
	}
	authorize := func(_ context.Context, id Identity, scope string) (bool, error) {
		if scope == "down" {
			return true, errors.New("the secret is 43") // true must not matter
		}
		return scope != "secret%20plans", nil
	}
	w := overTCP(t, settings{Config: Config{Authenticate: authenticate, Authorize: authorize, MaxScopes: 3}})

	long := strings.Repeat("x", 256)
	for _, test := range []struct {
		name, method, path string
		header             []string
		status             int
		reason, scope      string
		headers            map[string]string
	}{
		{"no scope", "GET", "/events", nil, 400, "no-scope", "", nil},
		{"no scope, though others", "GET", "/events?since=" + cursor(1), nil, 400, "no-scope", "", nil},
		{"empty scope", "GET", "/events?scope=a&scope=", nil, 400, "bad-scope", "", nil},
		{"scope of 257 bytes", "GET", "/events?scope=" + long + "x", nil, 400, "bad-scope", "", nil},
		{"scope of 257 bytes once encoded", "GET", "/events?scope=" + long[3:] + "%C3%A9", nil, 400, "bad-scope", "", nil},
		{"reserved scope open", "GET", "/events?scope=open", nil, 400, "bad-scope", "", nil},
		{"reserved scope error", "GET", "/events?scope=a&scope=error", nil, 400, "bad-scope", "", nil},
		{"reserved scope message", "GET", "/events?scope=message", nil, 400, "bad-scope", "", nil},
		{"reserved scope ready", "GET", "/events?scope=ready", nil, 400, "bad-scope", "", nil},
		{"too many scopes", "GET", "/events?scope=a&scope=b&scope=c&scope=d", nil, 400, "too-many-scopes", "", nil},
		{"bad escape", "GET", "/events?scope=a&scope=%zz", nil, 400, "bad-request", "", nil},
		{"semicolon", "GET", "/events?scope=a;scope=b", nil, 400, "bad-request", "", nil},
		{"malformed since", "GET", "/events?scope=a&since=yesterday", nil, 400, "bad-cursor", "", nil},
		{"empty since", "GET", "/events?scope=a&since=", nil, 400, "bad-cursor", "", nil},
		{"two since", "GET", "/events?scope=a&since=" + cursor(1) + "&since=" + cursor(2), nil, 400, "bad-cursor", "", nil},
		{"malformed last id", "GET", "/events?scope=a&since=" + cursor(1), []string{"Last-Event-ID", "1"}, 400, "bad-cursor", "", nil},
		{"malformed last id in the address", "GET", "/events?scope=a&since=" + cursor(1) + "&lastEventId=1", nil, 400, "bad-cursor", "", nil},
		{"two last ids in the address", "GET", "/events?scope=a&lastEventId=" + cursor(1) + "&lastEventId=" + cursor(2), nil, 400, "bad-cursor", "", nil},
		{"no credentials", "GET", "/events?scope=a", []string{"Who", ""}, 401, "bad-credentials", "",
			map[string]string{"WWW-Authenticate": `Bearer realm="pgbell"`}},
		{"expired", "GET", "/events?scope=a", []string{"Who", "expired"}, 401, "bad-credentials", "", nil},
		{"no answer who it is", "GET", "/events?scope=a", []string{"Who", "unknown"}, 503, "authentication-unavailable", "",
			map[string]string{"Retry-After": "5"}},
		{"bad user id", "GET", "/events?scope=a", []string{"Who", strings.Repeat("x", 1025)}, 401, "bad-credentials", "", nil},
		{"scope not allowed", "GET", "/events?scope=a&scope=secret%20plans", nil, 403, "scope-not-allowed", "secret%20plans", nil},
		{"authorization down", "GET", "/events?scope=a&scope=down", nil, 503, "authorization-unavailable", "",
			map[string]string{"Retry-After": "5"}},
		{"POST", "POST", "/events?scope=a", nil, 405, "method-not-allowed", "", map[string]string{"Allow": "GET"}},
		{"presence without scope", "GET", "/presence", nil, 400, "no-scope", "", nil},
		{"presence of two scopes", "GET", "/presence?scope=a&scope=b", nil, 400, "too-many-scopes", "", nil},
		{"presence without credentials", "GET", "/presence?scope=a", []string{"Who", ""}, 401, "bad-credentials", "", nil},
		{"presence not allowed", "GET", "/presence?scope=secret%20plans", nil, 403, "scope-not-allowed", "secret%20plans", nil},
		{"presence DELETE", "DELETE", "/presence?scope=a", nil, 405, "method-not-allowed", "", map[string]string{"Allow": "GET"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := w.h.Stats().Refused[test.reason]
			header := append([]string{"Who", "alice"}, test.header...)
			if len(test.header) > 0 && test.header[0] == "Who" {
				header = test.header
			}
			resp := w.do(test.method, test.path, header...)
			body := w.body(resp)
			if resp.StatusCode != test.status || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("got %s, %s: %s; want %d", resp.Status, resp.Header.Get("Content-Type"), body, test.status)
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if got["type"] != "urn:pgbell:problem:"+test.reason || got["status"] != float64(test.status) || got["title"] == "" || got["detail"] == "" {
				t.Errorf("got %s, want type %s", body, test.reason)
			}
			if scope, _ := got["scope"].(string); scope != test.scope {
				t.Errorf("got scope %q, want %q", scope, test.scope)
			}
			if strings.Contains(body, "secret is") {
				t.Errorf("tells what went wrong inside: %s", body)
			}
			for name, want := range test.headers {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("got %s: %q, want %q", name, got, want)
				}
			}
			if got := w.h.Stats().Refused[test.reason]; got != before+1 {
				t.Errorf("counted %d refusals for %s, want 1", got-before, test.reason)
			}
		})
	}
	if got := w.bus.Stats().Subscriptions; got != 0 {
		t.Errorf("%d subscriptions after nothing but refusals", got)
	}
}

func TestHeadGetsNoStream(t *testing.T) {
	w := overTCP(t, settings{})
	resp := w.do(http.MethodHead, "/events?scope=a")
	if resp.StatusCode != http.StatusMethodNotAllowed || w.body(resp) != "" {
		t.Errorf("got %s with a body, want 405 without", resp.Status)
	}
}

func TestAuthorizeIsAskedForEachScopeBeforeAnythingIsWritten(t *testing.T) {
	var asked []string
	w := overTCP(t, settings{Config: Config{
		Authenticate: func(*http.Request) (Identity, error) { return Identity{UserID: "alice"}, nil },
		Authorize: func(_ context.Context, id Identity, scope string) (bool, error) {
			asked = append(asked, id.UserID+" "+scope)
			return scope != "c", nil
		},
	}})
	resp := w.get("/events?scope=a&scope=b%20b&scope=a&scope=c")
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %s, want 403", resp.Status)
	}
	if diff := cmp.Diff([]string{"alice a", "alice b%20b", "alice c"}, asked); diff != "" {
		t.Error(diff)
	}
}

func TestStreamHasTheHeadersOfTheContract(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{})
		resp := w.dial("scope=a").resp
		for name, want := range map[string]string{
			"Content-Type":      "text/event-stream",
			"Cache-Control":     "no-store, no-transform",
			"X-Accel-Buffering": "no",
		} {
			if got := resp.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("got %s: %q, want %q", name, got, want)
			}
		}
	})
}

func TestLastEventIDWinsOverSince(t *testing.T) {
	w := overTCP(t, settings{})
	c := w.dial("scope=a&since=nonsense", "Last-Event-ID", cursor(1))
	c.want(retry)
	c.wantEvent(cursor(1), `{"cursor":"`+cursor(1)+`","scopes":["a"],"user":null}`)
}

func TestSettingsBelowZeroAreRefused(t *testing.T) {
	b, err := bus.New(bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{{Heartbeat: -1}, {WriteTimeout: -1}, {MaxScopes: -1}, {MaxReplay: -1}} {
		if _, err := NewHandler(b, cfg); err == nil || !strings.Contains(err.Error(), "must be") {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
	if _, err := NewHandler(nil, Config{}); err == nil {
		t.Error("no bus: got no error")
	}
}

func TestHealthAndReadiness(t *testing.T) {
	var ready error
	w := overTCP(t, settings{Config: Config{Ready: func() error { return ready }}, unready: true})
	check := func(path string, status int, words string) {
		t.Helper()
		resp := w.get(path)
		if body := w.body(resp); resp.StatusCode != status || !strings.Contains(body, words) {
			t.Errorf("%s: got %s, %q, want %d, %q", path, resp.Status, body, status, words)
		}
	}
	check("/healthz", 200, "ok")
	check("/readyz", 503, "nothing was read from the database yet")
	w.bus.Advance(cursor(1))
	check("/readyz", 200, "ok")
	ready = errors.New("listener: connection refused")
	check("/readyz", 503, "listener: connection refused")
	check("/healthz", 200, "ok")
}

func TestRoutesWorkInAnothersRouter(t *testing.T) {
	w := overTCP(t, settings{wrap: func(h http.Handler) http.Handler {
		r := mux.NewRouter()
		h.(*Handler).Register(r.PathPrefix("/live").Subrouter())
		return r
	}})
	if resp := w.get("/live/healthz"); resp.StatusCode != http.StatusOK {
		t.Errorf("got %s", resp.Status)
	}
}

func TestPresenceListsWhoListens(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{Config: Config{
			Authenticate: func(r *http.Request) (Identity, error) { return Identity{UserID: r.Header.Get("Who")}, nil },
		}})
		read := func() []bus.Connection {
			t.Helper()
			resp := w.get("/presence?scope=room%207")
			if got := resp.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("got Cache-Control %q", got)
			}
			body := w.body(resp)
			var got struct {
				Scope       string
				Connections []bus.Connection
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil || got.Scope != "room%207" {
				t.Fatalf("got %s, %v", body, err)
			}
			if len(got.Connections) == 0 && strings.TrimSpace(body) != `{"scope":"room%207","connections":[]}` {
				t.Errorf("got %s", body)
			}
			return got.Connections
		}
		if got := read(); len(got) != 0 {
			t.Errorf("got %v, want none", got)
		}
		w.open("scope=other&scope=room%207", "Who", "alice")
		w.open("scope=room%207", "Who", "alice")
		w.open("scope=other", "Who", "bob")
		got := read()
		if len(got) != 2 || got[0].UserID != "alice" || got[1].UserID != "alice" || got[0].SessionID == got[1].SessionID || got[0].ConnectedAt.IsZero() {
			t.Errorf("got %+v, want two sessions of alice", got)
		}
	})
}
