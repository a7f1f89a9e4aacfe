package sse

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
)

func TestIdentifyBelievesWhatAStreamWould(t *testing.T) {
	b, err := bus.New(bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHandler(b, Config{Authenticate: func(r *http.Request) (Identity, error) {
		switch who := r.Header.Get("Who"); who {
		case "bad":
			return Identity{}, errors.New("the secret is 7")
		case "down":
			return Identity{}, fmt.Errorf("%w: the secret is 7", ErrUnavailable)
		case "expired":
			return Identity{UserID: "alice", Expires: time.Now()}, nil
		default:
			return Identity{UserID: who}, nil
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		who    string
		named  bool
		status int // 0: identified
		reason string
	}{
		{"alice", true, 0, ""},
		{"alice", false, 0, ""},
		{"", false, 0, ""},
		{"", true, 401, "bad-credentials"},
		{"bad", false, 401, "bad-credentials"},
		{"expired", true, 401, "bad-credentials"},
		{"al\tice", true, 401, "bad-credentials"},
		{"down", true, 503, "authentication-unavailable"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Who"] = []string{test.who}
		id, err := h.Identify(r, test.named)
		if test.status == 0 {
			if err != nil || id.UserID != test.who {
				t.Errorf("%q: got %q, %v", test.who, id.UserID, err)
			}
			continue
		}
		if err == nil || errors.Is(err, ErrUnavailable) != (test.who == "down") {
			t.Errorf("%q, named %v: got %q, %v, want an error", test.who, test.named, id.UserID, err)
			continue
		}
		before := h.Stats().Refused[test.reason]
		w := httptest.NewRecorder()
		h.Refuse(w, r, err)
		var got struct{ Type string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if w.Code != test.status || got.Type != "urn:pgbell:problem:"+test.reason || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%q: got %d %s, want %d %s", test.who, w.Code, w.Body, test.status, test.reason)
		}
		if n := h.Stats().Refused[test.reason] - before; n != 1 {
			t.Errorf("%q: counted %d refusals, want 1", test.who, n)
		}
	}
}
