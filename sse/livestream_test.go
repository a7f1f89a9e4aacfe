package sse

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbell/pgbell/journal"
)

// lives are live queries whose states a test says.
type lives struct {
	mu     sync.Mutex
	states map[string]LiveState // by query; none of others
	wakes  map[*liveFake]func()
}

type liveFake struct {
	of   *lives
	name string
}

func newLives(queries ...string) *lives {
	l := &lives{states: map[string]LiveState{}, wakes: map[*liveFake]func(){}}
	for _, q := range queries {
		l.states[q] = LiveState{Version: 1, Since: journal.Cursor{Incarnation: "ab", Xmin: 1, Xmax: 1}}
	}
	return l
}

func (l *lives) Watch(_ context.Context, _ Identity, q LiveQuery, wake func()) (LiveWatch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.states[q.String()]; !ok || s.Ended {
		return nil, ErrNoQuery
	}
	f := &liveFake{l, q.String()}
	l.wakes[f] = wake
	return f, nil
}

func (l *lives) Result(context.Context, Identity, LiveQuery, bool) (LiveResult, error) {
	return LiveResult{Rows: NewLiveRows([]byte(`[{"a":1}]`), nil), Cursor: cursor(1)}, nil
}

func (f *liveFake) State() LiveState {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	return f.of.states[f.name]
}

func (f *liveFake) Close() {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	delete(f.of.wakes, f)
}

// set changes states, at once, and wakes all.
func (l *lives) set(change func(states map[string]LiveState)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l.states)
	for _, wake := range l.wakes {
		wake()
	}
}

// become gives a query the next version, known since cursor n.
func (l *lives) become(q string, n uint64) {
	l.set(func(states map[string]LiveState) {
		s := states[q]
		s.Version++
		s.Pending, s.Since = false, journal.Cursor{Incarnation: "ab", Xmin: n, Xmax: n}
		states[q] = s
	})
}

func (l *lives) pend(q, upTo string) {
	l.set(func(states map[string]LiveState) {
		s := states[q]
		s.Pending, s.UpTo = true, upTo
		states[q] = s
	})
}

func liveData(q string) string { return fmt.Sprintf(`{"live":%q,"op":"changed"}`, q) }

// No id covers what a live query is yet to tell: neither that of an event, nor one alone.
func TestIDsWaitForLiveQueries(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		l := newLives("f?a=1")
		w := overPipe(t, settings{Config: Config{Live: l}})
		c := w.open("scope=a&live=f%3Fa%3D1")
		l.pend("f?a=1", "")
		w.bus.Advance(cursor(5))
		w.bus.Emit(change("a", 5))
		c.wantEvent(cursor(1), changeData("a"))
		for range 3 { // heartbeats
			c.want(comment)
		}
		l.become("f?a=1", 5)
		if it := c.want(event); it.name != "live:f?a=1" || it.id != cursor(5) || it.data != liveData("f?a=1") {
			t.Fatalf("got %v", it)
		}
		// What it tells of already, an id may cover.
		l.pend("f?a=1", cursor(7))
		w.bus.Advance(cursor(9))
		if it := c.want(id); it.id != cursor(7) {
			t.Fatalf("got %v", it)
		}
		l.become("f?a=1", 9)
		c.wantEvent(cursor(9), liveData("f?a=1"))
	})
}

// Of several frames only the last covers all: who is cut amid them is told of all again.
func TestLiveFramesOfOneWriteHaveTheirIDAtTheEnd(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		l := newLives("f", "g")
		w := overPipe(t, settings{Config: Config{Live: l}})
		c := w.open("live=f&live=g&live=f")
		w.bus.Advance(cursor(2))
		l.set(func(states map[string]LiveState) {
			for q, s := range states {
				s.Version++
				states[q] = s
			}
		})
		c.wantEvent(cursor(1), liveData("f"))
		c.wantEvent(cursor(2), liveData("g"))
		w.bus.Advance(cursor(3))
		if it := c.want(id); it.id != cursor(3) {
			t.Errorf("got %v", it)
		}
	})
}

func TestWhoComesBackIsToldOfWhatIsNotKnown(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		l := newLives("f")
		w := overPipe(t, settings{Config: Config{Live: l, Replay: func(_ context.Context, since journal.Cursor) (*journal.Replay, error) {
			return &journal.Replay{End: parse(t, cursor(20))}, nil
		}}})
		w.bus.Advance(cursor(9))
		l.become("f", 6)
		for since, data := range map[uint64]string{
			5: `{"live":"f","op":"reset","reason":"what the query gave since can't be told"}`, 6: "", 8: "",
			12: `{"live":"f","op":"reset","reason":"what the query gave since can't be told"}`, // further than the server
		} {
			c := w.open("live=f&since=" + cursor(since))
			if data != "" {
				c.wantEvent(cursor(since), data) // the replay was further than the bus, which the query doesn't know of
			}
			w.bus.Advance(cursor(20))
			if it := c.want(id); it.id != cursor(20) {
				t.Errorf("since %d: got %v", since, it)
			}
			w.bus.Advance(cursor(9))
			c.resp.Body.Close()
		}
	})
}

// Who comes with another server's id may have what was never the result here. Its own clients are
// known by the mark after all ids and cursors.
func TestOnlyOwnClientsAreKnown(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		l := newLives("f")
		w := overPipe(t, settings{Config: Config{Live: l, Replay: func(context.Context, journal.Cursor) (*journal.Replay, error) {
			return &journal.Replay{End: parse(t, cursor(20))}, nil
		}}})
		w.h.mark = "here"
		w.bus.Advance(cursor(9))
		l.become("f", 6)
		for mark, known := range map[string]bool{"@here": true, "@there": false, "": false, "@": false} {
			c := w.open("live=f&scope=a", "Last-Event-ID", cursor(9)+mark)
			if !known {
				c.wantEvent(cursor(9)+"@here", `{"live":"f","op":"reset","reason":"what the query gave since can't be told"}`)
			}
			w.bus.Advance(cursor(20))
			if it := c.want(id); it.id != cursor(20)+"@here" {
				t.Errorf("%q: got %v", mark, it)
			}
			w.bus.Emit(change("a", 21))
			c.wantEvent(cursor(20)+"@here", changeData("a"))
			c.resp.Body.Close()
			w.bus.Advance(cursor(9))
		}
		plain := w.open("scope=a")
		w.bus.Emit(change("a", 22))
		if it := plain.nextEvent(); strings.Contains(it.id, "@") {
			t.Errorf("without live queries: got %v", it)
		}
		if got := w.get("/live/f").Header.Get("Pgbell-Cursor"); got != cursor(1)+"@here" {
			t.Errorf("the result's cursor is %s", got)
		}
		c := w.dial("live=f")
		c.want(retry)
		if it := c.want(event); !strings.HasSuffix(it.id, "@here") || !strings.Contains(it.data, `"cursor":"`+it.id+`"`) {
			t.Errorf("got %v", it)
		}
	})
}

func TestLiveFramesWaitForTheirWindow(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		l := newLives("f")
		w := overPipe(t, settings{Config: Config{Live: l}})
		c := w.open("live=f&coalesce=2s")
		w.bus.Advance(cursor(2))
		begin := time.Now()
		l.become("f", 2)
		synctest.Wait()
		l.become("f", 2)
		c.wantEvent(cursor(2), liveData("f"))
		if waited := time.Since(begin); waited != 2*time.Second {
			t.Errorf("after %v", waited)
		}
		c.want(comment)
	})
}

func TestReadyWaitsForTheFirstResult(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		l := newLives("f")
		l.states["f"] = LiveState{Pending: true}
		w := overPipe(t, settings{Config: Config{Live: l}})
		c := w.dial("live=f")
		c.want(retry)
		c.want(comment)
		l.become("f", 1)
		if it := c.want(event); it.name != "ready" || !strings.Contains(it.data, `"scopes":[],"live":["f"]`) {
			t.Errorf("got %v", it)
		}
		c.want(comment) // what the client fetches now is no news
	})
}

func TestStreamEndsWithItsLiveQuery(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		l := newLives("f")
		w := overPipe(t, settings{Config: Config{Live: l}})
		c := w.open("live=f&scope=a")
		other := w.open("live=f")
		other.resp.Body.Close()
		l.set(func(states map[string]LiveState) { states["f"] = LiveState{Version: 1, Ended: true} })
		c.wantClose("no longer allowed")
		synctest.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.wakes) != 0 {
			t.Errorf("%d watches are left", len(l.wakes))
		}
	})
}

// A live query is asked about as what its frames are called.
func TestLiveQueriesAreAuthorized(t *testing.T) {
	l := newLives("f?a=1", "f?a=%2A", "g")
	allowed := []string{"live:f*", "project:*"}
	w := overTCP(t, settings{Config: Config{Live: l, Authorize: ByScopes, Authenticate: func(*http.Request) (Identity, error) {
		return Identity{UserID: "ann", Scopes: allowed}, nil
	}}})
	for path, status := range map[string]int{
		"/live/f?a=1": 200, "/live/f?a=*": 200, "/live/g": 403, "/live/f": 200, "/live/": 404, "/live/f/g": 404,
		"/events?live=g": 403, "/events?live=f%3Fa%3D1&live=g": 403, "/events?live=f%3Fa%3D1&scope=x": 403, "/events?scope=live:g": 403,
		"/events?live=f%3Fa%3D1%26a%3D2": 400, "/presence?live=f%3Fa%3D1": 400, "/live/f?a=%zz": 400,
	} {
		resp := w.get(path)
		w.body(resp)
		if resp.StatusCode != status {
			t.Errorf("%s: got %s, want %d", path, resp.Status, status)
		}
	}
	c := w.open("live=f%3Fa%3D%2A")
	if !strings.Contains(c.resp.Header.Get("Content-Type"), "event-stream") {
		t.Error(c.resp.Header)
	}
	resp := w.get("/live/f?a=1", "If-None-Match", `"other", `+w.get("/live/f?a=1").Header.Get("ETag"))
	if body := w.body(resp); resp.StatusCode != 304 || body != "" {
		t.Errorf("got %s %s", resp.Status, body)
	}
}
