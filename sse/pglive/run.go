package pglive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/sse"
)

const (
	maxBatch   = 100                    // entries that run in one statement
	retryLeast = 200 * time.Millisecond // after a run that failed
	retryMost  = 30 * time.Second       // after many
	retryQuiet = 4                      // failures for want of a connection before anybody is told
	restFactor = 9                      // an entry that changes all the time runs a tenth of it, as far as Staleness allows
)

// dispatch runs what is due.
func (e *Engine) dispatch(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select { // a place first: what comes while there is none, runs together
		case <-ctx.Done():
			return nil
		case e.worker <- struct{}{}:
		}
		var batch []*entry
		for {
			var next time.Time
			if batch, next = e.take(time.Now()); batch != nil {
				break
			}
			wait := time.Hour
			if !next.IsZero() {
				wait = time.Until(next)
			}
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				<-e.worker
				return nil
			case <-e.kick:
			case <-timer.C:
			}
		}
		running.Go(func() {
			defer func() { <-e.worker }()
			e.run(ctx, batch)
		})
	}
}

// take returns entries of one query to be run now, those first that are due for longest; or
// when the next is due, zero if none waits.
func (e *Engine) take(now time.Time) (batch []*entry, next time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var first *entry
	for en := range e.waiting {
		if first == nil || en.due.Before(first.due) {
			first = en
		}
	}
	if first == nil {
		return nil, time.Time{}
	}
	if first.due.After(now) {
		return nil, first.due
	}
	for en := range e.waiting { // those that are due within a moment, too
		if en.query == first.query && en.failures == 0 && !en.due.After(now.Add(gather)) && !en.rest.After(now) {
			batch = append(batch, en)
		}
	}
	if first.failures > 0 { // alone, not to make others fail
		batch = []*entry{first}
	}
	slices.SortFunc(batch, func(a, b *entry) int { return a.due.Compare(b.due) })
	batch = batch[:min(len(batch), e.pace(first.query).batch)]
	for _, en := range batch {
		delete(e.waiting, en)
		en.running = true
		en.seeks = en.forced || !en.dirty // if nothing happened, it is time
		en.forced = false
	}
	return batch, time.Time{}
}

// outcome is what became of an entry's run.
type outcome struct {
	result result
	err    error

	query *query     // which was run
	found [][]string // by its lookups
}

// run runs entries of one query. If together they fail, they run again, fewer at once.
func (e *Engine) run(ctx context.Context, batch []*entry) {
	began := time.Now()
	runs, upTo := e.begin(batch)
	outcomes, err := e.ask(ctx, runs)
	each := time.Since(began) / time.Duration(len(batch))
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.pace(runs[0].query)
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		p.batch = min(2*p.batch, maxBatch)
		p.took += (each - p.took) / 8
	case len(batch) > 1 && isPg(err):
		p.batch = max(1, len(batch)/2)
		for _, en := range batch {
			en.running, en.dirty, en.forced = false, true, en.forced || en.seeks
			e.wait(en)
		}
		return
	default:
		outcomes = slices.Repeat([]outcome{{err: err}}, len(batch))
	}
	for i, en := range batch {
		e.finish(en, outcomes[i], upTo, each)
	}
}

// pace is how a query runs.
type pace struct {
	batch int           // how many entries at most in a statement
	took  time.Duration // of late, for one of them
	slow  bool          // the database was told so
}

// pace returns that of q, to be changed with mu held.
func (e *Engine) pace(q *query) *pace {
	if q == nil {
		return &pace{batch: 1}
	}
	p := e.paces[q.name]
	if p == nil {
		p = &pace{batch: maxBatch}
		e.paces[q.name] = p
	}
	return p
}

// one is what a run needs to know of an entry.
type one struct {
	query  *query
	values []*string
}

// begin notes that what happens from now on may be unseen by the run, and that all which the
// bus's position covers is seen.
func (e *Engine) begin(batch []*entry) (runs []one, upTo string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, en := range batch {
		en.dirty = false
		e.pend(en)
		runs = append(runs, one{en.query, en.values})
	}
	return runs, e.bus.Position()
}

// ask runs a query for each of runs.
func (e *Engine) ask(ctx context.Context, runs []one) ([]outcome, error) {
	q := runs[0].query
	if q == nil { // it ended
		return nil, errEnded
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout+5*time.Second) // the server's own timeout comes first
	defer cancel()
	numbers := make([]int32, len(runs))
	args := []any{numbers}
	for i := range q.names {
		column := make([]*string, len(runs))
		for k, r := range runs {
			column[k] = r.values[i]
		}
		args = append(args, column)
	}
	for i := range numbers {
		numbers[i] = int32(i)
	}
	e.count(func(s *Stats) { s.Statements++; s.Runs += uint64(len(runs)) })
	rows, err := e.runs.Query(ctx, q.sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	outcomes := slices.Repeat([]outcome{{err: errNoRow}}, len(runs))
	for rows.Next() {
		var (
			i                int
			cursor, snapshot string
			count, bytes     int64
			json             *string
		)
		found := make([][]string, q.lookups)
		into := []any{&i, &cursor, &snapshot, &count, &bytes, &json}
		for k := range found {
			into = append(into, &found[k])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		switch seen, err := journal.ParseSnapshot(cursor, snapshot); {
		case err != nil:
			return nil, err
		case json == nil && count > int64(e.cfg.MaxRows):
			outcomes[i].err = limitError(fmt.Sprintf("the result has more rows than may be: %d", e.cfg.MaxRows))
		case json == nil:
			outcomes[i].err = limitError(fmt.Sprintf("the result has more bytes than may be: %d of %d", bytes, e.cfg.MaxBytes))
		default:
			outcomes[i] = outcome{result: result{sse.NewLiveRows([]byte(*json), q.key), cursor, seen}}
		}
		outcomes[i].query, outcomes[i].found = q, found
	}
	return outcomes, rows.Err()
}

var (
	errEnded = errors.New("the live query ended")
	errNoRow = errors.New("the statement told nothing of it")
)

// finish goes on with what a run gave. The caller holds mu.
func (e *Engine) finish(en *entry, o outcome, upTo string, took time.Duration) {
	now := time.Now()
	en.running = false
	en.runs++
	en.over()
	if en.query == nil { // that was told
		return
	}
	en.tick = time.Time{}
	if en.query.every > 0 {
		en.tick = now.Add(en.query.every)
	}
	if o.err == nil {
		o.err = e.follow(en, o)
	}
	if o.err != nil {
		e.fail(en, o.err, now)
		e.wait(en)
		return
	}
	en.rest = now.Add(min(e.cfg.Staleness, restFactor*took))
	before, failed := en.result.rows, en.failed
	same := before != nil && before.ETag() == o.result.rows.ETag()
	if same {
		o.result.rows = before // whose encodings are there
	}
	en.failures, en.failed, en.err, en.result = 0, false, nil, o.result
	en.state.Rows = o.result.rows
	switch {
	case before == nil && !failed:
		en.state.Version, en.state.Since = 1, o.result.seen
		en.wakeAll()
	case failed || en.seeks && !same:
		// No event told of it: that somebody is past it proves nothing.
		e.stats.Changed++
		e.announce(en, "", journal.Cursor{})
	case !same:
		e.stats.Changed++
		e.announce(en, "", o.result.seen)
	}
	en.state.UpTo, en.state.Seen = upTo, o.result.seen
	en.state.Pending = en.dirty
	e.wait(en)
}

// fail notes that a run gave no result, and tells of it at the first time: what is known may
// be old.
func (e *Engine) fail(en *entry, err error, now time.Time) {
	e.stats.Failed++
	en.err = err
	if isArgument(err) {
		en.err = &sse.ArgumentError{Err: errors.New("the database takes these arguments for none of their types")}
	}
	en.dirty, en.forced = true, en.forced || en.seeks
	en.rest = now.Add(min(retryMost, retryLeast<<min(en.failures, 10)))
	en.failures++
	if !en.failed && (isPg(err) || isLimit(err) || en.failures >= retryQuiet) {
		en.failed = true
		e.log.Warn("a live query has no result", "name", en.asked.Name, "err", err)
		e.announce(en, "the query has no result at the moment", journal.Cursor{})
	}
}

func (e *Engine) count(f func(*Stats)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.stats)
}
