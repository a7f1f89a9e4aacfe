package bus_test

import (
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

// Position, cursors, Drained and the atomicity of Reset. The tests use numbers as
// cursors: n covers the events called 1 to n.

func TestEventsAreStampedWithThePositionWhenEmitted(t *testing.T) {
	b := newBus(t, bus.Config{})
	s := subscribe(t, b, as("alice"), "a")
	stamps := func() []string {
		got := []string{}
		for _, e := range drain(s) {
			got = append(got, e.Cursor)
		}
		return got
	}
	if p := b.Position(); p != "" {
		t.Errorf("got position %q before the first Advance", p)
	}
	b.Emit(bus.ChangeEvent{Scope: "a", Cursor: "forged"})
	b.Advance("1")
	emit(b, "a", "2")
	b.Emit(bus.ChangeEvent{Scope: "a", Audience: bus.Only("alice"), Cursor: "forged"})
	b.Advance("3")
	b.Reset(nil, bus.ChangeEvent{Cursor: "forged"})
	if diff := cmp.Diff([]string{"", "1", "1", "3"}, stamps()); diff != "" {
		t.Errorf("cursors (-want +got):\n%s", diff)
	}
	if p := b.Position(); p != "3" {
		t.Errorf("got position %q, want 3", p)
	}
}

func TestStartIsThePositionAtRegistration(t *testing.T) {
	b := newBus(t, bus.Config{})
	s1 := subscribe(t, b, bus.Options{}, "a")
	b.Advance("1")
	s2 := subscribe(t, b, bus.Options{}, "a")
	b.Advance("2")
	if s1.Start() != "" || s2.Start() != "1" {
		t.Errorf("got %q and %q, want none and 1", s1.Start(), s2.Start())
	}
}

// The reset of an overflow is read before events that were queued after it, so its
// cursor must not cover them, even if further drops join it.
func TestOverflowResetIsStampedWithTheFirstDropsPosition(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 1})
	s := subscribe(t, b, bus.Options{}, "a", "b")
	emit(b, "a", "1")
	b.Advance("1")
	emit(b, "a", "2") // dropped
	b.Advance("2")
	s.TryNext()
	emit(b, "a", "3") // queued behind the reset
	b.Advance("3")
	emit(b, "b", "4") // dropped, joins
	b.Advance("4")
	got := drain(s)
	if want := "reset a, reset b, a/3"; brief(got) != want {
		t.Fatalf("got %q, want %q", brief(got), want)
	}
	for i, want := range []string{"1", "1", "2"} {
		if got[i].Cursor != want {
			t.Errorf("%s: got cursor %q, want %q", brief(got[i:i+1]), got[i].Cursor, want)
		}
	}
}

func TestDrainedOnlyWhenAllIsTaken(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 1})
	s := subscribe(t, b, bus.Options{}, "a", "b")
	want := func(when, position string) {
		t.Helper()
		got, ok := s.Drained()
		if got != position || ok != (position != "") {
			t.Errorf("%s: got %q, %v; want %q", when, got, ok, position)
		}
	}
	want("before the first Advance", "")
	b.Advance("1")
	want("nothing queued", "1")
	emit(b, "a", "2")
	b.Advance("2")
	want("an event queued", "")
	s.TryNext()
	want("taken", "2")
	emit(b, "a", "3")
	emit(b, "a", "4")
	emit(b, "b", "5")
	b.Advance("5")
	s.TryNext()
	want("two resets owed", "")
	s.TryNext()
	want("one reset owed", "")
	s.TryNext()
	want("resets taken", "5")
	b.Close("a")
	want("ended: what comes is not queued", "")
}

// While an emitter emits and advances, and someone may close the subscription, a
// reader takes and asks Drained. For each event that the position covers it must
// have taken the event or, after its drop, a reset.
func TestDrainedNeverCoversAnEventNotTaken(t *testing.T) {
	for _, tc := range []struct {
		name                 string
		rounds, events, size int
		closeAfter           int64 // emits; 0 for never
	}{
		{name: "without drops", rounds: 1, events: 50_000, size: 50_000},
		{name: "with drops", rounds: 1, events: 50_000, size: 1},
		{name: "closed meanwhile", rounds: 60, events: 200, size: 200, closeAfter: 30},
		{name: "closed meanwhile, with drops", rounds: 60, events: 200, size: 1, closeAfter: 30},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range tc.rounds {
				watchDrained(t, tc.events, tc.size, tc.closeAfter)
			}
		})
	}
}

func watchDrained(t *testing.T, events, size int, closeAfter int64) {
	var (
		dropped = make([]atomic.Bool, events+1)
		taken   = make([]bool, events+1)
		begun   atomic.Int64 // emits
		reset   int64        // emits that had begun when the last reset was taken
		checked int          // events up to this one are accounted for
		wg      sync.WaitGroup
	)
	b := newBus(t, bus.Config{QueueSize: size, OnDrop: func(_ string, e bus.ChangeEvent) {
		dropped[e.Tx].Store(true)
	}})
	s := b.Subscribe([]string{"a"}, bus.Options{})
	defer s.Close()
	defer wg.Wait()
	wg.Go(func() {
		for n := 1; n <= events; n++ {
			begun.Store(int64(n))
			b.Emit(bus.ChangeEvent{Scope: "a", Tx: uint64(n)})
			b.Advance(strconv.Itoa(n))
		}
	})
	if closeAfter > 0 {
		wg.Go(func() {
			for begun.Load() < closeAfter {
				runtime.Gosched()
			}
			b.Close("a")
		})
	}
	for checked < events && !s.Closed() {
		if position, ok := s.Drained(); ok {
			p, _ := strconv.Atoi(position)
			for ; checked < p; checked++ {
				n := checked + 1
				if !taken[n] && !(dropped[n].Load() && int64(n) <= reset) {
					t.Fatalf("Drained says %d, but event %d was not taken", p, n)
				}
			}
		}
		e, ok := s.TryNext()
		switch {
		case !ok: // ask again at once: the race is the point
		case e.Op == bus.OpReset:
			reset = begun.Load()
		default:
			taken[e.Tx] = true
		}
	}
}

func TestResetReachesMatchingScopesOnly(t *testing.T) {
	b := newBus(t, bus.Config{})
	s := subscribe(t, b, bus.Options{}, "project:7", "task:9")
	other := subscribe(t, b, as("alice"), "project:8", "task:10")
	asked := map[string]int{}
	b.Reset(func(scope string) bool {
		asked[scope]++
		return scope == "project:7" || scope == "project:8"
	}, bus.ChangeEvent{Scope: "task:9"})
	wantBrief(t, s, "reset project:7")
	wantBrief(t, other, "reset project:8")
	if diff := cmp.Diff(map[string]int{"project:7": 1, "project:8": 1, "task:9": 1, "task:10": 1}, asked); diff != "" {
		t.Errorf("scopes asked for (-want +got):\n%s", diff)
	}
	if n := b.Stats().Emitted; n != 0 {
		t.Errorf("got %d emitted, want 0: a Reset is no Emit", n)
	}
}

func TestSubscriptionMadeDuringAResetComesAfterIt(t *testing.T) {
	b := newBus(t, bus.Config{})
	scopes := []string{"a", "b", "c"}
	subscribe(t, b, bus.Options{}, scopes...)
	var late []*bus.Subscription
	b.Reset(func(string) bool {
		late = append(late, subscribe(t, b, bus.Options{}, scopes...))
		return true
	}, bus.ChangeEvent{})
	for _, s := range late {
		wantBrief(t, s, "")
	}
}

// The first reset that a subscription gets comes for all its scopes, however the
// two raced.
func TestResetIsAtomicAgainstSubscribe(t *testing.T) {
	scopes := make([]string, 50)
	for i := range scopes {
		scopes[i] = strconv.Itoa(i)
	}
	b := newBus(t, bus.Config{QueueSize: 4096})
	subscribe(t, b, bus.Options{}, scopes...) // so that all scopes are there already
	var resets atomic.Int64                   // that were completed
	var stop atomic.Bool
	together(2, func(i int) {
		if i == 0 {
			for !stop.Load() {
				b.Reset(nil, bus.ChangeEvent{Tx: 1 + uint64(resets.Load())}) // 0 are those of an overflow
				resets.Add(1)
				runtime.Gosched()
			}
			return
		}
		defer stop.Store(true)
		for range 500 {
			s := b.Subscribe(scopes, bus.Options{})
			for target := resets.Load() + 2; resets.Load() < target; {
				runtime.Gosched()
			}
			s.Close()
			got := drain(s)
			first := 0
			for _, e := range got {
				if e.Tx == got[0].Tx {
					first++
				}
			}
			if first != len(scopes) {
				t.Errorf("the first reset came for %d scopes, want %d", first, len(scopes))
				return
			}
		}
	})
}
