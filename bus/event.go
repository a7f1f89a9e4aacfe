package bus

import (
	"encoding/json"
	"time"
)

// Op says what happened to a row, or what else an event means.
type Op string

// The ops. A reset means "continuity can't be proved for this scope: fetch
// again"; a publish is an application's own event.
const (
	OpInsert  Op = "insert"
	OpUpdate  Op = "update"
	OpDelete  Op = "delete"
	OpReset   Op = "reset"
	OpPublish Op = "publish"
)

// Moved says on which side of an update a scope or an audience stands that the
// update changed. Empty: the row stayed.
type Moved string

// MovedOut tells those who can no longer see the row, MovedIn those who now can.
const (
	MovedIn  Moved = "in"
	MovedOut Moved = "out"
)

// ReasonOverflow is the Reason of the reset that a subscription gets for a scope
// whose events did not fit into its queue.
const ReasonOverflow = "the subscriber was too slow: events were dropped"

// ChangeEvent is a change as delivered for one scope. All subscribers share its
// slices: once emitted it must not be modified, neither by who emitted it nor by
// who received it.
type ChangeEvent struct {
	Scope    string
	Op       Op
	Table    string          // schema-qualified, as in public.tasks; empty for a publish
	Key      json.RawMessage // JSON object of the primary key; nil if there is none
	Changed  []string        // the changed columns of an update
	Moved    Moved
	Origin   string          // who wrote it, as the writer said
	Audience Audience        // who may see it; the zero value is everyone
	Data     json.RawMessage // payload columns, or what was published
	Reason   string          // why, of a reset
	At       time.Time
	Tx       uint64 // id of the transaction that made it; 0 means none or unknown
	Cursor   string // set by Emit and Reset: the bus's position at that moment
}

// asReset makes e a reset. A reset reaches all subscribers of its scope, so it
// keeps nothing of a row, nor of who wrote it.
func asReset(e ChangeEvent) ChangeEvent {
	return ChangeEvent{
		Scope:  e.Scope,
		Op:     OpReset,
		Table:  e.Table,
		Reason: e.Reason,
		At:     e.At,
		Tx:     e.Tx,
	}
}
