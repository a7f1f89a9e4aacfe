package bus_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pgbell/pgbell/bus"
)

// An observer is told of each event of its scopes, whoever may see it, before the event is with
// anybody and before a position covers it.
func TestObserverIsToldFirst(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 1})
	b.Advance("before")
	sub := b.Subscribe([]string{"a"}, bus.Options{Connection: &bus.Connection{UserID: "ann"}})
	defer sub.Close()
	var told []string
	stop := b.Observe([]string{"a", "b", "a"}, func() {
		if _, ok := sub.TryNext(); ok {
			t.Error("a subscription had it before")
		}
		told = append(told, b.Position())
	})
	want := func(n int, what string) {
		t.Helper()
		if len(told) != n || slices.Contains(told, "after") {
			t.Errorf("%s: told at %q, want %d times", what, told, n)
		}
		told = nil
		for ok := true; ok; {
			_, ok = sub.TryNext()
		}
	}
	for what, a := range map[string]bus.Audience{
		"everyone": {}, "nobody": bus.Only(), "ann": bus.Only("ann"), "another": bus.Only("bob"), "a group": bus.Named(nil, []string{"g"}),
	} {
		b.Emit(bus.ChangeEvent{Scope: "a", Op: bus.OpInsert, Audience: a})
		want(1, what)
	}
	b.Emit(bus.ChangeEvent{Scope: "b", Op: bus.OpDelete}) // without a subscriber
	want(1, "no subscriber")
	b.Emit(bus.ChangeEvent{Scope: "c"})
	want(0, "another scope")
	b.Emit(bus.ChangeEvent{Scope: "a", Op: bus.OpReset})
	want(1, "a reset")
	b.Reset(nil, bus.ChangeEvent{})
	want(2, "a reset of all")
	b.Reset(func(scope string) bool { return scope == "b" }, bus.ChangeEvent{})
	want(1, "a reset of one")
	stop()
	stop()
	b.Emit(bus.ChangeEvent{Scope: "a"})
	b.Reset(nil, bus.ChangeEvent{})
	want(0, "no more")
}

func TestObserversComeAndGo(t *testing.T) {
	b := newBus(t, bus.Config{})
	var told atomic.Int64
	steady := b.Observe([]string{"a"}, func() { told.Add(1) })
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				b.Observe([]string{"a", "b"}, func() {})()
			}
		})
		all.Go(func() {
			for range 200 {
				b.Emit(bus.ChangeEvent{Scope: "a"})
			}
		})
	}
	all.Wait()
	steady()
	if told.Load() != 800 {
		t.Errorf("told %d times of 800 events", told.Load())
	}
}
