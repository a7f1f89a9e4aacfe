package sse

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
)

// Frames that don't fit into the socket's buffer come whole, and in order, whoever
// writes them: a writer, or the stream that is handed the rest of one.
func TestFramesComeWholeAndInOrderWhoeverWritesThem(t *testing.T) {
	events := uint64(2000)
	if testing.Short() {
		events = 500
	}
	w := overSocket(t, settings{queue: int(events), Config: Config{Heartbeat: 2 * time.Millisecond, WriteTimeout: time.Hour}})
	large := json.RawMessage(`{"x":"` + strings.Repeat("x", 20_000) + `"}`)
	var readers sync.WaitGroup
	for range 6 {
		c := w.open("scope=a")
		readers.Go(func() {
			for i := range events {
				it, err := c.next()
				for err == nil && it.kind != event {
					it, err = c.next()
				}
				var got struct{ Key struct{ ID uint64 } }
				if err != nil || json.Unmarshal([]byte(it.data), &got) != nil || got.Key.ID != i {
					t.Errorf("event %d: got %.200v, %v", i, it, err)
					return
				}
			}
		})
	}
	for i := range events {
		e := change("a", i+1)
		e.Key = json.RawMessage(fmt.Sprintf(`{"id":%d}`, i))
		if i%3 == 0 {
			e.Data = large
		}
		w.bus.Emit(e)
		w.bus.Advance(cursor(i + 2))
	}
	readers.Wait()
	if s := w.bus.Stats(); s.Dropped > 0 {
		t.Errorf("%d were dropped", s.Dropped)
	}
	if got := w.h.Stats().Frames; got != 6*events {
		t.Errorf("counted %d frames, want %d", got, 6*events)
	}
}

// A client that does not read is cut by the deadline of the stream's own write, which
// was handed to it, and costs the others nothing.
func TestClientThatLeavesNoRoomIsCut(t *testing.T) {
	w := overSocket(t, settings{queue: 4, Config: Config{WriteTimeout: 300 * time.Millisecond}})
	stalled := hand(t, w, "scope=a")
	readUntil(t, stalled, "event: ready\n")
	other := w.open("scope=b")
	e := change("a", 1)
	e.Data = json.RawMessage(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`)
	for i := uint64(0); w.h.Stats().Cut == 0; i++ {
		w.bus.Emit(e)
		b := change("b", i)
		b.Key = json.RawMessage(fmt.Sprintf(`{"id":%d}`, i))
		w.bus.Emit(b)
		if got := other.nextEvent(); !strings.Contains(got.data, fmt.Sprintf(`{"id":%d}`, i)) {
			t.Fatalf("event %d: got %v", i, got)
		}
	}
}

// The id that a client holds follows the position though nothing wakes its stream, as
// soon as it has settled.
func TestLastIdSettlesWhenAWriterServes(t *testing.T) {
	w := overSocket(t, settings{Config: Config{Heartbeat: time.Hour}})
	c := w.open("scope=a")
	for i := range uint64(3) {
		w.bus.Emit(change("a", i))
		c.nextEvent()
	}
	w.bus.Advance(cursor(9))
	if got := c.want(id); got.id != cursor(9) {
		t.Errorf("got %v", got)
	}
}

// One whose turn panics ends alone. What the stream writes itself, before it first waits,
// is no turn of a writer's.
func TestPanicOfATurnEndsItsStream(t *testing.T) {
	w := overSocket(t, settings{})
	c, other := w.open("scope=a"), w.open("scope=b")
	w.h.encode = func(e *bus.ChangeEvent) any {
		if e.Scope == "a" {
			panic("broken")
		}
		return w.h.encodeShared(e)
	}
	var err error
	for range 10_000 {
		w.bus.Emit(change("a", 1))
		var it item
		for it.kind != event && err == nil {
			it, err = c.next()
		}
		if err != nil {
			break
		}
	}
	if !cut(err) {
		t.Fatalf("the stream ends with %v, want it cut", err)
	}
	w.bus.Emit(change("b", 1))
	other.wantEvent(cursor(1), changeData("b"))
}

// While it can't be told whether a stream may go on, no writer serves it either.
func TestNoWriterServesWhileAPermissionIsAskedFor(t *testing.T) {
	asking, answer := make(chan struct{}), make(chan bool)
	var asked atomic.Int32
	w := overSocket(t, settings{Config: Config{
		Recheck: 200 * time.Millisecond,
		Authorize: func(context.Context, Identity, string) (bool, error) {
			if asked.Add(1) <= 2 { // at the request, and once subscribed
				return true, nil
			}
			asking <- struct{}{}
			return <-answer, nil
		},
	}})
	c := w.open("scope=a")
	<-asking
	for i := range uint64(100) {
		w.bus.Emit(change("a", i))
		runtime.Gosched()
	}
	answer <- false
	c.wantClose("no longer allowed")
}
