package main

import (
	"context"
	"log/slog"
	"slices"

	"github.com/pgbell/pgbell/bus"
)

// tailUser is the user of tail --as, in the groups of now.
type tailUser struct {
	*asGroups
	ctx    context.Context
	bus    *bus.Bus
	asked  uint64 // the bus's Regroups when they were asked for
	groups []string
	warned bool
	log    *slog.Logger
}

// stale says whether the groups must be asked for again before a change is shown: of
// whomever they changed, which the bus is told before anything that was read with it.
func (u *tailUser) stale() bool { return u.authorizer != nil && u.asked < u.bus.Regroups() }

// look asks for the groups, and says whether they are others.
func (u *tailUser) look() (changed bool, err error) {
	asked := u.bus.Regroups()
	groups, err := u.asGroups.ask(u.ctx)
	if err != nil {
		return false, err
	}
	changed = !slices.Equal(groups, u.groups)
	u.groups, u.asked = groups, asked
	return changed, nil
}

// sees is the audience rule for the user.
func (u *tailUser) sees(a bus.Audience) bool {
	sees := a.Allows(u.user, u.groups...)
	if !sees && !u.known && !u.warned && len(a.Groups()) > 0 {
		u.warned = true
		u.log.Warn(u.unknown())
	}
	return sees
}
