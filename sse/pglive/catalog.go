package pglive

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// lookEvery is how often the catalog is asked whether the queries are what they were:
	// Postgres tells nobody of a function that was replaced.
	lookEvery = 2 * time.Second
	lookLeast = 200 * time.Millisecond // between a look and one for what isn't known
)

// watchCatalog loads what is registered, and again whenever it may be another.
func (e *Engine) watchCatalog(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	failing := false
	for {
		e.mu.Lock()
		e.looks.begun++
		e.mu.Unlock()
		err := e.lookOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			e.log.Warn("the live queries could not be looked at", "err", err)
		case err == nil && failing:
			e.log.Info("the live queries are looked at again")
		}
		if err == nil {
			err = e.noteSlow(ctx)
		}
		failing = err != nil
		e.mu.Lock()
		e.looks.ended = e.looks.begun
		close(e.looks.done)
		e.looks.done = make(chan struct{})
		e.mu.Unlock()
		e.sweep()
		rest := time.After(lookLeast)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-e.looks.ask:
			select {
			case <-ctx.Done():
				return nil
			case <-rest:
			}
		}
	}
}

// looks are what the catalog is asked.
type looks struct {
	ask          chan struct{} // somebody asks for what isn't known
	begun, ended int
	done         chan struct{} // closed when the next ends
}

func (e *Engine) lookOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var mark string
	if err := e.look.QueryRow(ctx, "select pgbell.live_mark()").Scan(&mark); err != nil {
		return err
	}
	e.mu.Lock()
	same := mark == e.mark
	e.mu.Unlock()
	if same {
		return nil
	}
	if err := e.load(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	e.mark = mark // of before: what changed meanwhile is seen next time
	e.mu.Unlock()
	return nil
}

// know waits until the catalog was looked at from now on, if name isn't known: it may have been
// registered just now.
func (e *Engine) know(ctx context.Context, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, broken := e.broken[name]; broken || e.queries[name] != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	for next := e.looks.begun + 1; e.looks.ended < next && ctx.Err() == nil; {
		signal(e.looks.ask)
		done := e.looks.done
		e.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
		}
		e.mu.Lock()
	}
}

// function is what the catalog says of a registered function.
type function struct {
	name, signature string
	every           *time.Duration
	schema, fn      string
	args, types     []string
	key             []string
	unfit           string
}

// load reads what is registered, says what becomes of it, and has all entries run again.
func (e *Engine) load(ctx context.Context) error {
	rows, err := e.look.Query(ctx, `
		select l.name, l.function, l.every, coalesce(f.schema, ''), coalesce(f.name, ''), f.argument_names, f.argument_types, l.key,
			coalesce(f.unfit, case when f.name is null then 'the function is gone' else '' end)
		from pgbell.lives l left join pgbell.live_function(l.function) f on true
		order by l.name`)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f function, err error) {
		err = row.Scan(&f.name, &f.signature, &f.every, &f.schema, &f.fn, &f.args, &f.types, &f.key, &f.unfit)
		return f, err
	})
	if err != nil {
		return err
	}
	queries, broken := map[string]*query{}, map[string]string{}
	for _, f := range found {
		q, problem, err := e.understand(ctx, f)
		if err != nil {
			return err
		}
		if problem != "" {
			broken[f.name] = problem
			e.log.Warn("a live query is not kept fresh", "name", f.name, "reason", problem)
		} else {
			queries[f.name] = q
		}
		if err := e.note(ctx, f.name, q, problem); err != nil {
			return err
		}
	}
	e.mu.Lock()
	for _, p := range e.paces {
		p.slow = false // what was noted is gone
	}
	e.mu.Unlock()
	e.rebind(queries, broken)
	return nil
}

// note tells the database what was found.
func (e *Engine) note(ctx context.Context, name string, q *query, problem string) error {
	depends, scopes := []string{}, []string{}
	if q != nil {
		for _, r := range q.deps.Relations {
			if !slices.Contains(depends, r.Table) {
				depends = append(depends, r.Table)
			}
			scope := r.Scope
			if q.lookups > 0 && r.Lookup != "" {
				scope = r.Lookup
			}
			if scope != "" && !slices.Contains(scopes, scope) {
				scopes = append(scopes, scope)
			}
		}
	}
	var why *string
	if problem != "" {
		why = &problem
	}
	_, err := e.look.Exec(ctx, "select pgbell.found_live($1, $2, $3, $4)", name, depends, scopes, why)
	return err
}

// slow is how long a query may take for one user before it is told of.
const slow = 500 * time.Millisecond

func slowWords(took time.Duration) string {
	return fmt.Sprintf("slow: it takes %v", took.Round(10*time.Millisecond))
}

// noteSlow tells the database which queries are slow, and which aren't any more.
func (e *Engine) noteSlow(ctx context.Context) error {
	e.mu.Lock()
	tell := map[*query]string{}
	for name, q := range e.queries {
		switch p := e.pace(q); {
		case p.took > slow && !p.slow:
			tell[q] = slowWords(p.took)
			e.log.Warn("a live query is slow", "name", name, "took", p.took.Round(time.Millisecond).String())
		case p.took < slow/2 && p.slow:
			tell[q] = ""
		}
	}
	e.mu.Unlock()
	for q, what := range tell {
		if err := e.note(ctx, q.name, q, what); err != nil {
			return err
		}
		e.mu.Lock()
		e.pace(q).slow = what != ""
		e.mu.Unlock()
	}
	return nil
}
