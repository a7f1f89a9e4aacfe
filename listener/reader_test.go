package listener

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

// reader reads a subscription.
type reader struct {
	t   testing.TB
	w   *world
	sub *bus.Subscription
}

// subscribe listens to scopes, as nobody in particular.
func (w *world) subscribe(scopes ...string) *reader {
	r := &reader{w.t, w, w.bus.Subscribe(append(scopes, "end"), bus.Options{})}
	w.t.Cleanup(r.sub.Close)
	return r
}

// next returns the next event. That the end is a scope of a volatile feed too is
// nobody's concern.
func (r *reader) next() bus.ChangeEvent {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		e, err := r.sub.Next(ctx)
		if err != nil {
			r.t.Fatalf("no event came: %v", err)
		}
		if e.Scope != "end" || !isReset(e) {
			return e
		}
	}
}

// fences numbers what rest sends.
var fences atomic.Int64

// rest returns all events up to now. Durable feeds and others come by two ways, of
// which each has its end.
func (r *reader) rest() (events []bus.ChangeEvent) {
	r.t.Helper()
	mark := fmt.Sprintf(`{"id":%d}`, fences.Add(1))
	ends := map[bus.Op]bool{bus.OpPublish: true, bus.OpInsert: true}
	r.w.exec("select pgbell.publish('end', $1)", mark)
	r.w.exec("insert into fence values ($1)", fences.Load())
	for len(ends) > 0 {
		switch e := r.next(); {
		case e.Scope != "end":
			events = append(events, e)
		case strings.ReplaceAll(string(e.Data), " ", "") == mark || string(e.Key) == mark:
			delete(ends, e.Op)
		}
	}
	return events
}

// until returns the events up to the first for which f holds, that one included.
func (r *reader) until(f func(bus.ChangeEvent) bool) (events []bus.ChangeEvent) {
	r.t.Helper()
	for {
		e := r.next()
		if events = append(events, e); f(e) {
			return events
		}
	}
}

func isReset(e bus.ChangeEvent) bool { return e.Op == bus.OpReset }

// brief is an event in a few words.
func brief(e bus.ChangeEvent) string {
	words := []string{string(e.Op), e.Scope}
	if len(e.Data) > 0 {
		words = append(words, string(e.Data))
	}
	if e.Reason != "" {
		words = append(words, e.Reason)
	}
	return strings.Join(words, " ")
}

func briefs(events []bus.ChangeEvent) []string {
	all := []string{}
	for _, e := range events {
		all = append(all, brief(e))
	}
	return all
}

// n is the payload column n of an event.
func n(t testing.TB, e bus.ChangeEvent) int64 {
	t.Helper()
	var data struct{ N int64 }
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatalf("%s: %v", brief(e), err)
	}
	return data.N
}

// restIs compares what came, in whatever order.
func (r *reader) restIs(what string, want ...string) {
	r.t.Helper()
	got := briefs(r.rest())
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("%s: %s", what, diff)
	}
}

// resets reads until each of scopes was reset for that reason.
func (w *world) resets(r *reader, reason string, scopes ...string) {
	w.t.Helper()
	left := slices.Clone(scopes)
	for len(left) > 0 {
		e := r.next()
		if e.Op != bus.OpReset {
			w.t.Errorf("before the resets: %s", brief(e))
		}
		if e.Reason == reason {
			left = slices.DeleteFunc(left, func(scope string) bool { return scope == e.Scope })
		}
	}
	w.ready()
}

// goesOn checks that changes arrive; r listens to tasks.
func (w *world) goesOn(r *reader) {
	w.t.Helper()
	w.exec("insert into tasks (id) select coalesce(max(id), 0) + 1 from tasks")
	events := r.rest()
	i := slices.IndexFunc(events, func(e bus.ChangeEvent) bool { return e.Scope == "tasks" && e.Op == bus.OpInsert })
	if i < 0 {
		w.t.Fatalf("got %v", briefs(events))
	}
	await(w.t, "the position covers it", func() bool {
		return parse(w.t, w.bus.Position()).Covers(events[i].Tx)
	})
}
