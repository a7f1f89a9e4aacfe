package sse

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// coalesced is changeData for several.
func coalesced(scope string, stands int) string {
	return fmt.Sprintf(`{"scope":%q,"op":"insert","table":"public.t","coalesced":%d}`, scope, stands)
}

func TestBurstComesAsOneFrameOfEachScope(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		c := w.open("scope=a&scope=b&coalesce=200ms")
		begin := time.Now()
		for i := range uint64(100) {
			w.bus.Emit(change("a", i+1))
			w.bus.Advance(cursor(i + 2))
			time.Sleep(time.Millisecond)
		}
		w.bus.Emit(change("b", 101))
		w.bus.Advance(cursor(102))
		c.wantEvent(cursor(1), coalesced("a", 100))
		if waited := time.Since(begin); waited != 200*time.Millisecond {
			t.Errorf("the burst came after %v, want 200ms", waited)
		}
		c.wantEvent(cursor(1), changeData("b"))
		// What nobody waits for comes after the same time again.
		if got := c.want(id); got.id != cursor(102) {
			t.Errorf("got %v, want %s", got, cursor(102))
		}
		begin = time.Now()
		w.bus.Emit(change("b", 102))
		c.wantEvent(cursor(102), changeData("b"))
		if waited := time.Since(begin); waited != 200*time.Millisecond {
			t.Errorf("a change alone came after %v, want 200ms", waited)
		}
	})
}

// A debounce would wait for a pause that never comes.
func TestChangesWithoutAPauseDontStarveAClient(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		c := w.open("scope=a&coalesce=1s")
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for tx := uint64(1); ; tx++ {
				w.bus.Emit(change("a", tx))
				w.bus.Advance(cursor(tx + 1))
				select {
				case <-time.After(50 * time.Millisecond):
				case <-stop:
					return
				}
			}
		}()
		for range 5 {
			begin := time.Now()
			c.nextEvent()
			if waited := time.Since(begin); waited > 1050*time.Millisecond {
				t.Errorf("nothing came for %v, want 1.05s at most", waited)
			}
		}
	})
}

func TestSpreadHasEachClientFetchAtATimeOfItsOwn(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		var clients []*client
		for range 20 {
			clients = append(clients, w.open("scope=a&coalesce=100ms&spread=2s"))
		}
		begin := time.Now()
		w.bus.Emit(change("a", 1))
		after := make(chan time.Duration)
		for _, c := range clients {
			go func() { c.nextEvent(); after <- time.Since(begin) }()
		}
		times := make(map[time.Duration]bool)
		var least, most time.Duration = time.Hour, 0
		for range clients {
			d := <-after
			times[d], least, most = true, min(least, d), max(most, d)
		}
		if least < 100*time.Millisecond || most > 2100*time.Millisecond {
			t.Errorf("changes came after %v to %v, want 100ms to 2.1s", least, most)
		}
		// 20 times out of 2s lie within half a second once in 10 billion tries.
		if len(times) < 19 || most-least < 500*time.Millisecond {
			t.Errorf("%d clients heard at %d times over %v, want them spread over 2s", len(clients), len(times), most-least)
		}
	})
}

// Else who is cut amid the window would never hear of what waited.
func TestNoIDCoversWhatWaits(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		c := w.open("scope=a&coalesce=1m")
		w.bus.Emit(change("a", 1))
		w.bus.Advance(cursor(2))
		for range 3 {
			c.want(comment) // heartbeats
		}
		c.wantEvent(cursor(1), changeData("a"))
		if got := c.want(id); got.id != cursor(2) {
			t.Errorf("got %v, want %s", got, cursor(2))
		}
	})
}

func TestReplayComesAsOneFrameOfEachScope(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		r := journal.Replay{End: parse(t, cursor(9))}
		for tx := uint64(3); tx < 9; tx++ {
			r.Records = append(r.Records, record(tx, bus.Audience{}, "a", "b"))
		}
		w := overPipe(t, settings{Config: Config{Replay: replay(r)}})
		c := w.open("scope=a&scope=b&coalesce=200ms", "Last-Event-ID", cursor(3))
		w.bus.Emit(change("a", 9)) // and joins what is live
		first, second := c.nextEvent(), c.nextEvent()
		if first.name != "a" || first.id != cursor(3) || !strings.Contains(first.data, `"coalesced":7}`) {
			t.Errorf("got %v, want seven of a under %s", first, cursor(3))
		}
		if second.name != "b" || second.id != cursor(3) || !strings.Contains(second.data, `"coalesced":6}`) {
			t.Errorf("got %v, want six of b under %s", second, cursor(3))
		}
	})
}

func TestDrainWritesWhatWaits(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		c := w.open("scope=a&coalesce=1m")
		w.bus.Emit(change("a", 1))
		w.bus.Advance(cursor(2))
		synctest.Wait()
		begin := time.Now()
		go w.h.Drain(time.Second)
		c.wantEvent(cursor(1), changeData("a"))
		if got := c.want(id); got.id != cursor(2) {
			t.Errorf("got %v, want %s", got, cursor(2))
		}
		c.wantCut()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the stream ended after %v, want 1s at most", took)
		}
	})
}

func TestWhatWaitsIsNotWrittenOnceRefused(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, g := guarded(t, settings{})
		c := w.open("scope=a&coalesce=1m")
		w.bus.Emit(change("a", 1))
		synctest.Wait()
		g.set(false, nil)
		c.wantClose("no longer allowed")
	})
}

func TestWhatWaitsIsNotWrittenWhilePermissionCantBeTold(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, g := guarded(t, settings{})
		// It is asked again after 25 s at most, and given up after 43 at the least; of the
		// comments the second comes after 26 to 30.
		c := w.open("scope=a&coalesce=25s")
		w.bus.Emit(change("a", 1))
		synctest.Wait()
		g.set(false, errors.New("down"))
		for begin := time.Now(); time.Since(begin) < 26*time.Second; {
			c.want(comment)
		}
		g.set(true, nil)
		c.wantEvent(cursor(1), changeData("a"))
	})
}

func TestBurstOfManyScopesIsWrittenInParts(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{queue: 1000})
		var query []string
		for i := range 100 {
			query = append(query, fmt.Sprintf("scope=s%d", i))
		}
		c := w.open(strings.Join(query, "&") + "&coalesce=50ms")
		large, err := json.Marshal(strings.Repeat("x", 4096))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			e := change(fmt.Sprintf("s%d", i), 1)
			e.Data = large
			w.bus.Emit(e)
		}
		w.bus.Advance(cursor(2))
		for i := range 100 {
			if got, want := c.nextEvent(), fmt.Sprintf("s%d", i); got.name != want || got.id != cursor(1) {
				t.Fatalf("got %s under %s, want %s under %s", got.name, got.id, want, cursor(1))
			}
		}
	})
}

func TestTimesToWaitAreChecked(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{})
		for _, query := range []string{"coalesce=200", "coalesce=-1s", "coalesce=61s", "spread=soon", "spread=2m", "coalesce=1s&coalesce=1s", "spread="} {
			resp := w.get("/events?scope=a&" + query)
			if body := w.body(resp); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, strings.SplitN(query, "=", 2)[0]) {
				t.Errorf("%s: got %s, %s, want 400 and the parameter's name", query, resp.Status, body)
			}
		}
		for _, query := range []string{"coalesce=0s", "coalesce=1m&spread=1m", "coalesce=0.2s"} {
			if resp := w.get("/events?scope=a&" + query); resp.StatusCode != http.StatusOK {
				t.Errorf("%s: got %s", query, resp.Status)
			}
		}
	})
}

func TestMergedEventClaimsNothingUntrueOfEither(t *testing.T) {
	row := func(id int, e bus.ChangeEvent) bus.ChangeEvent {
		e.Scope, e.Table, e.Key = "a", "public.t", json.RawMessage(fmt.Sprintf(`{"id":%d}`, id))
		return e
	}
	data := json.RawMessage(`{"x":2}`)
	insert, update := bus.ChangeEvent{Op: bus.OpInsert}, bus.ChangeEvent{Op: bus.OpUpdate, Changed: []string{"x"}, Data: data}
	reset := bus.ChangeEvent{Scope: "a", Op: bus.OpReset, Reason: "why"}
	publish := func(data string) bus.ChangeEvent {
		return bus.ChangeEvent{Scope: "a", Op: bus.OpPublish, Data: json.RawMessage(data)}
	}
	with := func(e bus.ChangeEvent, edit func(*bus.ChangeEvent)) bus.ChangeEvent { edit(&e); return e }
	for name, test := range map[string]struct{ before, e, want bus.ChangeEvent }{
		"one row": {row(1, insert), row(1, update), with(row(1, update), func(e *bus.ChangeEvent) { e.Changed = nil })},
		"two rows": {row(1, update), row(2, update),
			bus.ChangeEvent{Scope: "a", Table: "public.t", Op: bus.OpUpdate, Changed: []string{"x"}}},
		"two tables": {with(row(1, insert), func(e *bus.ChangeEvent) { e.Table = "public.u" }), row(1, insert),
			bus.ChangeEvent{Scope: "a", Op: bus.OpInsert}},
		"columns of both": {with(row(1, update), func(e *bus.ChangeEvent) { e.Changed = []string{"y", "x"} }), row(1, update),
			with(row(1, update), func(e *bus.ChangeEvent) { e.Changed = []string{"x", "y"} })},
		"it is not known what changed": {with(row(1, update), func(e *bus.ChangeEvent) { e.Changed = nil }), row(1, update),
			with(row(1, update), func(e *bus.ChangeEvent) { e.Changed = nil })},
		"own change and another's": {with(row(1, insert), func(e *bus.ChangeEvent) { e.Origin = "me" }),
			with(row(1, insert), func(e *bus.ChangeEvent) { e.Origin = "you" }), row(1, insert)},
		"own changes": {with(row(1, insert), func(e *bus.ChangeEvent) { e.Origin = "me" }),
			with(row(1, insert), func(e *bus.ChangeEvent) { e.Origin = "me" }), with(row(1, insert), func(e *bus.ChangeEvent) { e.Origin = "me" })},
		"came and changed": {with(row(1, update), func(e *bus.ChangeEvent) { e.Moved = bus.MovedIn }), row(1, update),
			with(row(1, update), func(e *bus.ChangeEvent) { e.Moved = bus.MovedIn })},
		"came and was deleted": {with(row(1, update), func(e *bus.ChangeEvent) { e.Moved = bus.MovedIn }),
			row(1, bus.ChangeEvent{Op: bus.OpDelete}), row(1, bus.ChangeEvent{Op: bus.OpDelete})},
		"came and went": {with(row(1, update), func(e *bus.ChangeEvent) { e.Moved = bus.MovedIn }),
			with(row(1, update), func(e *bus.ChangeEvent) { e.Moved, e.Data = bus.MovedOut, nil }),
			with(row(1, update), func(e *bus.ChangeEvent) { e.Moved, e.Data = bus.MovedOut, nil })},
		"another came and went": {row(1, update), with(row(2, update), func(e *bus.ChangeEvent) { e.Moved = bus.MovedOut }),
			bus.ChangeEvent{Scope: "a", Table: "public.t", Op: bus.OpUpdate, Changed: []string{"x"}}},
		"reset first":     {reset, row(1, update), reset},
		"reset last":      {row(1, update), reset, reset},
		"publishes":       {publish("1"), publish("2"), publish("2")},
		"rows of no key":  {with(row(1, insert), func(e *bus.ChangeEvent) { e.Key = nil }), with(row(1, update), func(e *bus.ChangeEvent) { e.Key = nil }), bus.ChangeEvent{Scope: "a", Table: "public.t", Op: bus.OpUpdate}},
		"change, publish": {row(1, update), publish("2"), bus.ChangeEvent{Scope: "a", Op: bus.OpPublish}},
	} {
		if diff := cmp.Diff(test.want, merge(test.before, test.e), cmp.AllowUnexported(bus.Audience{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
