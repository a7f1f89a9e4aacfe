package journal

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal/scope"
)

// Record is one row of the journal, or one notification of a feed that isn't
// durable: changes of one table, made by one statement. It is not changed once
// made, so that it may be shared.
type Record struct {
	LSN     uint64 // where the WAL was when the statement ended, by which records are ordered; 0 for a notification
	Part    int    // of the statement, which has one LSN
	Tx      uint64
	At      time.Time // when the statement ended
	Table   string    // quoted and with its schema; empty for publish
	Op      bus.Op
	Origin  string
	Changes []Change
	Reset   *Reset // for all scopes of a feed; then there are no Changes
	Attach  bool   // a table was attached or detached

	Disconnect *Disconnect // whose streams are to end; then there is nothing else
	Regroup    *Regroup    // whose groups may be others from here on

	// Position is a cursor: of all that it covers, nothing comes from here on, and
	// what came before it covers but for transactions of which there is more to come.
	// Empty where that isn't known.
	Position string

	values []fact // the same, of a notification
	facts  string // that Changes were made of, as Postgres sent them; empty: they are not to be made again
	spec   *spec  // what facts mean
	scopes filter

	statement int64 // when the client sent what wrote it, in microseconds: see order
}

// Size returns about how many bytes of memory r takes.
func (r *Record) Size() int {
	size := 500 + len(r.facts) + len(r.facts)/8
	if r.Regroup != nil {
		for _, u := range r.Regroup.Users {
			size += userBytes + len(u)
		}
	}
	if len(r.Changes) > 0 {
		size += 300*len(r.Changes) + len(r.facts)
		for _, c := range r.Changes {
			size += userBytes * c.Audience.Len()
			if c.Old != nil {
				size += userBytes * c.Old.Audience.Len()
			}
		}
	}
	return size
}

// userBytes is what a user of an audience takes beside the text: a string, and what an
// allocation is rounded up to.
const userBytes = 32

// Change is one row change as the trigger saw it.
type Change struct {
	Side
	Changed []string        // columns that an update changed
	Data    json.RawMessage // payload columns, or publish's data: an object, or nil
	Old     *Side           // an update's row as it was before, where that differs
}

// Side is who hears of a row, as it was before or after a change.
type Side struct {
	Scopes   []string
	Audience bus.Audience
	Key      json.RawMessage // primary key: an object, or nil
}

// Reset is a loss of continuity for every scope that one of Templates can
// produce.
type Reset struct {
	Templates []scope.Template
	Reason    string
}

// Disconnect says whose streams are to end.
type Disconnect struct {
	UserID string
	Scope  string // those that listen to it; empty: all
}

// Regroup says who may have come into a group, or left one.
type Regroup struct {
	Users []string
	All   bool // it isn't known who
}

// Matches says whether the reset concerns scope.
func (r *Reset) Matches(scope string) bool {
	for _, t := range r.Templates {
		if t.Matches(scope) {
			return true
		}
	}
	return false
}

// Events returns what subscribers get of r, each event for one scope and with
// its audience. A row that left a scope or lost a reader is a `moved: out`
// there, without a trace of what it is now; one that came is a `moved: in`.
// Resets are not among them: they concern scopes that only the reader knows.
func (r *Record) Events() []bus.ChangeEvent { return r.AppendEvents(nil) }

// AppendEvents appends what Events returns to events.
func (r *Record) AppendEvents(events []bus.ChangeEvent) []bus.ChangeEvent {
	for _, c := range r.Changes {
		events = r.appendEvents(events, c)
	}
	return events
}

// appendEvents appends to events what subscribers get of c, a change of r.
func (r *Record) appendEvents(events []bus.ChangeEvent, c Change) []bus.ChangeEvent {
	event := bus.ChangeEvent{
		Op: r.Op, Table: r.Table, Origin: r.Origin, At: r.At, Tx: r.Tx,
		Key: c.Key, Changed: c.Changed, Data: c.Data,
	}
	if c.Old != nil {
		return append(events, c.moved(event)...)
	}
	events = slices.Grow(events, len(c.Scopes))
	for i, scope := range c.Scopes {
		if !slices.Contains(c.Scopes[:i], scope) {
			events = append(events, to(event, scope, c.Audience))
		}
	}
	return events
}

// touches says whether c concerns one of scopes.
func (c Change) touches(scopes map[string]bool) bool {
	among := func(scope string) bool { return scopes[scope] }
	return slices.ContainsFunc(c.Scopes, among) || c.Old != nil && slices.ContainsFunc(c.Old.Scopes, among)
}

// ResetEvent returns the event that those scopes get which r.Reset concerns, as
// yet without a scope.
func (r *Record) ResetEvent() bus.ChangeEvent {
	return bus.ChangeEvent{Op: bus.OpReset, Table: r.Table, Reason: r.Reset.Reason, At: r.At, Tx: r.Tx}
}

// moved splits an update whose two sides differ. Who keeps the row gets an
// update. A changed key makes all of it a leaving and a coming; so does an
// audience that was everyone or becomes so, for "all others" is no audience.
func (c Change) moved(event bus.ChangeEvent) []bus.ChangeEvent {
	out, in := event, event
	out.Moved, out.Key, out.Changed, out.Data = bus.MovedOut, c.Old.Key, nil, nil
	in.Moved = bus.MovedIn
	apart := string(c.Key) != string(c.Old.Key) || c.Audience.Everyone() != c.Old.Audience.Everyone()

	var events []bus.ChangeEvent
	for i, scope := range c.Old.Scopes {
		switch {
		case slices.Contains(c.Old.Scopes[:i], scope):
		case apart || !slices.Contains(c.Scopes, scope):
			events = append(events, to(out, scope, c.Old.Audience))
		default:
			events = append(events, to(out, scope, c.Old.Audience.Minus(c.Audience)))
		}
	}
	for i, scope := range c.Scopes {
		switch {
		case slices.Contains(c.Scopes[:i], scope):
		case apart || !slices.Contains(c.Old.Scopes, scope):
			events = append(events, to(in, scope, c.Audience))
		default:
			events = append(events,
				to(event, scope, c.Audience.Intersect(c.Old.Audience)),
				to(in, scope, c.Audience.Minus(c.Old.Audience)))
		}
	}
	kept := events[:0]
	for _, e := range events {
		if !e.Audience.Nobody() {
			kept = append(kept, e)
		}
	}
	return kept
}

func to(e bus.ChangeEvent, scope string, audience bus.Audience) bus.ChangeEvent {
	e.Scope, e.Audience = scope, audience
	return e
}
