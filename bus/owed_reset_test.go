package bus_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

// The resets that a subscription gets for what was dropped.

func TestResetComesAfterWhatTheQueueHeldAndBeforeLaterEvents(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 3})
	s := subscribe(t, b, bus.Options{}, "a", "b", "c")
	emit(b, "a", "1")
	emit(b, "b", "2")
	emit(b, "a", "3")
	emit(b, "b", "dropped")
	var got []bus.ChangeEvent
	read := func() {
		e, _ := s.TryNext()
		got = append(got, e)
	}
	read()
	emit(b, "c", "4")
	emit(b, "a", "dropped") // joins the resets that come before 4
	read()
	emit(b, "c", "5")
	got = append(got, drain(s)...)
	if want := "a/1, b/2, a/3, reset a, reset b, c/4, c/5"; brief(got) != want {
		t.Errorf("got %q, want %q", brief(got), want)
	}
}

// A reader that is slower than the emitter gets on: drops while it reads the
// resets of one overflow make new resets, behind what is queued.
func TestResetsDoNotStarveTheQueue(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 1})
	s := subscribe(t, b, bus.Options{}, "a", "b")
	var got []bus.ChangeEvent
	for i := range 9 {
		emit(b, "a", strconv.Itoa(2*i))
		emit(b, "b", strconv.Itoa(2*i+1))
		e, _ := s.TryNext()
		got = append(got, e)
	}
	if want := "a/0, reset b, a/2, reset a, reset b, a/6, reset a, reset b, a/12"; brief(got) != want {
		t.Errorf("got  %q\nwant %q", brief(got), want)
	}
}

func TestResetThatFindsNoRoomIsNotLostAndNoDrop(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 1, OnDrop: func(scope string, _ bus.ChangeEvent) {
		t.Errorf("OnDrop of a reset for %s", scope)
	}})
	s := subscribe(t, b, bus.Options{}, "a", "b")
	emit(b, "a", "1")
	b.Reset(nil, bus.ChangeEvent{Reason: "truncate"})
	b.Emit(bus.ChangeEvent{Scope: "b", Op: bus.OpReset, Reason: "later"})
	got := drain(s)
	if want := "a/1, reset a, reset b"; brief(got) != want {
		t.Fatalf("got %q, want %q", brief(got), want)
	}
	for _, e := range got[1:] {
		if e.Reason != "truncate" {
			t.Errorf("%s: got reason %q, want truncate", e.Scope, e.Reason)
		}
	}
	if n := b.Stats().Dropped; n != 0 {
		t.Errorf("got %d dropped, want 0", n)
	}
}

// An overflow's reset says why and when, and nothing of what was dropped.
func TestOverflowResetCarriesNothingOfTheDroppedEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{QueueSize: 1})
		s := subscribe(t, b, as("alice"), "a")
		e := bus.ChangeEvent{
			Scope: "a", Op: bus.OpUpdate, Table: "t", Key: []byte(`{"id":1}`), Changed: []string{"x"},
			Moved: bus.MovedOut, Origin: "o", Audience: bus.Only("alice"), Data: []byte(`{}`), Tx: 7,
		}
		b.Emit(e)
		b.Emit(e)
		want := bus.ChangeEvent{Scope: "a", Op: bus.OpReset, Reason: bus.ReasonOverflow, At: time.Now()}
		if diff := cmp.Diff(want, drain(s)[1]); diff != "" {
			t.Errorf("reset (-want +got):\n%s", diff)
		}
	})
}

// The reset tells only those who lost something: who was left out by the
// audience would learn from it that there was a change.
func TestOverflowResetOnlyForWhoLostAnEvent(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 1})
	alice := subscribe(t, b, as("alice"), "a")
	bob := subscribe(t, b, as("bob"), "a")
	emit(b, "a", "1")
	b.Emit(bus.ChangeEvent{Scope: "a", Origin: "2", Audience: bus.Only("alice")})
	wantBrief(t, alice, "a/1, reset a")
	wantBrief(t, bob, "a/1")
}
