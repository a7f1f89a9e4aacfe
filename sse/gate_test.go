package sse

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func who(r *http.Request) (Identity, error) { return Identity{UserID: r.Header.Get("Who")}, nil }

func TestStreamsAreLimited(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{Config: Config{MaxStreams: 2}})
		first := w.open("scope=a")
		w.open("scope=a")
		resp := w.get("/events?scope=a")
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("got %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
		w.body(resp)
		if got := w.h.Stats().Refused["too-many-streams"]; got != 1 {
			t.Errorf("%d are counted as refused", got)
		}
		first.resp.Body.Close()
		synctest.Wait()
		w.open("scope=a")
	})
}

func TestStreamsOfAUserAreLimited(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{Config: Config{Authenticate: who, MaxStreamsPerUser: 2}})
		first := w.open("scope=a", "Who", "alice")
		w.open("scope=b", "Who", "alice")
		resp := w.get("/events?scope=c", "Who", "alice")
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
			t.Errorf("got %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
		w.open("scope=a", "Who", "bob")
		for range 5 { // the anonymous are many
			w.open("scope=a")
		}
		first.resp.Body.Close()
		synctest.Wait()
		w.open("scope=a", "Who", "alice")
	})
}

func TestNewestStreamOfAUserWins(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{Config: Config{Authenticate: who, MaxStreamsPerUser: 2, NewestWins: true}})
		var all []*client
		for i := range 5 {
			all = append(all, w.open("scope=a", "Who", "alice"))
			if i >= 2 {
				all[i-2].wantClose("replaced by a newer stream")
			}
		}
		w.bus.Emit(change("a", 1))
		for _, c := range all[3:] {
			c.wantEvent(cursor(1), changeData("a"))
		}
		for _, c := range all {
			c.resp.Body.Close()
		}
		synctest.Wait()
		if n := len(w.h.gate.users); n != 0 || w.h.Stats().Streams != 0 {
			t.Errorf("%d users and %d streams are left", n, w.h.Stats().Streams)
		}
	})
}

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

// Whoever announces a body and never sends it gets an answer at once, and no stream.
func TestRequestWithABodyHoldsNothing(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{})
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET /events?scope=a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
			t.Errorf("got %q, %v", answer, err)
		}
		if n := w.h.Stats().Streams; n != 0 {
			t.Errorf("%d streams", n)
		}
	})
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
