package sse

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
)

func TestHeaderIsBelievedOnlyFromTrustedAddresses(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128")}
	auth := HeaderAuth("x-forwarded-user", trusted)
	for _, test := range []struct {
		name, remote string
		values       []string
		want         string
		refused      bool
	}{
		{"trusted", "10.1.2.3:5", []string{"alice"}, "alice", false},
		{"v4 as v6", "[::ffff:10.1.2.3]:5", []string{"alice"}, "alice", false},
		{"v6", "[::1]:5", []string{"alice"}, "alice", false},
		{"v6 with a zone", "[fe80::1%eth0]:5", []string{"alice"}, "alice", false},
		{"another address", "10.2.0.1:5", []string{"alice"}, "", false},
		{"another address, twice", "10.2.0.1:5", []string{"alice", "bob"}, "", false},
		{"no address", "@", []string{"alice"}, "", false},
		{"none", "10.1.2.3:5", nil, "", false},
		{"empty", "10.1.2.3:5", []string{""}, "", false},
		{"twice", "10.1.2.3:5", []string{"alice", "bob"}, "", true},
		{"twice the same", "10.1.2.3:5", []string{"alice", "alice"}, "", true},
		{"longest", "10.1.2.3:5", []string{strings.Repeat("x", 1024)}, strings.Repeat("x", 1024), false},
		{"too long", "10.1.2.3:5", []string{strings.Repeat("x", 1025)}, "", true},
		{"control character", "10.1.2.3:5", []string{"al\tice"}, "", true},
		{"not UTF-8", "10.1.2.3:5", []string{"al\xffice"}, "", true},
	} {
		r := &http.Request{RemoteAddr: test.remote, Header: http.Header{"X-Forwarded-User": test.values}}
		id, err := auth(r)
		if err == nil {
			err = id.check(time.Now())
		}
		if (err != nil) != test.refused || !test.refused && id.UserID != test.want {
			t.Errorf("%s: got %.20q, %v, want %.20q, refused %v", test.name, id.UserID, err, test.want, test.refused)
		}
	}
}

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
