package bus

// Options are what a subscription says of itself. The zero value is an anonymous
// subscription that shows in no Presence.
type Options struct {
	// Connection says who subscribes. Nil is anonymous. It is copied.
	Connection *Connection

	// Groups are those that the user is in; an anonymous one is in none. See
	// [Subscription.SetGroups]. The slice is not kept.
	Groups []string

	// OnDisconnect, if set, is called exactly once for each scope of the
	// subscription when that ends, whichever way: by the goroutine that ended it,
	// without a lock, after Presence no longer lists it. c is the zero value if
	// there was no Connection. A panic is logged and goes no further.
	OnDisconnect func(scope string, c Connection)

	// Wake, if set, takes the place of the channel that Subscription.Wake returns,
	// for a reader that waits at something else. It is called after something was
	// queued that the reader may not look for, and after the subscription ended; by
	// the goroutine that did it, without a lock. It must neither block nor panic.
	Wake func()
}

// Subscribe returns a subscription to scopes; duplicates among them collapse. It
// is registered with all of them before Subscribe returns: an Emit that begins
// later reaches it. The caller must Close it.
func (b *Bus) Subscribe(scopes []string, opts Options) *Subscription {
	s := &Subscription{
		bus:          b,
		call:         opts.Wake,
		regs:         make([]registration, 0, len(scopes)),
		onDisconnect: opts.OnDisconnect,
	}
	if s.call == nil {
		s.wake = make(chan struct{}, 1)
	}
	if opts.Connection != nil {
		c := *opts.Connection
		s.conn = &c
	}
	seen := make(map[string]bool)
	for _, name := range scopes {
		if !seen[name] {
			seen[name] = true
			s.regs = append(s.regs, registration{scope: name})
		}
	}
	b.add(s, opts.Groups)
	return s
}

// add registers s, all its scopes at once.
func (b *Bus) add(s *Subscription, groups []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// Read before s can receive: never newer than the first event it gets.
	s.start = b.Position()
	s.stale.Store(b.regroups.Load())
	b.all.add(s, &s.inAll)
	b.registrations += len(s.regs)
	user := s.userID()
	if user != "" {
		join(&b.users, user, s, &s.inUser)
		b.setGroups(s, groups)
	}
	for i := range s.regs {
		r := &s.regs[i]
		sc := b.scopes.m[r.scope]
		if sc == nil {
			sc = new(scope)
			b.scopes.put(r.scope, sc)
		}
		sc.add(s, &r.inScope)
		if user != "" {
			join(&b.scopeUsers, scopeUser{r.scope, user}, s, &r.inUser)
		}
	}
}

// remove undoes add. The last subscriber of a scope takes with it all that the bus
// knew of the scope.
func (b *Bus) remove(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all.remove(s.inAll)
	b.registrations -= len(s.regs)
	user := s.userID()
	if user != "" {
		leave(&b.users, user, s.inUser)
		b.setGroups(s, nil)
	}
	for i := range s.regs {
		r := &s.regs[i]
		sc := b.scopes.m[r.scope]
		sc.remove(r.inScope)
		if len(sc.slots) == 0 {
			b.scopes.remove(r.scope)
		}
		if user != "" {
			leave(&b.scopeUsers, scopeUser{r.scope, user}, r.inUser)
		}
	}
}

func join[K comparable](x *index[K, *group], k K, s *Subscription, at *int) {
	g := x.m[k]
	if g == nil {
		g = new(group)
		x.put(k, g)
	}
	g.add(s, at)
}

func leave[K comparable](x *index[K, *group], k K, at int) {
	g := x.m[k]
	g.remove(at)
	if len(g.slots) == 0 {
		x.remove(k)
	}
}

// members returns the present subscribers of scope.
func (b *Bus) members(scope string) []slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	if sc := b.scopes.m[scope]; sc != nil {
		return sc.lend()
	}
	return nil
}

// Close ends every subscription that has scope among its scopes: the whole
// subscription, with its other scopes too, since a reader has only one end to see.
// What is queued can still be read, then Next returns ErrClosed. The scope may be
// subscribed to again at once.
func (b *Bus) Close(scope string) { end(b.members(scope)) }

// CloseAll ends every subscription, as Close does. The bus stays usable.
func (b *Bus) CloseAll() {
	b.mu.Lock()
	all := b.all.lend()
	b.mu.Unlock()
	end(all)
}

// CloseUser ends the subscriptions of userID, as Close does, and returns how many
// it ended. With scopes, only those that have at least one of them; without, all.
// The empty id is not a user: it ends none.
func (b *Bus) CloseUser(userID string, scopes ...string) int {
	var closing []slot
	b.mu.Lock()
	if len(scopes) == 0 {
		if g := b.users.m[userID]; g != nil {
			closing = g.lend()
		}
	}
	for _, name := range scopes {
		if g := b.scopeUsers.m[scopeUser{name, userID}]; g != nil {
			closing = append(closing, g.slots...)
		}
	}
	b.mu.Unlock()
	return end(closing)
}

// end ends the subscriptions that have not ended yet and returns how many those
// were. All have ended before the first hook runs, so a slow hook delays none.
func end(subs []slot) int {
	var ended []*Subscription
	for _, sl := range subs {
		if sl.sub.end() {
			ended = append(ended, sl.sub)
		}
	}
	for _, s := range ended {
		s.disconnected()
	}
	return len(ended)
}
