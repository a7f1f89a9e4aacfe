package bus_test

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/pgbell/pgbell/bus"
)

// Row 21 of the conformance list: memory.

// heap returns the bytes in use after collections: pools are emptied by the second, and what
// finalizers held by the third.
func heap() int {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Row 21: with users, drops and their warnings, and events that were lent out.
func TestNothingOfAScopeStaysAfterItsLastSubscriber(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 1})
	subs := make([]*bus.Subscription, 100_000)
	before := heap()
	for i := range subs {
		name := strconv.Itoa(i)
		subs[i] = b.Subscribe([]string{"scope:" + name}, as("user "+name))
		for range 2 * (i % 2) { // every other one drops
			b.Emit(bus.ChangeEvent{Scope: "scope:" + name, Audience: bus.Only("user " + name)})
		}
	}
	full := heap()
	if st := b.Stats(); st.Scopes != len(subs) || st.Dropped != uint64(len(subs)/2) {
		t.Fatalf("got %+v", st)
	}
	for _, s := range subs {
		s.Close()
	}
	clear(subs)
	after := heap()
	t.Logf("heap grew by %d kB with 100,000 scopes, by %d kB after", (full-before)>>10, (after-before)>>10)
	if grown := after - before; grown > 256<<10 {
		t.Errorf("heap grew by %d bytes, want as before", grown)
	}
	if st := b.Stats(); st.Scopes+st.Subscribers+st.Subscriptions != 0 {
		t.Errorf("got %+v", st)
	}
	runtime.KeepAlive(b)
	runtime.KeepAlive(subs)
}

// Row 21: the same for the subscribers of one scope that stays.
func TestNothingOfASubscriberStaysAfterItLeft(t *testing.T) {
	b := newBus(t, bus.Config{})
	stays := subscribe(t, b, as("stays"), "a")
	subs := make([]*bus.Subscription, 50_000)
	before := heap()
	for i := range subs {
		subs[i] = b.Subscribe([]string{"a"}, as(strconv.Itoa(i)))
	}
	emit(b, "a", "1")
	for _, s := range subs {
		s.Close()
	}
	clear(subs)
	if grown := heap() - before; grown > 256<<10 {
		t.Errorf("heap grew by %d bytes, want as before", grown)
	}
	wantBrief(t, stays, "a/1")
	runtime.KeepAlive(subs)
}

func TestIdleSubscriptionIsSmall(t *testing.T) {
	b := newBus(t, bus.Config{})
	subs := make([]*bus.Subscription, 1000)
	before := heap()
	for i := range subs {
		subs[i] = b.Subscribe([]string{"a"}, as(strconv.Itoa(i)))
	}
	idle := (heap() - before) / len(subs)
	for range 256 { // a burst, once read, leaves little behind
		emit(b, "a", "1")
		for _, s := range subs[:100] {
			s.TryNext()
		}
	}
	for _, s := range subs {
		drain(s)
	}
	after := (heap() - before) / len(subs)
	t.Logf("%d bytes idle, %d after a burst", idle, after)
	if idle > 1500 || after > idle+200 {
		t.Errorf("got %d bytes idle, %d after a burst; want at most 1500, and 200 more", idle, after)
	}
	b.CloseAll()
	runtime.KeepAlive(subs)
}
