package sse

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestClientThatDoesNotReadIsCutWhileOthersGoOn(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		w.open("scope=a") // and reads no more
		reader := w.open("scope=a")
		begin := time.Now()
		w.bus.Emit(change("a", 1))
		for time.Since(begin) < time.Minute {
			if took := time.Since(begin); took > 10*time.Second && w.h.Stats().Cut == 0 {
				t.Fatalf("not cut after %v", took)
			}
			w.bus.Emit(change("a", 1))
			emitted := time.Now()
			reader.nextEvent()
			if took := time.Since(emitted); took > 0 {
				t.Fatalf("the other client waited for %v", took)
			}
			time.Sleep(time.Second)
		}
		if got := w.h.Stats(); got.Cut != 1 || got.Streams != 1 || w.bus.Stats().Subscriptions != 1 {
			t.Errorf("got %+v and %+v, want one cut and one open", got, w.bus.Stats())
		}
	})
}

// Over real sockets it takes some megabytes until a client that does not read is
// noticed at all.
func TestClientThatDoesNotReadIsCutOverTCP(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		cut := make(chan struct{})
		w := overTCP(t, settings{queue: 10_000, Config: Config{
			WriteTimeout: 100 * time.Millisecond,
			Logger:       warnings(func(string) { close(cut) }).logger(),
		}})
		w.open("scope=a")
		e := change("a", 1)
		e.Origin = strings.Repeat("x", 100_000)
		for range 1000 {
			w.bus.Emit(e)
		}
		<-cut
	})
}

func TestStreamEndsWhenTheIdentityExpires(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		expires := time.Now().Add(10 * time.Minute)
		w := overPipe(t, settings{Config: Config{Authenticate: func(*http.Request) (Identity, error) {
			return Identity{Expires: expires}, nil
		}}})
		c := w.open("scope=a")
		c.wantClose("expired")
		if now := time.Now(); !now.Equal(expires) {
			t.Errorf("ended %v after it expired", now.Sub(expires))
		}
	})
}

func TestExpiryEndsAStreamThatIsStuckInAWrite(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		expires := time.Now().Add(5 * time.Second)
		w := overPipe(t, settings{Config: Config{Authenticate: func(*http.Request) (Identity, error) {
			return Identity{Expires: expires}, nil
		}}})
		w.open("scope=a")
		w.bus.Emit(change("a", 1))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := w.h.Stats(); got.Streams != 0 || got.Cut != 0 {
			t.Errorf("got %+v, want no stream, and none cut for being slow", got)
		}
	})
}

func TestStreamEndsWhenItsUserIsClosed(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{Config: Config{Authenticate: func(r *http.Request) (Identity, error) {
			return Identity{UserID: r.Header.Get("Who")}, nil
		}}})
		alice, bob := w.open("scope=a", "Who", "alice"), w.open("scope=a", "Who", "bob")
		w.bus.Emit(change("a", 1))
		synctest.Wait()
		w.bus.Emit(change("a", 2))
		if n := w.bus.CloseUser("alice"); n != 1 {
			t.Fatalf("closed %d", n)
		}
		w.bus.Emit(change("a", 3))
		w.bus.Advance(cursor(4))
		alice.wantEvent(cursor(1), changeData("a")) // was being written
		alice.wantClose("disconnected")             // what was queued is not written any more
		if alice.lastEventID != cursor(1) {
			t.Errorf("the last id, %s, covers what was not sent", alice.lastEventID)
		}
		for range 3 {
			bob.wantEvent(cursor(1), changeData("a"))
		}
	})
}

func TestStreamThatWaitsForReadyEndsWhenItsUserIsClosed(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{unready: true, Config: Config{Authenticate: func(*http.Request) (Identity, error) {
			return Identity{UserID: "alice"}, nil
		}}})
		c := w.dial("scope=a")
		c.want(retry)
		w.bus.Emit(change("a", 1)) // queued, and never to be written
		w.bus.CloseUser("alice")
		c.wantClose("disconnected")
	})
}

func TestClientThatLeavesLeavesNothingBehind(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		c := w.open("scope=a")
		if got := w.h.Stats().Streams; got != 1 {
			t.Errorf("got %d streams, want 1", got)
		}
		c.resp.Body.Close()
		synctest.Wait()
		if streams, subs := w.h.Stats().Streams, w.bus.Stats().Subscriptions; streams != 0 || subs != 0 {
			t.Errorf("got %d streams and %d subscriptions, want none", streams, subs)
		}
	})
}

// Most clients that are no EventSource take a complete response for the end, and a cut
// one for a reason to come back.
func TestResponseIsCompleteOnlyAfterTheCloseFrame(t *testing.T) {
	for _, protocols := range []*http.Protocols{nil, http2Only()} {
		eachWireInBubble(t, func(t *testing.T) {
			w := overPipe(t, settings{protocols: protocols, Config: Config{Authenticate: func(r *http.Request) (Identity, error) {
				return Identity{UserID: r.Header.Get("Who")}, nil
			}}})
			alice, bob := w.open("scope=a", "Who", "alice"), w.open("scope=a", "Who", "bob")
			w.bus.CloseUser("alice")
			alice.wantClose("disconnected")
			go w.h.Drain(0)
			bob.wantCut()
			w.dial("scope=a").wantCut() // comes too late
		})
	}
}

// A proxy that speaks HTTP/1.0 has no chunks.
func TestHTTP10StreamIsPlain(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{})
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /events?scope=a HTTP/1.0\r\n\r\n")
		readUntil(t, conn, "\n\nevent: ready\nid: "+cursor(1)+"\ndata: ")
		w.h.Drain(0)
		if rest, err := io.ReadAll(conn); err != nil || strings.Contains(string(rest), "\r\n") {
			t.Errorf("got %q, %v", rest, err)
		}
	})
}
