package bus_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

// Rows 16 to 18 of the conformance list: lifecycle.

// Row 16.
func TestCloseEndsTheWaitingSubscribersOfAScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		other := b.Subscribe([]string{"b"}, bus.Options{})
		defer other.Close()
		began := time.Now()
		ends := make(chan error)
		for range 3 {
			s := b.Subscribe([]string{"a"}, bus.Options{})
			go func() {
				_, err := s.Next(context.Background())
				ends <- err
			}()
		}
		synctest.Wait() // all wait
		b.Close("a")
		for range 3 {
			if err := <-ends; !errors.Is(err, bus.ErrClosed) {
				t.Errorf("got %v, want ErrClosed", err)
			}
		}
		if d := time.Since(began); d >= time.Second {
			t.Errorf("took %v, want less than a second", d)
		}
		emit(b, "b", "1")
		wantBrief(t, other, "b/1")
	})
}

// Row 16: none is thrown away to make room, and owed resets come too.
func TestCloseLeavesWhatIsQueuedToTheReader(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 3})
	for name, end := range map[string]func(s *bus.Subscription){
		"Close":              func(*bus.Subscription) { b.Close("a") },
		"CloseAll":           func(*bus.Subscription) { b.CloseAll() },
		"CloseUser":          func(*bus.Subscription) { b.CloseUser("alice") },
		"Subscription.Close": (*bus.Subscription).Close,
	} {
		t.Run(name, func(t *testing.T) {
			s := subscribe(t, b, as("alice"), "a", "b")
			for _, n := range []string{"1", "2", "3", "4"} {
				emit(b, "a", n)
			}
			end(s)
			emit(b, "a", "late")
			emit(b, "b", "late")
			if s.Closed() {
				t.Error("Closed before the queue was read")
			}
			var got []bus.ChangeEvent
			for {
				e, err := s.Next(t.Context())
				if err != nil {
					if !errors.Is(err, bus.ErrClosed) {
						t.Errorf("got %v, want ErrClosed", err)
					}
					break
				}
				got = append(got, e)
			}
			if want := "a/1, a/2, a/3, reset a"; brief(got) != want {
				t.Errorf("got %q, want %q", brief(got), want)
			}
			if !s.Closed() {
				t.Error("not Closed after the queue was read")
			}
			if _, err := s.Next(t.Context()); !errors.Is(err, bus.ErrClosed) {
				t.Errorf("again: got %v, want ErrClosed", err)
			}
		})
	}
}

// Row 16.
func TestCloseOfAnUnknownScopeDoesNothing(t *testing.T) {
	b := newBus(t, bus.Config{})
	b.Close("a")
	s := subscribe(t, b, bus.Options{}, "a")
	b.Close("b")
	b.Close("")
	emit(b, "a", "1")
	wantBrief(t, s, "a/1")
}

// Row 16.
func TestBusStaysUsableAfterClose(t *testing.T) {
	b := newBus(t, bus.Config{})
	subscribe(t, b, as("alice"), "a")
	for _, closing := range []func(){func() { b.Close("a") }, b.CloseAll, func() { b.CloseUser("alice") }} {
		closing()
		s := subscribe(t, b, as("alice"), "a")
		emit(b, "a", "1")
		b.Emit(bus.ChangeEvent{Scope: "a", Origin: "2", Audience: bus.Only("alice")})
		wantBrief(t, s, "a/1, a/2")
	}
}

func TestCloseOfOneScopeEndsTheWholeSubscription(t *testing.T) {
	b := newBus(t, bus.Config{})
	s := subscribe(t, b, bus.Options{}, "a", "b")
	b.Close("a")
	emit(b, "b", "1")
	wantBrief(t, s, "")
	if !s.Closed() {
		t.Error("not closed")
	}
	if diff := cmp.Diff(bus.Stats{Emitted: 1}, b.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

// Row 17.
func TestSubscriberCount(t *testing.T) {
	b := newBus(t, bus.Config{})
	want := func(subscribers, subscriptions, scopes int) {
		t.Helper()
		want := bus.Stats{Subscribers: subscribers, Subscriptions: subscriptions, Scopes: scopes}
		if diff := cmp.Diff(want, b.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	}
	want(0, 0, 0)
	s := b.Subscribe([]string{"a"}, bus.Options{})
	want(1, 1, 1)
	s.Close()
	want(0, 0, 0)
	s.Close()
	want(0, 0, 0)
	b.Subscribe([]string{"a", "b", "c", "d", "e"}, bus.Options{})
	want(5, 1, 5)
	b.Subscribe([]string{"a", "a"}, bus.Options{})
	want(6, 2, 5)
	for _, scope := range []string{"a", "x", "y"} {
		b.Subscribe([]string{scope}, as("alice"))
	}
	want(9, 5, 7)
	b.CloseAll()
	want(0, 0, 0)
}

// Row 17.
func TestCloseAllEndsAll(t *testing.T) {
	b := newBus(t, bus.Config{})
	subs := []*bus.Subscription{
		b.Subscribe([]string{"a"}, bus.Options{}),
		b.Subscribe([]string{"a", "b"}, as("alice")),
		b.Subscribe(nil, as("bob")), // of no scope
	}
	b.CloseAll()
	for i, s := range subs {
		if _, err := s.Next(t.Context()); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("subscription %d: got %v, want ErrClosed", i, err)
		}
	}
}

// Row 18.
func TestCloseRacingEmitsEndsCleanly(t *testing.T) {
	for _, closing := range []func(*bus.Bus){
		func(b *bus.Bus) { b.Close("a") },
		(*bus.Bus).CloseAll,
		func(b *bus.Bus) { b.CloseUser("alice") },
	} {
		b := newBus(t, bus.Config{})
		s := b.Subscribe([]string{"a"}, as("alice"))
		var got []bus.ChangeEvent
		together(3, func(i int) {
			switch i {
			case 0:
				for n := range 500 {
					emit(b, "a", strconv.Itoa(n))
				}
			case 1:
				runtime.Gosched()
				closing(b)
			case 2:
				for {
					e, err := s.Next(t.Context())
					if err != nil {
						return
					}
					got = append(got, e)
				}
			}
		})
		for i, e := range got { // a run from the start, then perhaps a reset
			if e.Op != bus.OpReset && e.Origin != strconv.Itoa(i) {
				t.Fatalf("event %d is %s", i, e.Origin)
			}
			if e.Op == bus.OpReset {
				break
			}
		}
		if st := b.Stats(); st.Emitted != 500 || st.Subscribers != 0 {
			t.Errorf("got %+v", st)
		}
	}
}

// Row 18.
func TestSubscribeRacingCloseEndsCleanly(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 500}) // room for all, however long one waits for its turn
	together(20, func(i int) {
		for range 50 {
			switch i % 4 {
			case 0:
				b.Close("a")
			case 1:
				b.CloseAll()
			default:
				s := b.Subscribe([]string{"a", "b"}, as("alice"))
				emit(b, "b", "1")
				if !s.Closed() {
					drain(s)
				}
				s.Close()
			}
		}
	})
	if diff := cmp.Diff(bus.Stats{Emitted: 500, Delivered: b.Stats().Delivered}, b.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}
