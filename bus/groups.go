package bus

import (
	"cmp"
	"slices"
	"strings"
)

// team is a group of users as the bus knows it while one of them subscribes: who does.
// A member takes little room: a user may be in a thousand.
type team struct {
	name string
	subs []*Subscription
	lent bool // subs has been lent since it was last copied
}

// lend returns the team's present members, to be read without the lock.
func (t *team) lend() []*Subscription {
	t.lent = true
	return t.subs
}

// remove takes out the subscription at i, and puts the last one into its place.
func (t *team) remove(i int) {
	last := len(t.subs) - 1
	if t.lent || cap(t.subs) >= minShrink && last < cap(t.subs)/4 {
		t.subs, t.lent = slices.Clone(t.subs), false
	}
	moved := t.subs[last]
	t.subs[i], t.subs[last] = moved, nil
	t.subs = t.subs[:last]
	if i < last {
		at, _ := find(*moved.teams.Load(), t.name)
		moved.places[at] = uint32(i)
	}
}

// find returns where the team of a name is, or would be.
func find(teams []*team, name string) (at int, ok bool) {
	return slices.BinarySearchFunc(teams, name, func(t *team, name string) int { return cmp.Compare(t.name, name) })
}

// setGroups puts s into the teams of groups and takes it out of all others. The caller
// holds mu.
func (b *Bus) setGroups(s *Subscription, groups []string) {
	if teams := s.teams.Load(); teams != nil {
		for i, t := range *teams {
			if t.remove(int(s.places[i])); len(t.subs) == 0 {
				b.teams.remove(t.name)
			}
		}
		s.teams.Store(nil)
		s.places = nil
		b.grouped--
	}
	names := set(groups)
	if len(names) == 0 {
		return
	}
	teams := make([]*team, 0, len(names))
	s.places = make([]uint32, 0, len(names))
	for _, name := range names {
		t := b.teams.m[name]
		if t == nil {
			t = &team{name: strings.Clone(name)} // it may be part of something large
			b.teams.put(name, t)
		}
		s.places = append(s.places, uint32(len(t.subs)))
		t.subs = append(t.subs, s)
		teams = append(teams, t)
	}
	s.teams.Store(&teams)
	b.grouped++
}

// SetGroups says which groups the user is in from now on. Of an event that is emitted
// meanwhile it is not certain by which of them it is queued: the reader looks with Sees
// before it shows an event, and after a change takes each scope for one that was reset.
// The slice is not kept. It does nothing for an anonymous subscription, nor for one that
// has ended.
func (s *Subscription) SetGroups(groups []string) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if s.userID() != "" && !s.closed.Load() {
		s.bus.setGroups(s, groups)
	}
}

// Groups returns the names of the groups that the user is in, sorted. The slice is the
// caller's.
func (s *Subscription) Groups() []string {
	teams := s.teams.Load()
	if teams == nil {
		return nil
	}
	names := make([]string, len(*teams))
	for i, t := range *teams {
		names[i] = t.name
	}
	return names
}

// InGroups says whether groups, in any order, are those that the user is in.
func (s *Subscription) InGroups(groups []string) bool {
	var teams []*team
	if p := s.teams.Load(); p != nil {
		teams = *p
	}
	if len(groups) < len(teams) {
		return false
	}
	return slices.EqualFunc(teams, set(groups), func(t *team, name string) bool { return t.name == name })
}

// Sees is the audience rule for the user by the groups of now.
func (s *Subscription) Sees(a Audience) bool {
	if !a.only {
		return true
	}
	return a.allows(s.userID(), s.inAny)
}

// inAny says whether the user is in one of some groups, of which there may be as many as an
// array has elements.
func (s *Subscription) inAny(sorted []string) bool {
	var teams []*team
	if p := s.teams.Load(); p != nil {
		teams = *p
	}
	if len(teams) < len(sorted) {
		return slices.ContainsFunc(teams, func(t *team) bool { return contains(sorted, t.name) })
	}
	return slices.ContainsFunc(sorted, func(name string) bool {
		_, in := find(teams, name)
		return in
	})
}

// emitToGroups delivers e to the subscriptions of its scope whose users the audience
// names or whose groups it does: found by these, or among all of the scope if those are
// fewer.
func (b *Bus) emitToGroups(e ChangeEvent) {
	a := e.Audience
	var (
		sc      *scope
		teams   [][]*Subscription
		members int
		all     []slot
	)
	for some := range slices.Chunk(a.more.groups, 256) { // so that mu is not held for long
		b.mu.Lock()
		for _, name := range some {
			if t := b.teams.m[name]; t != nil {
				teams = append(teams, t.lend())
				members += len(t.subs)
			}
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	if sc = b.scopes.m[e.Scope]; sc != nil && members+len(a.users) > 0 {
		all = sc.lend()
	}
	b.mu.Unlock()
	if len(all) == 0 {
		return
	}
	d := &Delivery{Event: e}
	delivered, drops := 0, 0
	var given map[*Subscription]bool // where one may be found twice
	give := func(s *Subscription) {
		if !s.Sees(a) || given[s] {
			return
		}
		if given != nil {
			given[s] = true
		}
		if delivered++; !s.push(d) {
			drops++
		}
	}
	if members+len(a.users) >= len(all) {
		for _, sl := range all {
			give(sl.sub)
		}
	} else {
		if len(teams)+len(a.users) > 1 {
			given = make(map[*Subscription]bool)
		}
		for _, s := range slices.Concat(teams...) {
			if s.has(e.Scope) {
				give(s)
			}
		}
		for _, u := range a.users {
			for _, sl := range b.onScope(e.Scope, u) {
				give(sl.sub)
			}
		}
	}
	b.delivered.Add(uint64(delivered))
	b.dropped(sc, &d.Event, drops)
}

// onScope returns the present subscriptions of a user to a scope.
func (b *Bus) onScope(scope, user string) []slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.scopeUsers.m[scopeUser{scope, user}]; g != nil {
		return g.lend()
	}
	return nil
}

func (s *Subscription) has(scope string) bool {
	return slices.ContainsFunc(s.regs, func(r registration) bool { return r.scope == scope })
}
