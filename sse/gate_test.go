package sse

import (
	"io"
	"net"
	"net/http"
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
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Minute)); err != nil {
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
