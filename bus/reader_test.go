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
