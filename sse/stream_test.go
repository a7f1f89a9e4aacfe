package sse

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbell/pgbell/bus"
)

func TestStreamBeginsWithRetryThenReady(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{})
		seen := make(map[string]bool)
		for range 8 {
			c := w.dial("scope=task:1&scope=b%20c&scope=b%2520c&scope=task:1")
			wait := c.want(retry).data
			if len(wait) != 4 || wait < "2000" || wait >= "5000" {
				t.Errorf("got retry %s, want 2000 to 4999 ms", wait)
			}
			seen[wait] = true
			ready := c.want(event)
			want := item{event, "ready", cursor(1), `{"cursor":"` + cursor(1) + `","scopes":["task:1","b%20c"],"user":null}`}
			if ready != want {
				t.Errorf("got  %v\nwant %v", ready, want)
			}
		}
		if len(seen) == 1 {
			t.Error("all clients come back at once")
		}
	})
}

func TestReadyWaitsUntilTheDatabaseIsHeard(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		w := overPipe(t, settings{unready: true, Config: Config{Ready: func() error {
			if down.Load() {
				return errors.New("not connected")
			}
			return nil
		}}})
		c := w.dial("scope=a")
		c.want(retry)
		begin := time.Now()
		c.want(comment)
		if waited := time.Since(begin); waited > 15*time.Second {
			t.Errorf("the first heartbeat took %v", waited)
		}
		down.Store(false)
		c.want(comment) // no position yet
		w.bus.Advance(cursor(7))
		if got := c.want(event); got.name != "ready" || got.id != cursor(7) {
			t.Errorf("got %v, want ready at %s", got, cursor(7))
		}
	})
}

func TestReadyCoversNothingThatIsStillQueued(t *testing.T) {
	for _, unready := range []bool{false, true} {
		eachWireInBubble(t, func(t *testing.T) {
			var down atomic.Bool
			down.Store(true)
			w := overPipe(t, settings{unready: unready, Config: Config{Ready: func() error {
				if down.Load() {
					return errors.New("not connected")
				}
				return nil
			}}})
			c := w.dial("scope=a")
			c.want(retry)
			if unready {
				w.bus.Emit(change("a", 1)) // no position may cover it yet
				w.bus.Advance(cursor(2))
			}
			w.bus.Emit(change("a", 2))
			w.bus.Advance(cursor(3))
			down.Store(false)
			from := cursor(1)
			if unready {
				from = cursor(2)
				c.wantEvent("", changeData("a"))
			}
			c.wantEvent(from, `{"cursor":"`+from+`","scopes":["a"],"user":null}`)
			c.wantEvent(from, changeData("a"))
			if got := c.want(id); got.id != cursor(3) {
				t.Errorf("got %v, want %s", got, cursor(3))
			}
		})
	}
}

func TestEventsComeInOrderUnderTheirScopes(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{})
		c := w.open("scope=a&scope=b")
		for i := range uint64(100) {
			w.bus.Emit(change("a", i))
			w.bus.Emit(change("c", i))
			w.bus.Emit(change("b", i))
			w.bus.Advance(cursor(i + 1))
		}
		for i := range uint64(100) {
			for _, scope := range []string{"a", "b"} {
				got := c.nextEvent()
				if got.name != scope || got.data != changeData(scope) || got.id != cursor(max(i, 1)) {
					t.Fatalf("event %d: got %v, want %s under %s", i, got, scope, cursor(max(i, 1)))
				}
			}
		}
	})
}

// The audience rule itself is the bus's; here is whose connection a stream is.
func TestOthersNeverGetAFrameOfAnAudience(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{Config: Config{Authenticate: func(r *http.Request) (Identity, error) {
			return Identity{UserID: r.Header.Get("Who")}, nil
		}}})
		audiences := map[string]bus.Audience{
			"everyone": {}, "nobody": bus.Only(), "alice": bus.Only("alice"), "bob": bus.Only("bob"), "both": bus.Only("alice", "bob"),
		}
		emit := func(name string) {
			e := change("a", 1)
			e.Origin, e.Audience = name, audiences[name]
			w.bus.Emit(e)
		}
		clients := map[string]*client{"": w.open("scope=a"), "alice": w.open("scope=a", "Who", "alice"), "bob": w.open("scope=a", "Who", "bob"), "eve": w.open("scope=a", "Who", "eve")}
		for _, name := range []string{"nobody", "alice", "both", "bob", "everyone"} {
			emit(name)
		}
		for who, want := range map[string][]string{"": {"everyone"}, "eve": {"everyone"}, "alice": {"alice", "both", "everyone"}, "bob": {"both", "bob", "everyone"}} {
			for _, origin := range want {
				if got := clients[who].nextEvent(); !strings.Contains(got.data, `"origin":"`+origin+`"`) {
					t.Errorf("%q: got %v, want that for %s", who, got, origin)
				}
			}
		}
	})
}

func TestOwnChangesAreLeftOutButNotResets(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{})
		c := w.open("scope=a&origin=tab%201&origin=tab2&origin=")
		for _, origin := range []string{"tab 1", "tab2", "tab", ""} {
			e := change("a", 1)
			e.Origin = origin
			w.bus.Emit(e)
		}
		w.bus.Emit(bus.ChangeEvent{Scope: "a", Op: bus.OpReset, Reason: "why", Origin: "tab2"})
		c.wantEvent(cursor(1), `{"scope":"a","op":"insert","table":"public.t","origin":"tab"}`)
		c.wantEvent(cursor(1), changeData("a"))
		c.wantEvent(cursor(1), resetData("a", "why"))
	})
}

func TestLastIdFollowsThePositionSoonAfterABurst(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		c := w.open("scope=a")
		w.bus.Emit(change("a", 1))
		c.wantEvent(cursor(1), changeData("a"))
		synctest.Wait() // the stream has nothing to do
		w.bus.Advance(cursor(2))
		begin := time.Now()
		if got := c.want(id); got.id != cursor(2) || time.Since(begin) > settle {
			t.Errorf("got %v after %v, want %s within %v", got, time.Since(begin), cursor(2), settle)
		}
	})
}

func TestQuietStreamHoldsTheNewestPositionWithinAHeartbeat(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		c := w.open("scope=a")
		for i := range uint64(10) {
			w.bus.Emit(change("b", i))
			w.bus.Advance(cursor(i + 2))
			begin := time.Now()
			if got := c.want(id); got.id != cursor(i+2) || time.Since(begin) > 15*time.Second {
				t.Errorf("got %v after %v, want %s within 15s", got, time.Since(begin), cursor(i+2))
			}
			c.want(comment) // nothing new
		}
	})
}

func TestFullQueueEndsInAReset(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{queue: 4})
		c := w.open("scope=a&scope=b")
		w.bus.Emit(change("a", 0))
		synctest.Wait() // it is being written
		for i := range uint64(10) {
			w.bus.Emit(change("a", i))
		}
		w.bus.Advance(cursor(2))
		for range 5 {
			c.wantEvent(cursor(1), changeData("a"))
		}
		if got := c.nextEvent(); !strings.Contains(got.data, `"op":"reset","reason":"`+bus.ReasonOverflow) || got.name != "a" || got.id != cursor(1) {
			t.Errorf("got %v, want a reset of a that covers nothing lost", got)
		}
		if got := c.want(id); got.id != cursor(2) {
			t.Errorf("got %v", got)
		}
		w.bus.Emit(change("a", 20))
		c.wantEvent(cursor(2), changeData("a"))
	})
}

func TestFramesAreCounted(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		c := w.open("scope=a")
		for i := range uint64(3) {
			w.bus.Emit(change("a", i))
			c.nextEvent()
		}
		synctest.Wait()
		if got := w.h.Stats().Frames; got != 3 {
			t.Errorf("got %d frames, want 3", got)
		}
	})
}

func TestManyFramesGoOutInFewWrites(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var writes atomic.Int64
		w := overPipe(t, settings{queue: 2000, conn: func(c net.Conn) net.Conn { return countingConn{c, &writes} }})
		c := w.open("scope=a")
		w.bus.Emit(change("a", 0))
		synctest.Wait() // it is being written
		writes.Store(0)
		for i := range 1000 {
			w.bus.Emit(bus.ChangeEvent{Scope: "a", Op: bus.OpPublish, Origin: fmt.Sprint(i)})
		}
		for range 1001 {
			c.nextEvent()
		}
		want := int64(6)
		if !hijacks(t) {
			want = 24 // net/http makes of each chunk up to four
		}
		if got := writes.Load(); got > want {
			t.Errorf("got %d writes, want %d at most", got, want)
		}
	})
}

// countingConn counts what is written to it.
type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}
