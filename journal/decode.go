package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/pgbell/pgbell/bus"
)

// wireSide and wireChange are Side and Change as the trigger writes them.
type wireSide struct {
	Scopes   []string        `json:"scopes"`
	Audience wireAudience    `json:"audience"`
	Key      json.RawMessage `json:"key"`
}

type wireChange struct {
	wireSide
	Changed []string        `json:"changed"`
	Flags   string          `json:"flags"`   // in place of Changed: a t for each of Columns that changed, else an f
	Columns []string        `json:"columns"` // all that may change while the row doesn't move
	Data    json.RawMessage `json:"data"`
	Old     *wireSide       `json:"old"`
}

// flagged returns those of columns that have a t among flags.
func flagged(columns []string, flags string) (changed []string, ok bool) {
	if len(columns) != len(flags) {
		return nil, false
	}
	changed = columns[:0]
	for i, column := range columns {
		switch flags[i] {
		case 't':
			changed = append(changed, column)
		case 'f':
		default:
			return nil, false
		}
	}
	return changed, true
}

// wireAudience tells an audience that is null, which is everyone, from one that
// isn't there at all. The latter is nobody: a change that doesn't say whom it is
// for is for nobody.
type wireAudience struct {
	given bool
	bus.Audience
}

func (a *wireAudience) UnmarshalJSON(data []byte) error {
	a.given = true
	if !utf8.Valid(data) { // else ids that differ would become the same one
		a.Audience = bus.Only()
		return nil
	}
	return a.Audience.UnmarshalJSON(data)
}

func (w wireSide) side() Side {
	s := Side{Scopes: w.Scopes, Audience: bus.Only(), Key: orNil(w.Key)}
	if w.Audience.given {
		s.Audience = w.Audience.Audience
	}
	return s
}

func (w wireChange) change() (c Change, ok bool) {
	c, ok = Change{Side: w.side(), Changed: w.Changed, Data: orNil(w.Data)}, true
	if w.Columns != nil {
		c.Changed, ok = flagged(w.Columns, w.Flags)
	}
	if w.Old != nil {
		old := w.Old.side()
		c.Old = &old
	}
	return c, ok
}

func orNil(raw json.RawMessage) json.RawMessage {
	if bytes.Equal(raw, []byte("null")) {
		return nil
	}
	return raw
}

type wireReset struct {
	Templates []string `json:"templates"`
	Reason    string   `json:"reason"`
}

// decode fills in what the columns op and changes of a journal row say. What
// can't be read becomes a reset for all scopes: one bad record must not keep
// all later ones from everybody.
func (r *Record) decode(op string, changes []byte) error {
	r.text = changes
	switch op {
	case "insert", "update", "delete", "publish":
		list, ok := readChanges(changes)
		if !ok {
			break
		}
		r.Op, r.Changes = bus.Op(op), list
		r.scopes = newFilter(list)
		return nil
	case "reset", "attach", "detach":
		r.Attach = op != "reset"
		var wire wireReset
		if json.Unmarshal(changes, &wire) != nil {
			break
		}
		templates, err := ParseTemplates(wire.Templates)
		if err != nil {
			break
		}
		r.Op, r.Reset = bus.OpReset, &Reset{Templates: templates, Reason: wire.Reason}
		return nil
	case "disconnect":
		var wire struct {
			User  string `json:"user"`
			Scope string `json:"scope"`
		}
		if json.Unmarshal(changes, &wire) != nil || wire.User == "" {
			break
		}
		r.Disconnect = &Disconnect{wire.User, wire.Scope}
		return nil
	default:
		return fmt.Errorf("journal record %d/%d: unknown op %q: the schema is newer than this pgbell, upgrade it", r.Seq, r.Part, op)
	}
	r.Op, r.Reset = bus.OpReset, &Reset{Templates: []Template{anyScope}, Reason: ReasonUnreadable}
	return nil
}

// readChanges reads the column changes of a journal row, or reports false.
func readChanges(text []byte) ([]Change, bool) {
	if changes, ok := scanChanges(text); ok {
		return changes, true
	}
	var wire []wireChange
	if json.Unmarshal(text, &wire) != nil {
		return nil, false
	}
	changes := make([]Change, len(wire))
	for i, w := range wire {
		var ok bool
		if changes[i], ok = w.change(); !ok {
			return nil, false
		}
	}
	return changes, true
}

// packed returns r without its Changes, where its text has them: that takes a third of
// the memory, and the garbage collector hardly looks at it.
func (r Record) packed() Record {
	if r.text != nil {
		r.Changes = nil
	}
	return r
}

// Unpack returns r with its Changes, which a record of a [Tail] leaves out until they
// are asked for.
func (r Record) Unpack() Record {
	if r.Changes == nil && r.Reset == nil && r.Disconnect == nil {
		r.Changes, _ = readChanges(r.text) // it could be read when the record came
	}
	return r
}

// ReasonUnreadable is the reason of the reset that takes the place of a record
// which can't be read.
const ReasonUnreadable = "a change in the journal can't be read"

// anyScope matches every scope.
var anyScope = Template{literals: []string{"", ""}, columns: []string{""}}

// Notification is what a trigger sent on the channel pgbell. Any role that may
// connect can send one too, so that it proves nothing.
type Notification struct {
	Table    string
	Hello    string // not empty: a listener finds out whether notifications arrive
	Volatile bool   // it carries all there is to know: Record is set
	Record   Record // of a feed that isn't durable; a Reset is for all of its scopes, and has no Templates
}

var errNotification = errors.New("malformed notification")

// ParseNotification reads a notification's payload. The error names no part of
// it: it may hold anything.
func ParseNotification(payload string) (Notification, error) {
	var wire struct {
		V      int     `json:"v"`
		Hello  string  `json:"hello"`
		Table  string  `json:"table"`
		Op     string  `json:"op"`
		Origin string  `json:"origin"`
		At     string  `json:"at"`
		Reason *string `json:"reason"`
		wireChange
	}
	if err := json.Unmarshal([]byte(payload), &wire); err != nil || wire.V != 1 {
		return Notification{}, errNotification
	}
	n := Notification{Table: wire.Table, Hello: wire.Hello}
	r := Record{Table: wire.Table, Op: bus.Op(wire.Op), Origin: wire.Origin}
	switch {
	case wire.Reason != nil:
		r.Op, r.Reset = bus.OpReset, &Reset{Reason: *wire.Reason}
		n.Volatile, n.Record = true, r
	case wire.Audience.given:
		var err error
		if r.At, err = time.Parse("2006-01-02T15:04:05.999999999", wire.At); err != nil {
			return Notification{}, errNotification
		}
		switch r.Op {
		case bus.OpInsert, bus.OpUpdate, bus.OpDelete:
		default:
			return Notification{}, errNotification
		}
		change, ok := wire.change()
		if !ok {
			return Notification{}, errNotification
		}
		r.Changes = []Change{change}
		n.Volatile, n.Record = true, r
	}
	return n, nil
}
