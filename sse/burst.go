package sse

import (
	"bytes"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/pgbell/pgbell/bus"
)

// burst is what waits for the end of its window: of each scope one event, which
// stands for all that came since the window began. It is for a stream that asked to
// coalesce or to spread; for others it is nil, and empty.
//
// The window opens with the first event and is not put off by others, so that an
// event waits no longer than window and spread, however many follow it. A burst
// holds at most one event for each of the stream's scopes.
type burst struct {
	window time.Duration
	spread time.Duration // the most that chance adds to a window

	waiting []waiting
	at      map[string]int // of a scope in waiting
	id      string         // covers what was written before the burst
	due     time.Time

	livesDue time.Time // when what became of live queries is told; zero if nothing waits
}

// waiting is an event that waits and the number of those that it stands for.
type waiting struct {
	d      *bus.Delivery
	stands int
}

func (b *burst) empty() bool { return b == nil || len(b.waiting) == 0 }

// over says whether the window has ended.
func (b *burst) over() bool { return !b.empty() && !time.Now().Before(b.due) }

// add makes d wait. id is the id that d would have if it were written now.
func (b *burst) add(id string, d *bus.Delivery) {
	if b.empty() {
		b.id = id
		b.due = time.Now().Add(b.window + mathrand.N(b.spread+1))
	}
	scope := d.Event.Scope
	if i, ok := b.at[scope]; ok {
		w := &b.waiting[i]
		w.d = &bus.Delivery{Event: merge(w.d.Event, d.Event)}
		w.stands++
		return
	}
	if b.at == nil {
		b.at = make(map[string]int)
	}
	b.at[scope] = len(b.waiting)
	b.waiting = append(b.waiting, waiting{d, 1})
}

// take returns what waited, in the order in which the scopes came.
func (b *burst) take() []waiting {
	all := b.waiting
	b.waiting, b.at = nil, nil
	return all
}

// merge returns the event that stands for before, which may itself stand for
// several, and for e, which came later. It is e, without what would be untrue of
// before; a reset outweighs all else.
func merge(before, e bus.ChangeEvent) bus.ChangeEvent {
	if e.Op == bus.OpReset {
		return e
	}
	if before.Op == bus.OpReset {
		return before
	}
	if e.Table != before.Table || !bytes.Equal(e.Key, before.Key) || e.Key == nil && e.Op != bus.OpPublish {
		// Of different rows, or it can't be told.
		e.Key, e.Data, e.Moved = nil, nil, ""
	}
	if e.Table != before.Table {
		e.Table = ""
	}
	if e.Origin != before.Origin {
		e.Origin = "" // else its client would take others' changes for its own
	}
	if e.Moved == "" && e.Key != nil && e.Op == bus.OpUpdate && before.Moved == bus.MovedIn {
		e.Moved = bus.MovedIn
	}
	if e.Op != bus.OpUpdate || before.Op != bus.OpUpdate {
		e.Changed = nil
	} else if !slices.Equal(before.Changed, e.Changed) {
		e.Changed = union(before.Changed, e.Changed)
	}
	return e
}

// union returns what is in a or in b, sorted. If either is empty, it is not known what
// changed.
func union(a, b []string) []string {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
