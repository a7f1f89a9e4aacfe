package leaks

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/sse"
)

// answered returns a seam that answers who is in which groups, knowing the true answer.
func answered(f func(ctx context.Context, id sse.Identity, real sse.GroupsFunc) ([]string, error)) seams {
	return seams{groups: func(real sse.GroupsFunc) sse.GroupsFunc {
		return func(ctx context.Context, id sse.Identity) ([]string, error) { return f(ctx, id, real) }
	}}
}

// first returns a seam that keeps the first answer of each user for ever.
func first() seams {
	var mu sync.Mutex
	known := map[string][]string{}
	return answered(func(ctx context.Context, id sse.Identity, real sse.GroupsFunc) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		if groups, ok := known[id.UserID]; ok {
			return groups, nil
		}
		groups, err := real(ctx, id)
		known[id.UserID] = groups
		return groups, err
	})
}

// released returns seams that send what groups may hear to those who were in them at the
// last barrier, as if streams were not held until there is another answer.
func released() seams {
	var mu sync.Mutex
	known, newest := map[string][]string{}, map[string][]string{}
	s := answered(func(ctx context.Context, id sse.Identity, real sse.GroupsFunc) ([]string, error) {
		groups, err := real(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		newest[id.UserID] = groups
		return groups, err
	})
	s.record = func(b *bus.Bus, r journal.Record) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range r.Changes {
			if fence(c.Scopes) {
				maps.Copy(known, newest)
				continue
			}
			for user, groups := range known {
				if slices.ContainsFunc(c.Audience.Groups(), func(g string) bool { return slices.Contains(groups, g) }) {
					for _, scope := range c.Scopes {
						b.Emit(bus.ChangeEvent{Scope: scope, Op: r.Op, Table: r.Table, Key: c.Key, Data: c.Data, Audience: bus.Only(user)})
					}
				}
			}
		}
	}
	return s
}

// forged believes the header that each client sends for itself.
func forged() seams {
	s := answered(func(ctx context.Context, id sse.Identity, real sse.GroupsFunc) ([]string, error) {
		groups, err := real(ctx, id)
		return append(groups, id.Groups...), err
	})
	s.authenticate = func(sse.AuthenticateFunc) sse.AuthenticateFunc {
		return sse.HeaderGroups("X-Forwarded-User", "X-Forwarded-Groups", anyone)
	}
	return s
}

// teamOf returns the audience of the users and groups that f makes of those of a.
func teamOf(a bus.Audience, f func(a bus.Audience) (users, groups []string)) bus.Audience {
	if a.Everyone() {
		return a
	}
	return bus.Named(f(a))
}

// groupMutants break who is in which group, and when that is known.
var groupMutants = []mutant{
	{"groups", "BYTES", first()},
	{"a group is released too early", "BYTES", released()},
	{"a header from a stranger", "BYTES", forged()},
	{"groups of a user of another case", "BYTES", answered(func(ctx context.Context, id sse.Identity, real sse.GroupsFunc) ([]string, error) {
		id.UserID = strings.ToLower(id.UserID)
		return real(ctx, id)
	})},
	{"a user is in the group of that name", "BYTES", answered(func(ctx context.Context, id sse.Identity, real sse.GroupsFunc) ([]string, error) {
		groups, err := real(ctx, id)
		return append(groups, id.UserID), err
	})},
	{"one group alone", "LOST", answered(func(ctx context.Context, id sse.Identity, real sse.GroupsFunc) ([]string, error) {
		groups, err := real(ctx, id)
		return groups[:min(1, len(groups))], err
	})},
	{"an insert into members regroups nobody", "LOST", edited("members", "pgbell.short(n.user_id)", "null", "pgbell.short(new.user_id)", "null")},
	{"an update of members regroups the new user alone", "LOST", editedMembers("update()", "pgbell.short(o.user_id)", "pgbell.short(n.user_id)")},
	{"a deletion from members regroups nobody", "LOST", editedMembers("delete()", "pgbell.short(o.user_id)", "null")},
	{"a TRUNCATE of members regroups nobody", "LOST", editedMembers("truncate()", "perform pgbell.record_reset", "-- ")},
	{"pgbell.regroup of another user", "LOST", seams{regroup: strings.ToUpper}},
	{"pgbell.regroup of nobody", "LOST", seams{regroup: func(string) string { return "" }}},
	{"a replay knows of no regrouping", "LOST", seams{replay: func(real sse.ReplayFunc) sse.ReplayFunc {
		return func(ctx context.Context, since journal.Cursor) (*journal.Replay, error) {
			r, err := real(ctx, since)
			if err != nil {
				return r, err
			}
			blind := *r
			blind.Records = nil // they are the tail's
			for _, record := range r.Records {
				other := *record
				other.Regroup = nil
				blind.Records = append(blind.Records, &other)
			}
			return &blind, nil
		}
	}}},
}

// teamMutants break whom a group's name in an audience means.
var teamMutants = []mutant{
	{"the old side is the new team's", "LOST", altered(func(_ journal.Record, c *journal.Change) {
		if c.Old != nil {
			c.Old.Audience = teamOf(c.Old.Audience, func(a bus.Audience) (u, g []string) { return a.Users(), c.Audience.Groups() })
		}
	})},
	{"the new side is the old team's", "BYTES", altered(func(_ journal.Record, c *journal.Change) {
		if c.Old != nil {
			c.Audience = teamOf(c.Audience, func(a bus.Audience) (u, g []string) {
				return a.Users(), append(a.Groups(), c.Old.Audience.Groups()...)
			})
		}
	})},
	{"the old team is not told", "LOST", altered(func(_ journal.Record, c *journal.Change) {
		if c.Old != nil {
			c.Old.Audience = teamOf(c.Old.Audience, func(a bus.Audience) (u, g []string) { return a.Users(), nil })
		}
	})},
	{"who may see both sides is told that it moved", "DUE", emitted(func(r journal.Record, c journal.Change) (events []bus.ChangeEvent) {
		if c.Old != nil && len(c.Old.Audience.Groups()) > 0 {
			for _, scope := range c.Old.Scopes {
				events = append(events, bus.ChangeEvent{Scope: scope, Op: r.Op, Moved: bus.MovedOut, Table: r.Table, Key: c.Old.Key,
					Origin: r.Origin, Audience: c.Old.Audience.Intersect(c.Audience)})
			}
		}
		return events
	})},
	{"a group's name is a user's", "BYTES", altered(func(_ journal.Record, c *journal.Change) {
		c.Audience = teamOf(c.Audience, func(a bus.Audience) (u, g []string) { return append(a.Users(), a.Groups()...), a.Groups() })
	})},
	{"a user's id is a group's name", "BYTES", altered(func(_ journal.Record, c *journal.Change) {
		c.Audience = teamOf(c.Audience, func(a bus.Audience) (u, g []string) { return a.Users(), append(a.Groups(), a.Users()...) })
	})},
	{"a row of a team is everyone's", "BYTES", altered(func(_ journal.Record, c *journal.Change) {
		if len(c.Audience.Groups()) > 0 {
			c.Audience = bus.Audience{}
		}
	})},
	{"of an array of teams the first alone", "LOST", altered(func(_ journal.Record, c *journal.Change) {
		c.Audience = teamOf(c.Audience, func(a bus.Audience) (u, g []string) { return a.Users(), a.Groups()[:min(1, len(a.Groups()))] })
	})},
	{"group:x in a publish is a user", "LOST", altered(func(r journal.Record, c *journal.Change) {
		if r.Op == bus.OpPublish {
			c.Audience = teamOf(c.Audience, func(a bus.Audience) (u, g []string) { return append(a.Users(), a.Groups()...), nil })
		}
	})},
	{"a replay is every group's", "BYTES", replayed(func(c *journal.Change) bool {
		if len(c.Audience.Groups()) > 0 {
			c.Audience = bus.Audience{}
		}
		return true
	})},
}
