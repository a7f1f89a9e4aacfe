package pglive

import "github.com/pgbell/pgbell/journal"

// rebind goes on with what the catalog says now: entries run again by it, or wait until they
// can, or end.
func (e *Engine) rebind(queries map[string]*query, broken map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queries, e.broken = queries, broken
	for _, en := range e.entries {
		q := queries[en.asked.Name]
		if _, waits := broken[en.asked.Name]; waits {
			e.suspend(en)
			continue
		}
		if q == nil || !e.goOn(en, q) {
			e.end(en)
			continue
		}
		en.forced, en.dirty, en.state.Pending = true, true, true
		e.wait(en)
	}
}

// goOn has en run by q from now on, or reports false if it can't.
func (e *Engine) goOn(en *entry, q *query) bool {
	if q.names.ask(userArg) != en.ofUser || q.names.ask(groupsArg) != en.ofGroups {
		return false // it asks for more of who asks than before, or for less
	}
	values, err := q.values(en.id, en.asked)
	if err != nil {
		return false
	}
	scopes, all, err := q.scopes(values)
	if err != nil {
		return false
	}
	en.query, en.values, en.narrow = q, values, !all
	e.observe(en, scopes)
	return true
}

// suspend tells who watches en that it isn't kept fresh for now. Once it is again, they hear
// of that as of the end of a failure.
func (e *Engine) suspend(en *entry) {
	if en.query == nil {
		return
	}
	en.query = nil
	en.failed = true
	en.dirty = true
	delete(e.waiting, en)
	e.announce(en, "the live query is not kept fresh at the moment", journal.Cursor{})
	en.over()
}

// end tells who watches en to ask anew, and forgets it.
func (e *Engine) end(en *entry) {
	en.query = nil
	en.state.Ended = true
	e.drop(en)
	en.wakeAll()
	en.over()
}
