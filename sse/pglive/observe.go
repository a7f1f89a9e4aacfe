package pglive

import "slices"

// observe has en observe scopes, and no others. There is no moment at which it observes
// neither the former nor these.
func (e *Engine) observe(en *entry, scopes []string) {
	former := en.stop
	en.scopes = scopes
	en.stop = e.bus.Observe(scopes, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.happened(en)
	})
	if former != nil {
		former()
	}
}

// follow has en observe the scopes for what the lookups of a run found. Of one that it didn't
// observe before, what happened since the run's snapshot is unheard: en is to run again.
func (e *Engine) follow(en *entry, o outcome) error {
	if o.query != en.query || en.query.lookups == 0 {
		return nil // it is another by now, and runs again
	}
	scopes, err := en.query.scopesWith(en.values, o.found)
	if err != nil {
		return limitError(err.Error())
	}
	news := func(s string) bool { return !slices.Contains(en.scopes, s) }
	if added := slices.ContainsFunc(scopes, news); added || len(scopes) != len(en.scopes) {
		en.dirty = en.dirty || added && en.narrow
		e.observe(en, scopes)
	}
	en.narrow = true
	return nil
}

// happened notes that the result may be another. The caller holds mu.
func (e *Engine) happened(en *entry) {
	if en.dirty || en.query == nil {
		return
	}
	en.dirty = true
	e.pend(en)
	e.wait(en)
}

// pend notes that what happens from now on may be untold: what was emitted before, is told.
func (e *Engine) pend(en *entry) {
	if !en.state.Pending {
		en.state.Pending, en.state.UpTo = true, e.bus.Position()
	}
}
