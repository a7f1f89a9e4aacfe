package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/pgbell/pgbell/bus"
)

// What a reader gets from Next and Wake.

// Row 1, with a reader that waits.
func TestNextWaitsForAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		s := b.Subscribe([]string{"a"}, bus.Options{})
		defer s.Close()
		var got []bus.ChangeEvent
		go func() {
			for {
				e, err := s.Next(t.Context())
				if err != nil {
					return
				}
				got = append(got, e)
			}
		}()
		for _, name := range []string{"1", "2", "3"} {
			synctest.Wait()
			emit(b, "a", name)
		}
		synctest.Wait()
		if want := "a/1, a/2, a/3"; brief(got) != want {
			t.Errorf("got %q, want %q", brief(got), want)
		}
	})
}

func TestNextReturnsTheCauseOfItsContext(t *testing.T) {
	b := newBus(t, bus.Config{})
	s := subscribe(t, b, bus.Options{}, "a")
	emit(b, "a", "1")
	expired := errors.New("token expired")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(expired)
	if e, err := s.Next(ctx); err != nil || e.Origin != "1" {
		t.Errorf("got %v, %v; want what was queued first", e, err)
	}
	if _, err := s.Next(ctx); !errors.Is(err, expired) {
		t.Errorf("got %v, want %v", err, expired)
	}
	emit(b, "a", "2") // the end of a context is not the end of the subscription
	wantBrief(t, s, "a/2")
}

func TestWakeReceivesAfterAnEventAndAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		s := b.Subscribe([]string{"a"}, bus.Options{})
		var got []bus.ChangeEvent
		var woken int
		done := make(chan struct{})
		go func() {
			defer close(done)
			for !s.Closed() {
				<-s.Wake()
				woken++
				got = append(got, drain(s)...)
			}
		}()
		synctest.Wait()
		if woken != 0 {
			t.Errorf("woken %d times before there was anything", woken)
		}
		emit(b, "a", "1")
		synctest.Wait()
		emit(b, "a", "2")
		b.Close("a")
		<-done
		if want := "a/1, a/2"; brief(got) != want {
			t.Errorf("got %q, want %q", brief(got), want)
		}
	})
}

// What Options.Wake does in place of the channel.
func TestWakeFuncIsCalledForTheFirstEventAndForTheEnd(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 2})
	calls := 0
	s := b.Subscribe([]string{"a"}, bus.Options{Wake: func() { calls++ }})
	want := func(n int, when string) {
		t.Helper()
		if calls != n {
			t.Errorf("%s: called %d times, want %d", when, calls, n)
		}
	}
	want(0, "before there was anything")
	emit(b, "a", "1")
	want(1, "after the first")
	emit(b, "a", "2")
	emit(b, "a", "lost")
	want(1, "after others, which the reader finds with the first")
	s.TryNext()
	emit(b, "a", "3")
	want(1, "with something left to take")
	wantBrief(t, s, "a/2, reset a, a/3")
	emit(b, "a", "4")
	want(2, "after all was taken")
	s.Close()
	want(3, "after the end")
	if !s.Ended() || s.Closed() {
		t.Errorf("ended %v, closed %v; want the end, and something left to read", s.Ended(), s.Closed())
	}
	if s.Wake() != nil {
		t.Error("there is a channel as well")
	}
}

// A reader that is told of the first event only must not be left waiting for others.
func TestNoWakeIsMissed(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 100_000})
	for _, call := range []bool{false, true} {
		var opts bus.Options
		woken := make(chan struct{}, 1)
		if call {
			opts.Wake = func() {
				select {
				case woken <- struct{}{}:
				default:
				}
			}
		}
		s := subscribe(t, b, opts, "a")
		wake := s.Wake()
		if call {
			wake = woken
		}
		go together(4, func(int) {
			for range 5000 {
				emit(b, "a", "")
			}
		})
		for n := 0; n < 20_000; n += len(drain(s)) {
			<-wake
		}
		s.Close()
	}
}

func TestMemoIsOneForAllReceivers(t *testing.T) {
	b := newBus(t, bus.Config{})
	const n = 50
	subs := make([]*bus.Subscription, n)
	for i := range subs {
		subs[i] = subscribe(t, b, as("alice"), "a")
	}
	type made struct{ of string }
	f := func(e *bus.ChangeEvent) any { return &made{e.Origin} }
	for _, audience := range []bus.Audience{{}, bus.Only("alice")} {
		b.Emit(bus.ChangeEvent{Scope: "a", Origin: "me", Audience: audience})
		var got [n]any
		together(n, func(i int) { got[i] = subs[i].TryTake().Memo(f) })
		for i := range got {
			if got[i] != got[0] || got[i].(*made).of != "me" {
				t.Fatalf("receiver %d got %v, the first %v", i, got[i], got[0])
			}
		}
	}
	if d := subs[0].TryTake(); d != nil {
		t.Errorf("got %v from an empty queue", d.Event)
	}
}

func TestMemoIsMadeOnceByReceiversOneAfterAnother(t *testing.T) {
	b := newBus(t, bus.Config{})
	first, second := subscribe(t, b, bus.Options{}, "a"), subscribe(t, b, bus.Options{}, "a")
	emit(b, "a", "1")
	calls := 0
	f := func(*bus.ChangeEvent) any { calls++; return calls }
	if x, y := first.TryTake().Memo(f), second.TryTake().Memo(f); x != 1 || y != 1 {
		t.Errorf("got %v and %v, want what was made first", x, y)
	}
}
