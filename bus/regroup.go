package bus

import "sync/atomic"

// Regroup says that the groups of users are others, or were for a while: a change to them
// was committed. Their subscriptions are stale before it returns, and have been regrouped.
// Whoever emits, calls it before what was committed later. It wakes the readers.
func (b *Bus) Regroup(users ...string) {
	n := b.regroups.Add(1)
	for _, u := range users {
		b.mu.Lock()
		var of []slot
		if g := b.users.m[u]; g != nil {
			of = g.lend()
		}
		b.mu.Unlock()
		staleSince(of, n, true)
	}
}

// RegroupAll is Regroup for all users.
func (b *Bus) RegroupAll() { b.staleAll(true) }

// SetStale makes the groups of all users stale: somebody may be regrouped, and nobody
// knows who. It wakes the readers.
func (b *Bus) SetStale() { b.staleAll(false) }

func (b *Bus) staleAll(regrouped bool) {
	n := b.regroups.Add(1)
	b.mu.Lock()
	all := b.all.lend()
	b.mu.Unlock()
	staleSince(all, n, regrouped)
}

func staleSince(of []slot, n uint64, regrouped bool) {
	for _, sl := range of {
		if s := sl.sub; s.userID() != "" {
			if regrouped {
				raise(&s.regrouped, n) // first: who finds it stale finds this, too
			}
			raise(&s.stale, n)
			s.signal()
		}
	}
}

// raise sets a to n, unless it is more.
func raise(a *atomic.Uint64, n uint64) {
	for {
		before := a.Load()
		if before >= n || a.CompareAndSwap(before, n) {
			return
		}
	}
}

// SetStale makes the groups of this one subscription stale, for a reader that is about to
// show what it may know of before the bus does.
func (s *Subscription) SetStale() { raise(&s.stale, s.bus.regroups.Add(1)) }

// Regrouped returns which call of Regroup or RegroupAll concerned the user last, 0 if none
// did since the subscription began. That the groups come out the same tells nothing: they
// may have been others in between, or have been asked for when the change was committed
// and not yet told.
func (s *Subscription) Regrouped() uint64 { return s.regrouped.Load() }

// Regroups counts the calls of Regroup, RegroupAll and SetStale: a question who is in which
// group that begins when it returns n knows of the first n of them.
func (b *Bus) Regroups() uint64 { return b.regroups.Load() }

// Stale returns up to which of these calls the groups of the user must be known, to be
// compared with what [Bus.Regroups] returned before they were asked for. It is as many as
// there were when the subscription began, or later ones that concern the user. A reader
// looks after it has taken an event: that of a call which came before the event shows then.
func (s *Subscription) Stale() uint64 { return s.stale.Load() }
