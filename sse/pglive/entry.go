package pglive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/sse"
)

// entry is the result of a query with some arguments for a user, kept fresh as long as
// somebody wants it. All but key, id and asked is guarded by the engine's mu.
type entry struct {
	key   string
	id    sse.Identity // of whom it is the result; without what the query doesn't ask for
	asked sse.LiveQuery

	ofUser, ofGroups bool // the query asks for them

	query  *query // nil while it can't be kept fresh
	values []*string
	scopes []string
	stop   func() // ends the observation of scopes; nil if there is none
	narrow bool   // scopes are those for what lookups found

	watches map[*watch]struct{}
	asking  int       // calls of Result that wait
	idle    time.Time // since when nobody wants it; zero if somebody does

	dirty   bool      // something happened since the last run began
	forced  bool      // what happened isn't an event of the scopes
	seeks   bool      // the run under way was forced
	running bool      // a run is under way
	due     time.Time // of the next run, while the engine's waiting has it
	rest    time.Time // no run before
	tick    time.Time // when to run it though nothing happened; zero is never

	runs     uint64        // that are over
	done     chan struct{} // closed when the next is
	failures int           // in a row
	failed   bool          // those who watch it were told
	err      error         // why there is no result
	result   result
	state    sse.LiveState
}

// result is what a run gave.
type result struct {
	rows   *sse.LiveRows  // nil before the first
	cursor string         // for clients
	seen   journal.Cursor // exactly what the run saw
}

// watch is a stream's.
type watch struct {
	e    *Engine
	en   *entry
	wake func()
}

const (
	gather = 10 * time.Millisecond // how long an entry waits for others to run with it
	linger = time.Minute           // how long an entry is kept that nobody wants
)

// Watch is as [sse.LiveQueries] has it.
func (e *Engine) Watch(ctx context.Context, id sse.Identity, asked sse.LiveQuery, wake func()) (sse.LiveWatch, error) {
	e.know(ctx, asked.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	en, err := e.enter(id, asked)
	if err != nil {
		return nil, err
	}
	w := &watch{e, en, wake}
	en.watches[w] = struct{}{}
	e.wanted(en)
	return w, nil
}

func (w *watch) State() sse.LiveState {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	return w.en.state
}

func (w *watch) Close() {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	delete(w.en.watches, w)
	w.e.unwanted(w.en)
}

// Result is as [sse.LiveQueries] has it.
func (e *Engine) Result(ctx context.Context, id sse.Identity, asked sse.LiveQuery, fresh bool) (sse.LiveResult, error) {
	e.know(ctx, asked.Name)
	position := e.bus.Position() // before the look whether something is pending
	e.mu.Lock()
	defer e.mu.Unlock()
	en, err := e.enter(id, asked)
	if err != nil {
		return sse.LiveResult{}, err
	}
	en.asking++
	defer func() {
		en.asking--
		e.unwanted(en)
	}()
	if en.query != nil && en.err == nil && en.result.rows != nil && !en.dirty && !en.running && !fresh {
		return en.result.at(position), nil
	}
	if en.err != nil && en.rest.After(time.Now()) {
		return sse.LiveResult{}, en.err
	}
	least := en.runs + 1 // a run that begins from now on
	if en.running {
		least++
	}
	e.wanted(en)
	for en.runs < least && en.query != nil {
		if !en.running { // also where a run with others failed, and is made again
			en.dirty = true
			e.pend(en)
			e.wait(en)
		}
		done := en.done
		e.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
		}
		e.mu.Lock()
		if err := ctx.Err(); err != nil {
			return sse.LiveResult{}, context.Cause(ctx)
		}
	}
	switch {
	case en.query == nil:
		return sse.LiveResult{}, e.unknown(asked)
	case en.err != nil:
		return sse.LiveResult{}, en.err
	}
	return en.result.at(""), nil
}

// at is r for a client. If nothing is pending, it was still the result at a later position.
func (r result) at(position string) sse.LiveResult {
	cursor := r.cursor
	if later, err := journal.ParseCursor(position); err == nil && later.Includes(r.seen) {
		cursor = position
	}
	return sse.LiveResult{Rows: r.rows, Cursor: cursor}
}

// enter returns the entry for what is asked, a new one if need be. The caller holds mu.
func (e *Engine) enter(id sse.Identity, asked sse.LiveQuery) (*entry, error) {
	q := e.queries[asked.Name]
	if q == nil {
		return nil, e.unknown(asked)
	}
	id = sse.Identity{UserID: id.UserID, Groups: id.Groups}
	if !q.names.ask(userArg) {
		id.UserID = ""
	}
	if !q.names.ask(groupsArg) {
		id.Groups = nil
	}
	key := fmt.Sprintf("%s %q %q", asked, id.UserID, slices.Sorted(slices.Values(id.Groups)))
	if en := e.entries[key]; en != nil {
		return en, nil
	}
	values, err := q.values(id, asked)
	if err != nil {
		return nil, err
	}
	scopes, all, err := q.scopes(values)
	if err != nil {
		return nil, err
	}
	if len(e.entries) >= e.cfg.Max && !e.evict() {
		return nil, fmt.Errorf("as many results are kept fresh as may be: %d", e.cfg.Max)
	}
	en := &entry{
		key: key, id: id, asked: asked, ofUser: q.names.ask(userArg), ofGroups: q.names.ask(groupsArg), query: q, values: values, watches: map[*watch]struct{}{}, idle: time.Now(),
		narrow: !all, dirty: true, done: make(chan struct{}), state: sse.LiveState{Pending: true},
	}
	e.entries[key] = en
	e.observe(en, scopes)
	return en, nil
}

// unknown is the error for a query that isn't kept fresh.
func (e *Engine) unknown(asked sse.LiveQuery) error {
	switch why, broken := e.broken[asked.Name]; {
	case broken:
		return fmt.Errorf("it is not kept fresh: %s", why)
	case e.mark == "":
		return errors.New("the live queries were not looked at yet")
	}
	return sse.ErrNoQuery
}

// wanted notes that somebody wants en. What happened while nobody did, is to be found out.
func (e *Engine) wanted(en *entry) {
	en.idle = time.Time{}
	if en.dirty || !en.tick.IsZero() {
		e.wait(en)
	}
}

// unwanted notes that somebody doesn't want en any more.
func (e *Engine) unwanted(en *entry) {
	if len(en.watches) == 0 && en.asking == 0 {
		en.idle = time.Now()
		delete(e.waiting, en)
	}
}

// wait has en run when it is due, if somebody wants it.
func (e *Engine) wait(en *entry) {
	if !en.idle.IsZero() || en.running || en.query == nil {
		return
	}
	due := en.tick
	if en.dirty {
		due = time.Now()
		if en.asking == 0 {
			due = due.Add(gather)
		}
		if due.Before(en.rest) {
			due = en.rest
		}
	}
	if due.IsZero() {
		return
	}
	if _, waits := e.waiting[en]; !waits || due.Before(en.due) {
		en.due = due
		e.waiting[en] = struct{}{}
		signal(e.kick)
	}
}

// drop forgets en.
func (e *Engine) drop(en *entry) {
	if en.stop != nil {
		en.stop()
	}
	delete(e.waiting, en)
	delete(e.entries, en.key)
}

// evict forgets the entry that nobody wants for longest, or reports false if there is none.
func (e *Engine) evict() bool {
	var oldest *entry
	for _, en := range e.entries {
		if !en.idle.IsZero() && !en.running && (oldest == nil || en.idle.Before(oldest.idle)) {
			oldest = en
		}
	}
	if oldest == nil {
		return false
	}
	e.drop(oldest)
	return true
}

// sweep forgets what nobody wants for long.
func (e *Engine) sweep() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, en := range e.entries {
		if !en.idle.IsZero() && !en.running && time.Since(en.idle) > linger {
			e.drop(en)
		}
	}
}

// over tells who waits for a run that there is none.
func (en *entry) over() {
	close(en.done)
	en.done = make(chan struct{})
}

// announce has who watches en look at a new version.
func (e *Engine) announce(en *entry, reset string, since journal.Cursor) {
	en.state.Version = max(en.state.Version+1, 2) // 1 is the first result, which nobody has to hear of
	en.state.Reset, en.state.Since = reset, since
	en.wakeAll()
}

func (en *entry) wakeAll() {
	for w := range en.watches {
		w.wake()
	}
}
