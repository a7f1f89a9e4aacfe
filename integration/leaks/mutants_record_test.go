package leaks

import (
	"encoding/json"
	"slices"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// altered returns a seam that applies f to each change before it is emitted.
func altered(f func(r journal.Record, c *journal.Change)) seams {
	return seams{record: func(_ *bus.Bus, r journal.Record) {
		for i := range r.Changes {
			if !fence(r.Changes[i].Scopes) {
				f(r, &r.Changes[i])
			}
		}
	}}
}

// fence says whether scopes are those of a barrier, which a mutant must let pass.
func fence(scopes []string) bool {
	return slices.Contains(scopes, "sync") || slices.Contains(scopes, "fence")
}

// emitted returns a seam that emits more on the bus, for each change.
func emitted(f func(r journal.Record, c journal.Change) []bus.ChangeEvent) seams {
	return seams{record: func(b *bus.Bus, r journal.Record) {
		for _, c := range r.Changes {
			if !fence(c.Scopes) {
				for _, e := range f(r, c) {
					b.Emit(e)
				}
			}
		}
	}}
}

func union(a, b bus.Audience) bus.Audience {
	if a.Everyone() || b.Everyone() {
		return bus.Audience{}
	}
	return bus.Only(append(a.Users(), b.Users()...)...)
}

// recordMutants break what is made of a record of the journal.
var recordMutants = []mutant{
	{"live", "BYTES", altered(func(_ journal.Record, c *journal.Change) { c.Audience = bus.Audience{} })},
	{"the old owner gets the update with its payload", "BYTES", altered(func(_ journal.Record, c *journal.Change) {
		if c.Old != nil {
			c.Audience = union(c.Audience, c.Old.Audience)
			c.Old = nil
		}
	})},
	{"the new owner gets the old key", "BYTES", altered(func(_ journal.Record, c *journal.Change) {
		if c.Old != nil {
			c.Old.Audience = union(c.Old.Audience, c.Audience)
		}
	})},
	{"moved out with the new key", "DUE", altered(func(_ journal.Record, c *journal.Change) {
		if c.Old != nil {
			c.Old.Key = c.Key
		}
	})},
	{"moved out with the payload", "BYTES", emitted(func(r journal.Record, c journal.Change) (events []bus.ChangeEvent) {
		if c.Old != nil {
			for _, scope := range c.Old.Scopes {
				events = append(events, bus.ChangeEvent{Scope: scope, Op: r.Op, Moved: bus.MovedOut, Table: r.Table, Key: c.Old.Key, Data: c.Data, Audience: c.Old.Audience})
			}
		}
		return events
	})},
	{"moved out with the columns", "DUE", emitted(func(r journal.Record, c journal.Change) (events []bus.ChangeEvent) {
		if c.Old != nil {
			for _, scope := range c.Old.Scopes {
				events = append(events, bus.ChangeEvent{Scope: scope, Op: r.Op, Moved: bus.MovedOut, Table: r.Table, Key: c.Old.Key, Changed: c.Changed, Audience: c.Old.Audience})
			}
		}
		return events
	})},
}

// moreMutants are more of them: groups run side by side.
var moreMutants = []mutant{
	{"a deletion goes to everyone", "BYTES", altered(func(r journal.Record, c *journal.Change) {
		if r.Op == bus.OpDelete {
			c.Audience = bus.Audience{}
		}
	})},
	{"a row without owner is everyone's", "BYTES", altered(func(_ journal.Record, c *journal.Change) {
		if !c.Audience.Everyone() && len(c.Audience.Users()) == 0 {
			c.Audience = bus.Audience{}
		}
	})},
	{"a publish for some goes to everyone", "BYTES", altered(func(r journal.Record, c *journal.Change) {
		if r.Op == bus.OpPublish {
			c.Audience = bus.Audience{}
		}
	})},
	{"a scope of the row as it was gets what it is", "DUE", altered(func(_ journal.Record, c *journal.Change) {
		if c.Old != nil {
			c.Scopes = append(slices.Clone(c.Scopes), c.Old.Scopes...)
		}
	})},
	{"a reset says of which row", "RESET", emitted(func(r journal.Record, c journal.Change) (events []bus.ChangeEvent) {
		for _, scope := range c.Scopes {
			events = append(events, bus.ChangeEvent{Scope: scope, Op: bus.OpReset, Reason: "row " + string(c.Key)})
		}
		return events
	})},
	{"moved out with the scopes that it has now", "DUE", altered(func(_ journal.Record, c *journal.Change) {
		if c.Old != nil && len(c.Changed) > 0 {
			c.Old.Key = json.RawMessage(`{"id":` + asJSON(c.Scopes) + `}`)
		}
	})},
	{"who loses a row is not told", "LOST", altered(func(_ journal.Record, c *journal.Change) { c.Old = nil })},
	{"members are not told", "LOST", altered(func(_ journal.Record, c *journal.Change) {
		if users := c.Audience.Users(); len(users) > 1 {
			c.Audience = bus.Only(users[0])
		}
	})},
	{"nothing is told", "LOST", altered(func(_ journal.Record, c *journal.Change) { c.Audience = bus.Only() })},
}
