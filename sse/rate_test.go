package sse

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRateOfNewStreamsIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rate{perSecond: 2}
		one, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
		spend := func(addr netip.Addr) (n int) {
			for r.allow(addr) {
				n++
			}
			return n
		}
		if n := spend(one); n != 20 {
			t.Errorf("%d at once, want 20", n)
		}
		if n := spend(other); n != 20 {
			t.Errorf("%d of another, want 20", n)
		}
		time.Sleep(3 * time.Second)
		if n := spend(one); n != 6 {
			t.Errorf("%d after 3s, want 6", n)
		}
		time.Sleep(time.Hour)
		if n := spend(one); n != 20 || len(r.buckets) != 1 {
			t.Errorf("%d after an hour, want 20; %d buckets", n, len(r.buckets))
		}
		for i := range 100 { // all of one network
			r.allow(netip.AddrFrom16([16]byte{0: 0x20, 15: byte(i)}))
		}
		if len(r.buckets) != 2 {
			t.Errorf("%d buckets", len(r.buckets))
		}
	})
}

func TestClientAddressIsNotForged(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, test := range []struct{ peer, forwarded, want string }{
		{"1.2.3.4:5", "", "1.2.3.4"},
		{"1.2.3.4:5", "9.9.9.9", "1.2.3.4"},
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"10.0.0.1:5", "9.9.9.9", "9.9.9.9"},
		{"10.0.0.1:5", "6.6.6.6, 9.9.9.9", "9.9.9.9"},
		{"10.0.0.1:5", "6.6.6.6, 9.9.9.9, 10.0.0.2", "9.9.9.9"},
		{"10.0.0.1:5", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"10.0.0.1:5", "9.9.9.9, nonsense", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:5", "::ffff:9.9.9.9", "9.9.9.9"},
		{"[::1]:5", "fe80::1%eth0", "fe80::1"},
		{"@", "9.9.9.9", "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: test.peer, Header: http.Header{}}
		if test.forwarded != "" {
			r.Header.Set("X-Forwarded-For", test.forwarded)
		}
		if got := clientAddr(r, trusted).String(); got != test.want {
			t.Errorf("%s for %q: got %s, want %s", test.peer, test.forwarded, got, test.want)
		}
	}
}

func TestStreamsOpenedTooFastAreRefused(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{Config: Config{StreamRate: 0.1}})
		w.open("scope=a")
		resp := w.get("/events?scope=a")
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
			t.Errorf("got %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
	})
}

func TestRateCountsQuestionsWhoIsPresent(t *testing.T) {
	w := overTCP(t, settings{Config: Config{StreamRate: 0.2}}) // two at once
	w.open("scope=a")
	if resp := w.get("/presence?scope=a"); resp.StatusCode != http.StatusOK {
		t.Errorf("presence: %s", resp.Status)
	}
	for _, path := range []string{"/presence?scope=a", "/events?scope=a"} {
		if resp := w.get(path); resp.StatusCode != http.StatusTooManyRequests || !strings.Contains(w.body(resp), ":too-fast") {
			t.Errorf("%s: %s, want too fast", path, resp.Status)
		}
	}
}
