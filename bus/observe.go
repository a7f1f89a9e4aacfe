package bus

import "slices"

// observer is called for the events of some scopes.
type observer struct{ f func() }

// Observe has f called for each event and each reset of scopes from now on, whatever its
// audience: f is told that there was one, and nothing of it. It is called by the goroutine that
// emits, before any subscription gets the event, hence before the bus's position covers it, and
// without a lock. It must neither block nor panic. Duplicates among scopes collapse. stop ends
// it; f may still be under way then.
func (b *Bus) Observe(scopes []string, f func()) (stop func()) {
	o := &observer{f}
	scopes = set(scopes)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range scopes {
		b.observed.put(name, append(slices.Clip(b.observed.m[name]), o)) // a copy: see observers
	}
	b.observing.Add(int64(len(scopes)))
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, name := range scopes {
			left := slices.DeleteFunc(slices.Clone(b.observed.m[name]), func(other *observer) bool { return other == o })
			if len(left) == 0 {
				b.observed.remove(name)
			} else {
				b.observed.put(name, left)
			}
		}
		b.observing.Add(-int64(len(scopes)))
		scopes = nil // a second call does nothing
	}
}

// observers are those of a scope now. The slice is never written to again.
func (b *Bus) observers(scope string) []*observer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.observed.m[scope]
}

// tell calls the observers of a scope.
func (b *Bus) tell(scope string) {
	if b.observing.Load() == 0 {
		return
	}
	for _, o := range b.observers(scope) {
		o.f()
	}
}

// tellAll calls the observers of each scope for which match holds, nil for all.
func (b *Bus) tellAll(match func(scope string) bool) {
	if b.observing.Load() == 0 {
		return
	}
	b.mu.Lock()
	names := make([]string, 0, len(b.observed.m))
	for name := range b.observed.m {
		names = append(names, name)
	}
	b.mu.Unlock()
	for _, name := range names {
		if match == nil || match(name) {
			b.tell(name)
		}
	}
}
