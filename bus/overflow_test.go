package bus_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

// Rows 7 to 12 of the conformance list: full queues.

// Row 7, and the counts of row 8.
func TestFullQueueHoldsItsSizeThenOneReset(t *testing.T) {
	for _, tc := range []struct{ size, emits, holds, resets, dropped int }{
		{size: 0, emits: 300, holds: 256, resets: 1, dropped: 44},
		{size: 64, emits: 100, holds: 64, resets: 1, dropped: 36},
		{size: 512, emits: 600, holds: 512, resets: 1, dropped: 88},
		{size: 4, emits: 10, holds: 4, resets: 1, dropped: 6},
		{size: 1, emits: 3, holds: 1, resets: 1, dropped: 2},
		{size: 256, emits: 5, holds: 5},
		{size: 256, emits: 256, holds: 256},
	} {
		t.Run(fmt.Sprintf("size %d, %d emits", tc.size, tc.emits), func(t *testing.T) {
			b := newBus(t, bus.Config{QueueSize: tc.size})
			s := subscribe(t, b, bus.Options{}, "a")
			var want []string
			for i := range tc.emits {
				emit(b, "a", strconv.Itoa(i))
				if i < tc.holds {
					want = append(want, fmt.Sprint("a/", i))
				}
			}
			for range tc.resets {
				want = append(want, "reset a")
			}
			wantBrief(t, s, strings.Join(want, ", "))
			st := b.Stats()
			if st.Emitted != uint64(tc.emits) || st.Dropped != uint64(tc.dropped) {
				t.Errorf("emitted %d, dropped %d; want %d, %d", st.Emitted, st.Dropped, tc.emits, tc.dropped)
			}
		})
	}
}

// Row 8.
func TestDroppedCountsDeliveriesNotEmits(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 1})
	for range 3 {
		subscribe(t, b, bus.Options{}, "a")
	}
	emit(b, "a", "1")
	emit(b, "a", "2")
	if st := b.Stats(); st.Emitted != 2 || st.Dropped != 3 {
		t.Errorf("emitted %d, dropped %d; want 2, 3", st.Emitted, st.Dropped)
	}
}

// Row 9.
func TestOnDropGetsTheNewEventOncePerDrop(t *testing.T) {
	var drops []string
	b := newBus(t, bus.Config{QueueSize: 2, OnDrop: func(scope string, e bus.ChangeEvent) {
		drops = append(drops, scope+" "+brief([]bus.ChangeEvent{e}))
	}})
	s1 := subscribe(t, b, bus.Options{}, "a")
	s2 := subscribe(t, b, as("alice"), "a", "b")
	for _, name := range []string{"1", "2", "3"} {
		emit(b, "a", name)
	}
	b.Emit(bus.ChangeEvent{Scope: "b", Origin: "4", Audience: bus.Only("alice")})
	want := []string{"a a/3", "a a/3", "b b/4"}
	if diff := cmp.Diff(want, drops); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
	wantBrief(t, s1, "a/1, a/2, reset a")
	wantBrief(t, s2, "a/1, a/2, reset a, reset b")
}

// Row 9: it would hang if a lock were held.
func TestOnDropMayCallTheBus(t *testing.T) {
	var b *bus.Bus
	var s *bus.Subscription
	b = newBus(t, bus.Config{QueueSize: 1, OnDrop: func(string, bus.ChangeEvent) {
		other := b.Subscribe([]string{"a", "b"}, as("bob"))
		emit(b, "b", "from the hook")
		wantBrief(t, other, "b/from the hook")
		other.Close()
		b.Presence("a")
		b.Stats()
		b.Reset(func(string) bool { b.Stats(); return true }, bus.ChangeEvent{})
		b.CloseUser("bob")
		s.TryNext()
		b.Close("a")
		b.CloseAll()
	}})
	s = b.Subscribe([]string{"a"}, bus.Options{OnDisconnect: func(string, bus.Connection) { b.Presence("a") }})
	emit(b, "a", "1")
	emit(b, "a", "2")
	if n := b.Stats().Subscriptions; n != 0 {
		t.Errorf("got %d subscriptions, want 0: the hook closed all", n)
	}
	wantBrief(t, s, "reset a")
}

// Row 9.
func TestOnDropPanicIsLoggedAndDoesNotReachEmit(t *testing.T) {
	var log logbook
	b := newBus(t, bus.Config{QueueSize: 1, Logger: log.logger(), OnDrop: func(string, bus.ChangeEvent) { panic("boom") }})
	s := subscribe(t, b, bus.Options{}, "a")
	emit(b, "a", "1")
	emit(b, "a", "2")
	wantBrief(t, s, "a/1, reset a")
	for _, r := range log.take(t) {
		if r["level"] == "ERROR" && r["hook"] == "OnDrop" && r["scope"] == "a" && r["panic"] == "boom" {
			return
		}
	}
	t.Error("the panic was not logged")
}

// Row 10.
func TestDropWarningComesOncePerScopeIn10s(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		b := newBus(t, bus.Config{QueueSize: 4, Logger: log.logger()})
		wantWarning := func(want ...string) {
			t.Helper()
			var got []string
			for _, r := range log.take(t) {
				got = append(got, fmt.Sprint(r["level"], " ", r["scope"], " ", r["dropped"], " of size ", r["queue_size"]))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		}
		overflow := func(scope string, n int) {
			for range n {
				emit(b, scope, "")
			}
		}
		a, c := subscribe(t, b, bus.Options{}, "a"), subscribe(t, b, bus.Options{}, "c")
		overflow("a", 4)
		wantWarning()
		overflow("a", 10)
		wantWarning("WARN a 1 of size 4")
		overflow("c", 5) // another scope has its own ten seconds
		wantWarning("WARN c 1 of size 4")
		pass(10*time.Second - 1)
		overflow("a", 1)
		wantWarning()
		pass(1)
		overflow("a", 3)
		wantWarning("WARN a 11 of size 4")
		pass(time.Hour)
		drain(a)
		overflow("a", 4)
		wantWarning()
		overflow("a", 1)
		wantWarning("WARN a 3 of size 4")

		// The memory of it goes with the last subscriber, not before.
		a2 := subscribe(t, b, bus.Options{}, "a")
		a.Close()
		overflow("a", 5)
		wantWarning()
		a2.Close()
		subscribe(t, b, bus.Options{}, "a")
		overflow("a", 5)
		wantWarning("WARN a 1 of size 4")
		c.Close()
	})
}

// Row 11.
func TestSlowSubscriberDelaysNeitherEmitNorOthers(t *testing.T) {
	b := newBus(t, bus.Config{})
	slow := subscribe(t, b, bus.Options{}, "a")
	fast := subscribe(t, b, bus.Options{}, "a")
	for i := range 2000 {
		emit(b, "a", strconv.Itoa(i)) // would hang here if it waited for the slow one
		wantBrief(t, fast, fmt.Sprint("a/", i))
	}
	if n := len(drain(slow)); n != 257 {
		t.Errorf("slow got %d, want 256 events and a reset", n)
	}
}

// Row 11.
func TestSubscriptionWorksAsBeforeAfterItsReset(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 2})
	s := subscribe(t, b, bus.Options{}, "a")
	for round := range 3 {
		for _, name := range []string{"1", "2", "3", "4"} {
			emit(b, "a", name)
		}
		if got, want := brief(drain(s)), "a/1, a/2, reset a"; got != want {
			t.Errorf("round %d: got %q, want %q", round, got, want)
		}
		emit(b, "a", "5")
		wantBrief(t, s, "a/5")
	}
}

// Row 12.
func TestQueueSizeBelowZeroIsRefused(t *testing.T) {
	_, err := bus.New(bus.Config{QueueSize: -1})
	if err == nil || !strings.Contains(err.Error(), "must be >= 1") {
		t.Errorf("got error %v, want one that says must be >= 1", err)
	}
}
