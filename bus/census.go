package bus

// Census is who is subscribed to what at a moment.
type Census struct {
	Users     int            // with at least one subscription
	Anonymous int            // subscriptions without a user
	Scopes    map[string]int // subscriptions to each scope that has any
}

// Census returns the present subscriptions, counted. The map is the caller's. It
// holds up whoever emits or subscribes while it copies, about 0.1 ms for each
// thousand scopes: not for every request.
func (b *Bus) Census() Census {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := Census{Users: len(b.users.m), Anonymous: len(b.all.slots), Scopes: make(map[string]int, len(b.scopes.m))}
	for _, g := range b.users.m {
		c.Anonymous -= len(g.slots)
	}
	for name, sc := range b.scopes.m {
		c.Scopes[name] = len(sc.slots)
	}
	return c
}
