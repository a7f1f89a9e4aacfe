package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal/scope"
)

// The reasons of the resets that take the place of changes.
const (
	ReasonUnreadable = "a change in the journal can't be read"
	ReasonOrder      = "order not certain"
	ReasonTooMany    = "a row has too many owners to look at"
)

// decode fills in what the columns op, definition and facts of a journal row say. What
// can't be read becomes a reset for all scopes of its table, or for all there are where
// even that isn't known: one bad record must not keep all later ones from everybody.
func (r *Record) decode(defs *Definitions, op string, definition int32, facts string) error {
	r.spec = defs.get(definition)
	switch op {
	case "insert", "update", "delete":
		r.Op = bus.Op(op)
		if r.spec == nil {
			break
		}
		var room [64]fact
		values, ok := readFacts(room[:0], facts)
		if !ok {
			break
		}
		changes, tooMany, ok := r.spec.changes(r.Op, values)
		r.Regroup = r.spec.regrouped(r.Op, values)
		switch {
		case tooMany:
			r.reset(ReasonTooMany, r.spec.templates...)
			return nil
		case ok:
			r.facts, r.Changes, r.scopes = facts, changes, newFilter(changes)
			return nil
		}
	case "reset":
		reason, ok := oneFact(facts)
		if ok && r.spec != nil {
			r.reset(string(reason), r.spec.templates...)
			return nil
		}
	case "publish":
		text, ok := oneFact(facts)
		if change, readable := published(text); ok && readable {
			r.Op, r.Changes = bus.OpPublish, []Change{change}
			r.scopes = newFilter(r.Changes)
			return nil
		}
		if own, err := scope.Parse(publishedTo(text)); err == nil && !scope.Reserved(own.Literals()[0]) {
			r.reset(ReasonUnreadable, own)
			return nil
		}
	case "attach", "detach":
		r.Attach = true
		if r.attached(defs, definition, facts) {
			return nil
		}
	case "disconnect":
		var wire struct{ User, Scope string }
		text, _ := oneFact(facts)
		if json.Unmarshal(text, &wire) == nil && wire.User != "" {
			r.Disconnect = &Disconnect{wire.User, wire.Scope}
			return nil
		}
	case "regroup":
		var wire struct{ User string }
		text, _ := oneFact(facts)
		if json.Unmarshal(text, &wire) == nil && wire.User != "" {
			r.Regroup = &Regroup{Users: []string{wire.User}}
			return nil
		}
	default:
		return fmt.Errorf("journal record at %X/%X: unknown op %q: the schema is newer than this pgbell, upgrade it", r.LSN>>32, uint32(r.LSN), op)
	}
	if r.spec != nil {
		r.reset(ReasonUnreadable, r.spec.templates...)
	} else {
		r.reset(ReasonUnreadable, scope.Any())
		r.Regroup = &Regroup{All: true}
	}
	return nil
}

// reset makes r a reset. Where rows say who is in which group, that may be another, too.
func (r *Record) reset(reason string, templates ...scope.Template) {
	r.Op, r.Reset = bus.OpReset, &Reset{Templates: templates, Reason: reason}
	if r.spec != nil && r.spec.regroup >= 0 {
		r.Regroup = &Regroup{All: true}
	}
}

// attached reads a record of attach or detach: which scopes get a reset by it, and what
// the facts mean that are recorded from now on.
func (r *Record) attached(defs *Definitions, definition int32, facts string) bool {
	texts, ok := readFacts(nil, facts)
	if !ok || len(texts) == 0 {
		return false
	}
	var wire struct {
		Templates []string
		Reason    string
		Regroup   bool
	}
	if json.Unmarshal([]byte(texts[0].text), &wire) != nil {
		return false
	}
	templates, err := scope.ParseAll(wire.Templates)
	if err != nil || len(texts) > 1 && defs.learn(definition, []byte(texts[1].text)) != nil {
		return false
	}
	r.reset(wire.Reason, templates...)
	if !wire.Regroup {
		r.Regroup = nil // it says all that there was before
	}
	return true
}

// published reads what pgbell.publish recorded. An audience that is not there at all is
// nobody: a change that doesn't say whom it is for is for nobody.
func published(text []byte) (c Change, ok bool) {
	var wire struct {
		Scope    string
		Audience json.RawMessage
		Data     json.RawMessage
	}
	if json.Unmarshal(text, &wire) != nil || wire.Scope == "" {
		return c, false
	}
	c = Change{Side: Side{Scopes: []string{wire.Scope}, Audience: bus.Only()}, Data: orNil(wire.Data)}
	if wire.Audience != nil && utf8.Valid(wire.Audience) { // else ids that differ would become the same one
		ok = json.Unmarshal(wire.Audience, &c.Audience) == nil
		return c, ok
	}
	return c, true
}

// publishedTo returns the scope to which pgbell.publish sent what can't be read: data that is
// nested too deeply, say. It stands in front.
func publishedTo(text []byte) (name string) {
	d := json.NewDecoder(bytes.NewReader(text))
	for _, want := range []json.Token{json.Delim('{'), "scope"} {
		if token, err := d.Token(); err != nil || token != want {
			return ""
		}
	}
	if token, err := d.Token(); err == nil {
		name, _ = token.(string) // null is no scope
	}
	return name
}

func orNil(raw json.RawMessage) json.RawMessage {
	if bytes.Equal(raw, []byte("null")) {
		return nil
	}
	return raw
}

// packed returns a copy of r without its Changes, where they can be made again of its facts: that
// takes a third of the memory, and the garbage collector hardly looks at it.
func (r *Record) packed() *Record {
	packed := *r
	if r.facts != "" {
		packed.Changes = nil
	}
	return &packed
}

// Unpack returns r with its Changes, which a record of a [Tail] leaves out until they
// are asked for.
func (r *Record) Unpack() *Record {
	if r.Changes != nil || r.facts == "" {
		return r
	}
	unpacked := *r
	values, _ := readFacts(nil, r.facts) // they could be read when the record came
	unpacked.Changes, _, _ = r.spec.changes(r.Op, values)
	return &unpacked
}
