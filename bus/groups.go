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
	return a.allows(s.userID(), s.isIn)
}

func (s *Subscription) isIn(group string) bool {
	teams := s.teams.Load()
	if teams == nil {
		return false
	}
	_, in := find(*teams, group)
	return in
}

// emitToGroups delivers e to the subscriptions of its scope whose users the audience
// names or whose groups it does.
func (b *Bus) emitToGroups(e ChangeEvent) {
	a := e.Audience
	var (
		names   []string // of teams
		teams   [][]*Subscription
		members int
		all     []slot
	)
	b.mu.Lock()
	sc := b.scopes.m[e.Scope]
	if sc != nil {
		for _, name := range a.more.groups {
			if t := b.teams.m[name]; t != nil {
				names, teams = append(names, name), append(teams, t.lend())
				members += len(t.subs)
			}
		}
		if len(teams) > 0 || len(a.users) > 0 {
			all = sc.lend()
		}
	}
	b.mu.Unlock()
	if len(all) == 0 {
		return
	}
	d := &Delivery{Event: e}
	delivered, drops := 0, 0
	give := func(s *Subscription) {
		delivered++
		if !s.push(d) {
			drops++
		}
	}
	if members+len(a.users) >= len(all) {
		for _, sl := range all {
			if sl.sub.Sees(a) {
				give(sl.sub)
			}
		}
	} else {
		for i, subs := range teams {
			for _, s := range subs {
				if s.has(e.Scope) && s.Sees(a) && !slices.ContainsFunc(names[:i], s.isIn) {
					give(s)
				}
			}
		}
		for _, u := range a.users {
			b.mu.Lock()
			var of []slot
			if g := b.scopeUsers.m[scopeUser{e.Scope, u}]; g != nil {
				of = g.lend()
			}
			b.mu.Unlock()
			for _, sl := range of {
				if sl.sub.Sees(a) && !slices.ContainsFunc(names, sl.sub.isIn) {
					give(sl.sub)
				}
			}
		}
	}
	b.delivered.Add(uint64(delivered))
	b.dropped(sc, &d.Event, drops)
}

func (s *Subscription) has(scope string) bool {
	return slices.ContainsFunc(s.regs, func(r registration) bool { return r.scope == scope })
}
