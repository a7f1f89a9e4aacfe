package sse

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

func TestByScopesAllowsWhatIsNamed(t *testing.T) {
	for _, test := range []struct {
		scope, patterns string
		want            bool
	}{
		{"project:7", "project:7", true},
		{"project:7", "tasks project:7", true},
		{"project:7", "", false},
		{"project:7", "project:*", true},
		{"project:7", "*", true},
		{"project:7", "project:", false},
		{"project:7", "project:77", false},
		{"project:77", "project:7", false},
		{"project:77", "project:7*", true},
		{"project:7", "p*:7", false},
		{"project:7", "Project:*", false},
		{"caf%C3%A9", "café", true},
		{"caf%C3%A9:1", "café:*", true},
		{"a%2A", "a*", true},
		{"a%2A", "a%2A", true},
		{"ab", "a%2A", false},
		{"ab", "**", false},
		{"%2Ab", "**", true},
	} {
		var patterns []string
		if test.patterns != "" {
			patterns = strings.Split(test.patterns, " ")
		}
		if got, err := ByScopes(t.Context(), Identity{Scopes: patterns}, test.scope); got != test.want || err != nil {
			t.Errorf("%s with %q: got %v, %v", test.scope, test.patterns, got, err)
		}
	}
}

// guard is an AuthorizeFunc with an answer that changes.
type guard struct {
	answer atomic.Pointer[answer]
	asked  atomic.Int64
}

type answer struct {
	ok  bool
	err error
}

func (g *guard) set(ok bool, err error) { g.answer.Store(&answer{ok, err}) }

func (g *guard) authorize(context.Context, Identity, string) (bool, error) {
	g.asked.Add(1)
	a := g.answer.Load()
	return a.ok, a.err
}

func guarded(t *testing.T, set settings) (*world, *guard) {
	g := new(guard)
	g.set(true, nil)
	set.Authorize = g.authorize
	return overPipe(t, set), g
}

// emitEverySecond does so until the test ends.
func (w *world) emitEverySecond() {
	ctx := w.t.Context()
	go func() {
		for ctx.Err() == nil {
			w.bus.Emit(change("a", 1))
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}()
}

func TestStreamEndsWhenItsScopeIsNoLongerAllowed(t *testing.T) {
	for _, quiet := range []bool{true, false} {
		eachWireInBubble(t, func(t *testing.T) {
			w, g := guarded(t, settings{})
			c := w.open("scope=a")
			begin := time.Now()
			g.set(false, nil)
			if quiet {
				c.wantClose("no longer allowed")
			} else {
				w.emitEverySecond()
				for it := c.nextEvent(); it.name != "close"; it = c.nextEvent() {
				}
				if err := c.wantEnd(); err != io.EOF {
					t.Errorf("the stream ends with %v, want a complete one", err)
				}
			}
			if took := time.Since(begin); took > 25*time.Second {
				t.Errorf("quiet %v: ended after %v", quiet, took)
			}
		})
	}
}

func TestPermissionIsAskedForNoMoreThanNeeded(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, g := guarded(t, settings{})
		c := w.open("scope=a")
		w.emitEverySecond()
		for range 600 {
			c.nextEvent()
		}
		if n := g.asked.Load(); n < 24 || n > 34 {
			t.Errorf("asked %d times in ten minutes", n)
		}
	})
}

// While nobody can tell, the client gets nothing but a sign of life; what was
// queued meanwhile comes once it may.
func TestStreamIsHeldWhilePermissionCantBeTold(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, g := guarded(t, settings{})
		c := w.open("scope=a")
		begin := time.Now()
		g.set(false, errors.New("the database is away"))
		time.AfterFunc(26*time.Second, func() { w.bus.Emit(change("a", 1)) }) // it has asked by then
		time.AfterFunc(42*time.Second, func() { g.set(true, nil) })
		silent := begin
		for {
			it, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(silent); took > 20*time.Second {
				t.Errorf("no sign of life within %v", took)
			}
			silent = time.Now()
			if it.kind != event {
				continue
			}
			if took := time.Since(begin); it.data != changeData("a") || took < 42*time.Second {
				t.Errorf("got %v after %v", it, took)
			}
			break
		}
	})
}

func TestStreamEndsWhenPermissionCantBeToldForLong(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, g := guarded(t, settings{})
		c := w.open("scope=a")
		begin := time.Now()
		g.set(false, errors.New("the database is away"))
		time.AfterFunc(26*time.Second, func() { w.bus.Emit(change("a", 1)) })
		c.wantCut() // without a word: it is to come back
		if took := time.Since(begin); took > time.Minute || took < 40*time.Second {
			t.Errorf("ended after %v", took)
		}
	})
}

func TestRefusalEndsAStreamThatWaitsForReady(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, g := guarded(t, settings{unready: true})
		c := w.dial("scope=a")
		c.want(retry)
		g.set(false, nil)
		time.AfterFunc(time.Minute, func() { w.bus.Advance(cursor(1)) })
		c.wantClose("no longer allowed")
	})
}

func TestReplayStopsWhenItIsNoLongerAllowed(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var records []*journal.Record
		for tx := range uint64(9000) {
			records = append(records, record(tx+1, bus.Audience{}, "a"))
		}
		w, g := guarded(t, settings{Config: Config{Replay: replay(journal.Replay{Records: records, End: parse(t, cursor(9999))})}})
		c := w.open("scope=a&since=" + cursor(1))
		g.set(false, nil)
		n := 0
		for it := c.nextEvent(); it.name != "close"; it = c.nextEvent() {
			if n++; n%100 == 0 {
				time.Sleep(700 * time.Millisecond) // a slow reader, that has read the close frame within its second
			}
		}
		if n > 5000 {
			t.Errorf("%d of 9000 events came", n)
		}
	})
}

func TestDisconnectInterruptsTheQuestionWhetherAStreamIsAllowed(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var w *world
		var stuck atomic.Bool
		w = overPipe(t, settings{Config: Config{
			Authenticate: func(*http.Request) (Identity, error) { return Identity{UserID: "alice"}, nil },
			Authorize: func(ctx context.Context, _ Identity, _ string) (bool, error) {
				if stuck.Load() {
					w.bus.CloseUser("alice")
					<-ctx.Done()
				}
				return true, ctx.Err()
			},
		}})
		c := w.open("scope=a")
		stuck.Store(true)
		c.wantClose("disconnected")
	})
}

func TestAuthorizeIsToldForWhomItIsAsked(t *testing.T) {
	asked := make(chan Asker, 10)
	authorize := func(ctx context.Context, _ Identity, _ string) (bool, error) {
		asked <- AskerOf(ctx)
		return true, nil
	}
	addr := netip.MustParseAddr
	for _, test := range []struct {
		forwarded string
		trusted   []netip.Prefix
		want      netip.Addr
	}{
		{"", nil, addr("127.0.0.1")},
		{"", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, netip.Addr{}}, // the proxy's own says nothing
		{"2001:db8::7", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, addr("2001:db8::")},
	} {
		w := overTCP(t, settings{Config: Config{Authorize: authorize, TrustedProxies: test.trusted}})
		w.open("scope=a", "X-Forwarded-For", test.forwarded)
		for _, live := range []bool{false, true} {
			if got, want := <-asked, (Asker{test.want, live}); got != want {
				t.Errorf("asked for %v, want %v", got, want)
			}
		}
	}
}
