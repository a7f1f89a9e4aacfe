package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

// Rows 19 and 20 of the conformance list: OnDisconnect and CloseUser.

// Row 19.
func TestOnDisconnectRunsOnceOnEveryWayOut(t *testing.T) {
	for name, leave := range map[string]func(b *bus.Bus, s *bus.Subscription){
		"the reader leaves": func(_ *bus.Bus, s *bus.Subscription) { s.Close() },
		"its context is done": func(_ *bus.Bus, s *bus.Subscription) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			defer s.Close() // as every reader does
			if _, err := s.Next(ctx); err == nil {
				panic("Next returned without error")
			}
		},
		"Close":                  func(b *bus.Bus, _ *bus.Subscription) { b.Close("b") },
		"CloseAll":               func(b *bus.Bus, _ *bus.Subscription) { b.CloseAll() },
		"CloseUser":              func(b *bus.Bus, _ *bus.Subscription) { b.CloseUser("alice") },
		"CloseUser with a scope": func(b *bus.Bus, _ *bus.Subscription) { b.CloseUser("alice", "b", "a") },
		"all at once": func(b *bus.Bus, s *bus.Subscription) {
			ways := []func(){s.Close, s.Close, b.CloseAll, func() { b.Close("a") }, func() { b.Close("b") }, func() { b.CloseUser("alice") }}
			together(len(ways), func(i int) { ways[i]() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			alice := bus.Connection{SessionID: "1", UserID: "alice", ConnectedAt: time.Now()}
			var mu sync.Mutex
			var got []string
			given := alice
			s := b.Subscribe([]string{"a", "b", "a"}, bus.Options{Connection: &given, OnDisconnect: func(scope string, c bus.Connection) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, scope)
				if c != alice {
					t.Errorf("got connection %v, want %v", c, alice)
				}
				if p := b.Presence(scope); len(p) != 0 {
					t.Errorf("still present: %v", p)
				}
				s := b.Subscribe([]string{scope}, bus.Options{}) // it may call the bus
				emit(b, scope, "1")
				s.Close()
			}})
			given.UserID = "changed by the caller"
			leave(b, s)
			s.Close()
			b.CloseAll()
			slices.Sort(got)
			if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
				t.Errorf("scopes (-want +got):\n%s", diff)
			}
		})
	}
}

// Row 19.
func TestOnDisconnectPanicIsLogged(t *testing.T) {
	var log logbook
	b := newBus(t, bus.Config{Logger: log.logger()})
	s := b.Subscribe([]string{"a", "b"}, bus.Options{OnDisconnect: func(string, bus.Connection) { panic("boom") }})
	b.Close("b")
	s.Close()
	var got []string
	for _, r := range log.take(t) {
		got = append(got, fmt.Sprint(r["level"], " ", r["hook"], " ", r["scope"], " ", r["panic"]))
	}
	if diff := cmp.Diff([]string{"ERROR OnDisconnect a boom", "ERROR OnDisconnect b boom"}, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// Row 19: without a Connection there is none to pass.
func TestOnDisconnectWithoutConnectionGetsTheZeroValue(t *testing.T) {
	b := newBus(t, bus.Config{})
	ran := false
	s := b.Subscribe([]string{"a"}, bus.Options{OnDisconnect: func(_ string, c bus.Connection) { ran = c == bus.Connection{} }})
	s.Close()
	if !ran {
		t.Error("not called with the zero value")
	}
}

// A hook that takes its time does not keep the others waiting for their end.
func TestSlowOnDisconnectDelaysNoOthersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		release := make(chan struct{})
		slow := bus.Options{OnDisconnect: func(string, bus.Connection) { <-release }}
		first := b.Subscribe([]string{"a"}, slow)
		second := b.Subscribe([]string{"a"}, slow)
		go b.Close("a")
		synctest.Wait()
		for _, s := range []*bus.Subscription{first, second} {
			if _, err := s.Next(t.Context()); !errors.Is(err, bus.ErrClosed) {
				t.Errorf("got %v, want ErrClosed", err)
			}
		}
		close(release)
	})
}

// Row 20.
func TestCloseUserClosesThatUsersSubscriptionsOnly(t *testing.T) {
	for _, tc := range []struct {
		name   string
		user   string
		scopes []string
		closed []string
	}{
		{"all of alice", "alice", nil, []string{"alice a", "alice b", "alice a b"}},
		{"in one scope", "alice", []string{"a"}, []string{"alice a", "alice a b"}},
		{"in two scopes, each once", "alice", []string{"b", "a", "b"}, []string{"alice a", "alice b", "alice a b"}},
		{"in a scope without her", "alice", []string{"c", "x"}, nil},
		{"bob", "bob", nil, []string{"bob a"}},
		{"one who is not there", "carol", nil, nil},
		{"the empty id is no user", "", nil, nil},
		{"nor in a scope", "", []string{"a"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			subs := map[string]*bus.Subscription{
				"alice a":     subscribe(t, b, as("alice"), "a"),
				"alice b":     subscribe(t, b, as("alice"), "b"),
				"alice a b":   subscribe(t, b, as("alice"), "a", "b"),
				"bob a":       subscribe(t, b, as("bob"), "a"),
				"anonymous":   subscribe(t, b, as(""), "a"),
				"nobody c":    subscribe(t, b, bus.Options{}, "c"),
				"nothing ...": subscribe(t, b, as("dave")),
			}
			if n := b.CloseUser(tc.user, tc.scopes...); n != len(tc.closed) {
				t.Errorf("got %d, want %d", n, len(tc.closed))
			}
			for name, s := range subs {
				if got, want := s.Closed(), slices.Contains(tc.closed, name); got != want {
					t.Errorf("%s: closed %v, want %v", name, got, want)
				}
			}
			if n := b.CloseUser(tc.user, tc.scopes...); n != 0 {
				t.Errorf("again: got %d, want 0", n)
			}
		})
	}
}
