package journal

import (
	"iter"
	"slices"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal/scope"
)

// Replay is what a client missed: all that was recorded between its cursor and
// End. It may be shared, and shares its records with others: they must not be
// changed.
type Replay struct {
	Since    Cursor           // of Records, what it covers is no part of the replay
	Records  []*Record        // in order; see [Record.Unpack]
	End      Cursor           // covers them all
	Reset    string           // not empty: what was missed can't be told, for this reason
	Volatile []scope.Template // scopes of feeds that aren't durable: of those it's never known
	Ahead    bool             // End may cover more than was emitted live
}

// Regrouped says whether the groups of a user may be others than when Since was read:
// rows of a whole group may have come into sight, or gone out of it.
func (p *Replay) Regrouped(user string) bool {
	return p.regroups(user, func(r *Record) bool { return !p.Since.Covers(r.Tx) })
}

// Outruns says whether the replay may hold what was committed after a regrouping of a user
// of which the bus has not told yet: who is in which group must be asked for now.
func (p *Replay) Outruns(user string) bool {
	return p.Ahead || p.regroups(user, func(*Record) bool { return true })
}

// regroups says whether a record for which f holds regroups a user.
func (p *Replay) regroups(user string, f func(*Record) bool) bool {
	for _, r := range p.Records {
		if r.Regroup != nil && (r.Regroup.All || slices.Contains(r.Regroup.Users, user)) && f(r) {
			return user != ""
		}
	}
	return false
}

// Events returns what a subscriber to scopes gets of the records, in order: what
// belongs to an audience that allow accepts, and resets for those of scopes that
// they concern. Each has its record's position for a Cursor: whoever got all events
// before it has all that the position covers and Since doesn't.
func (p *Replay) Events(scopes []string, allow func(bus.Audience) bool) iter.Seq[bus.ChangeEvent] {
	wanted := make(map[string]bool, len(scopes))
	hashes := make([]uint64, len(scopes))
	for i, scope := range scopes {
		wanted[scope] = true
		hashes[i] = filterHash(scope)
	}
	return func(yield func(bus.ChangeEvent) bool) {
		for _, r := range p.Records {
			switch {
			case r.Reset == nil && !r.scopes.mayHave(hashes):
			case p.Since.Covers(r.Tx):
			case r.Reset != nil:
				for _, scope := range scopes {
					if r.Reset.Matches(scope) {
						e := r.ResetEvent()
						e.Scope, e.Cursor = scope, r.Position
						if !yield(e) {
							return
						}
					}
				}
			default:
				for _, c := range r.Unpack().Changes {
					if !c.touches(wanted) {
						continue
					}
					for _, e := range r.appendEvents(nil, c) {
						e.Cursor = r.Position
						if wanted[e.Scope] && allow(e.Audience) && !yield(e) {
							return
						}
					}
				}
			}
		}
	}
}
