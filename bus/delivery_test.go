package bus_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

// Rows 1 to 6 of the conformance list: delivery.

// Row 1.
func TestSubscriberReceivesWhatIsEmittedToItsScope(t *testing.T) {
	b := newBus(t, bus.Config{})
	s := subscribe(t, b, bus.Options{}, "task:9")
	sent := bus.ChangeEvent{
		Scope: "task:9", Op: bus.OpUpdate, Table: "public.tasks", Key: []byte(`{"id":9}`),
		Changed: []string{"title", "done", "title"}, Moved: bus.MovedIn, Origin: "tab 1",
		Data: []byte(`{"title":"x"}`), At: time.Unix(1, 0), Tx: 795,
	}
	b.Emit(sent)
	got, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("sent and received differ (-sent +received):\n%s", diff)
	}
	wantBrief(t, s, "")
}

// Row 1.
func TestThreeEmitsArriveInOrder(t *testing.T) {
	b := newBus(t, bus.Config{})
	s := subscribe(t, b, bus.Options{}, "a")
	for _, name := range []string{"1", "2", "3"} {
		emit(b, "a", name)
	}
	wantBrief(t, s, "a/1, a/2, a/3")
}

// Row 2.
func TestAllSubscribersOfAScopeReceive(t *testing.T) {
	b := newBus(t, bus.Config{})
	s1 := subscribe(t, b, bus.Options{}, "a")
	s2 := subscribe(t, b, as("alice"), "a")
	emit(b, "a", "1")
	wantBrief(t, s1, "a/1")
	wantBrief(t, s2, "a/1")
}

// Row 2.
func TestAnEventOfAnotherScopeNeverArrives(t *testing.T) {
	b := newBus(t, bus.Config{})
	s := subscribe(t, b, bus.Options{}, "a")
	for _, scope := range []string{"b", "", "A", "a ", "a:1", "aa"} {
		emit(b, scope, "1")
	}
	wantBrief(t, s, "")
}

// Row 2.
func TestTwentyScopesAtOnceDoNotMix(t *testing.T) {
	b := newBus(t, bus.Config{})
	subs := make([]*bus.Subscription, 20)
	for i := range subs {
		subs[i] = subscribe(t, b, bus.Options{}, fmt.Sprint("s", i))
	}
	together(len(subs), func(i int) {
		for n := range 10 {
			emit(b, fmt.Sprint("s", i), strconv.Itoa(n))
		}
	})
	for i, s := range subs {
		got := drain(s)
		if len(got) != 10 {
			t.Errorf("scope %d: got %d events, want 10", i, len(got))
		}
		for _, e := range got {
			if e.Scope != fmt.Sprint("s", i) {
				t.Errorf("scope %d: got an event of %s", i, e.Scope)
			}
		}
	}
}

// Whom an event was for is counted, each of them, with room in its queue or without.
func TestDeliveriesAreCounted(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 1})
	subscribe(t, b, bus.Options{Connection: &bus.Connection{UserID: "alice"}}, "a", "b")
	subscribe(t, b, bus.Options{Connection: &bus.Connection{UserID: "bob"}}, "a")
	for _, step := range []struct {
		event bus.ChangeEvent
		want  uint64
	}{
		{bus.ChangeEvent{Scope: "a"}, 2},
		{bus.ChangeEvent{Scope: "a", Audience: bus.Only("alice", "carol")}, 3},
		{bus.ChangeEvent{Scope: "b", Audience: bus.Only("bob")}, 3},
		{bus.ChangeEvent{Scope: "b"}, 4},
		{bus.ChangeEvent{Scope: "c"}, 4},
	} {
		if b.Emit(step.event); b.Stats().Delivered != step.want {
			t.Errorf("%v for %v: %d delivered, want %d", step.event.Scope, step.event.Audience, b.Stats().Delivered, step.want)
		}
	}
}

// Row 3.
func TestEmitWithoutSubscribersIsCounted(t *testing.T) {
	b := newBus(t, bus.Config{})
	emit(b, "a", "1")
	b.Emit(bus.ChangeEvent{Scope: "a", Audience: bus.Only("alice")})
	if diff := cmp.Diff(bus.Stats{Emitted: 2}, b.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

// Row 4.
func TestSubscriptionToSeveralScopesGetsEachMatchOnce(t *testing.T) {
	b := newBus(t, bus.Config{})
	s := subscribe(t, b, as("alice"), "tasks", "project:7", "tasks", "task:9")
	for _, scope := range []string{"tasks", "project:7", "project:8"} {
		emit(b, scope, "1")
		b.Emit(bus.ChangeEvent{Scope: scope, Origin: "2", Audience: bus.Only("alice", "bob", "alice")})
	}
	wantBrief(t, s, "tasks/1, tasks/2, project:7/1, project:7/2")
}

// Row 5.
func TestFiftyEmittersAtOnceAreAllReceived(t *testing.T) {
	b := newBus(t, bus.Config{})
	s := subscribe(t, b, bus.Options{}, "a")
	together(50, func(i int) { emit(b, "a", strconv.Itoa(i)) })
	seen := map[string]bool{}
	for _, e := range drain(s) {
		seen[e.Origin] = true
	}
	if len(seen) != 50 {
		t.Errorf("got %d different events, want 50", len(seen))
	}
}

// Row 5: 100 readers, while 50 goroutines emit.
func TestHundredSubscribersAndFiftyEmittersDoNotDeadlock(t *testing.T) {
	b := newBus(t, bus.Config{})
	received := make([]int, 100)
	subs := make([]*bus.Subscription, 100)
	for i := range subs {
		subs[i] = subscribe(t, b, as(fmt.Sprint("user", i%10)), "a")
	}
	together(150, func(i int) {
		if i >= 100 {
			emit(b, "a", strconv.Itoa(i))
			return
		}
		for received[i] < 50 {
			if _, err := subs[i].Next(t.Context()); err != nil {
				t.Errorf("subscriber %d: %v", i, err)
				return
			}
			received[i]++
		}
	})
	for i, s := range subs {
		if n := received[i] + len(drain(s)); n != 50 {
			t.Errorf("subscriber %d got %d events, want 50", i, n)
		}
	}
}

// Row 5.
func TestHundredGoroutinesOfFiveEmitsAreAllReceived(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 500})
	s := subscribe(t, b, bus.Options{}, "a")
	together(100, func(i int) {
		for n := range 5 {
			emit(b, "a", fmt.Sprint(i, ".", n))
		}
	})
	if n := len(drain(s)); n != 500 {
		t.Errorf("got %d events, want 500", n)
	}
	if st := b.Stats(); st.Emitted != 500 || st.Dropped != 0 {
		t.Errorf("emitted %d, dropped %d; want 500, 0", st.Emitted, st.Dropped)
	}
}

// Row 6: while subscriptions come and go, and with and without an audience.
func TestEventsOfOneEmitterArriveInTheOrderEmitted(t *testing.T) {
	const emitters, events = 8, 200
	b := newBus(t, bus.Config{QueueSize: emitters * events * 2})
	s := subscribe(t, b, as("alice"), "a", "b")
	together(emitters+1, func(i int) {
		if i == emitters {
			for range events {
				b.Subscribe([]string{"b", "a"}, as("alice")).Close()
			}
			return
		}
		for n := range events {
			e := bus.ChangeEvent{Scope: "a", Origin: strconv.Itoa(i), Tx: uint64(2 * n)}
			b.Emit(e)
			e.Scope, e.Tx, e.Audience = "b", e.Tx+1, bus.Only("alice")
			b.Emit(e)
		}
	})
	next := map[string]uint64{}
	for _, e := range drain(s) {
		if e.Tx != next[e.Origin] {
			t.Fatalf("emitter %s: got event %d, want %d", e.Origin, e.Tx, next[e.Origin])
		}
		next[e.Origin]++
	}
	for i := range emitters {
		if n := next[strconv.Itoa(i)]; n != 2*events {
			t.Errorf("emitter %d: got %d events, want %d", i, n, 2*events)
		}
	}
}

func TestSubscribeIsRegisteredBeforeItReturns(t *testing.T) {
	b := newBus(t, bus.Config{})
	together(50, func(i int) {
		scope := strconv.Itoa(i)
		s := b.Subscribe([]string{"all", scope}, bus.Options{})
		defer s.Close()
		emit(b, scope, "1")
		wantBrief(t, s, scope+"/1")
	})
}
