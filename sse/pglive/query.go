package pglive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/triggers"
)

// query is a function that is a live query, as the catalog had it. It is not changed.
type query struct {
	name  string
	every time.Duration // 0: only when something happens
	deps  triggers.Dependencies
	names names // of the arguments, in the function's order
	sql   string
}

// Arguments that the server fills in.
const (
	userArg   = "user_id"
	groupsArg = "groups"
)

// names are those of a function's arguments.
type names []string

func (n names) ask(name string) bool { return slices.Contains(n, name) }

// values returns the arguments with which q runs for id, in the function's order; nil is null.
func (q *query) values(id sse.Identity, asked sse.LiveQuery) ([]*string, error) {
	values := make([]*string, len(q.names))
	for i, name := range q.names {
		switch name {
		case userArg:
			if id.UserID != "" {
				values[i] = &id.UserID
			}
			continue
		case groupsArg:
			text, err := pgtype.NewMap().Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, slices.Sorted(slices.Values(id.Groups)), nil)
			if err != nil {
				return nil, fmt.Errorf("groups: %w", err)
			}
			all := string(text)
			values[i] = &all
			continue
		}
		at, found := slices.BinarySearchFunc(asked.Args, name, func(a sse.LiveArg, name string) int { return strings.Compare(a.Name, name) })
		if !found {
			return nil, &sse.ArgumentError{Err: fmt.Errorf("%s is missing: the arguments are %s", name, q.arguments())}
		}
		values[i] = &asked.Args[at].Value
	}
	for _, a := range asked.Args {
		if a.Name == userArg || a.Name == groupsArg || !slices.Contains(q.names, a.Name) {
			return nil, &sse.ArgumentError{Err: fmt.Errorf("%q is none of the arguments: these are %s", a.Name, q.arguments())}
		}
	}
	return values, nil
}

// arguments names those that the client gives.
func (q *query) arguments() string {
	own := slices.DeleteFunc(slices.Clone(q.names), func(n string) bool { return n == userArg || n == groupsArg })
	if len(own) == 0 {
		return "none"
	}
	return strings.Join(own, ", ")
}

// scopes are those that tell of all that can change the result with these values.
func (q *query) scopes(values []*string) ([]string, error) {
	args := make([]any, len(values))
	for i, v := range values {
		if v != nil {
			args[i] = *v
		}
	}
	scopes, err := q.deps.Scopes(args...)
	if err != nil {
		return nil, &sse.ArgumentError{Err: err}
	}
	return scopes, nil
}

// function is what the catalog says of a registered function.
type function struct {
	name, signature string
	every           *time.Duration
	schema, fn      string
	args, types     []string
	unfit           string
}

// load reads what is registered, says what becomes of it, and has all entries run again.
func (e *Engine) load(ctx context.Context) error {
	rows, err := e.look.Query(ctx, `
		select l.name, l.function, l.every, coalesce(f.schema, ''), coalesce(f.name, ''), f.argument_names, f.argument_types,
			coalesce(f.unfit, case when f.name is null then 'the function is gone' else '' end)
		from pgbell.lives l left join pgbell.live_function(l.function) f on true
		order by l.name`)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f function, err error) {
		err = row.Scan(&f.name, &f.signature, &f.every, &f.schema, &f.fn, &f.args, &f.types, &f.unfit)
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

// understand returns what a function depends on, or why it can't be kept fresh. An error is
// the database's.
func (e *Engine) understand(ctx context.Context, f function) (*query, string, error) {
	if f.unfit != "" {
		return nil, f.unfit, nil
	}
	d, err := triggers.Deps(ctx, e.look, f.signature)
	if err != nil {
		if isConnection(err) {
			return nil, "", err
		}
		return nil, err.Error(), nil
	}
	q := &query{name: f.name, deps: d, names: f.args}
	if f.every != nil {
		q.every = *f.every
	}
	switch unheard := d.Unheard(); {
	case len(unheard) > 0:
		return q, "a change could go unheard: " + strings.Join(unheard, "; "), nil
	case len(d.Time) > 0 && q.every == 0:
		return q, fmt.Sprintf("its result depends on the time (%s): say how often to run it, pgbell.live('%s', every => '1 minute')", strings.Join(d.Time, ", "), f.name), nil
	}
	q.sql = e.statement(f)
	return q, "", nil
}

// note tells the database what was found.
func (e *Engine) note(ctx context.Context, name string, q *query, problem string) error {
	depends, scopes := []string{}, []string{}
	if q != nil {
		for _, r := range q.deps.Relations {
			if !slices.Contains(depends, r.Table) {
				depends = append(depends, r.Table)
			}
			if r.Scope != "" && !slices.Contains(scopes, r.Scope) {
				scopes = append(scopes, r.Scope)
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

// statement returns the SQL that runs f once for each set of arguments: $1 numbers them, the
// others are their texts. A result with too many rows or bytes comes back without them.
func (e *Engine) statement(f function) string {
	arrays, columns, args := []string{"$1::pg_catalog.int4[]"}, []string{"i"}, []string{}
	for i, name := range f.args {
		column := fmt.Sprintf("a%d", i+1)
		arrays = append(arrays, fmt.Sprintf("$%d::pg_catalog.text[]", i+2))
		columns = append(columns, column)
		args = append(args, fmt.Sprintf("%s => u.%s::%s", pgx.Identifier{name}.Sanitize(), column, f.types[i]))
	}
	// unnest without its schema: several arrays are taken by the grammar, which means the system's.
	return fmt.Sprintf(`
with n as materialized (select pgbell.cursor() as cursor, pg_catalog.pg_current_snapshot()::pg_catalog.text as snapshot)
select u.i, n.cursor, n.snapshot, r.rows, r.bytes, case when r.rows operator(pg_catalog.<=) %d and r.bytes operator(pg_catalog.<=) %d then r.json end
from n, unnest(%s) u (%s), lateral (
	select pg_catalog.count(*) as rows, coalesce(pg_catalog.sum(pg_catalog.octet_length(x.t)), 0) as bytes,
		pg_catalog.concat('[', pg_catalog.string_agg(x.t, ','), ']') as json
	from (
		select pg_catalog.row_to_json("pgbell: row")::pg_catalog.text as t
		from (select * from %s(%s) limit %d) "pgbell: row"
	) x
) r`, e.cfg.MaxRows, e.cfg.MaxBytes, strings.Join(arrays, ", "), strings.Join(columns, ", "),
		pgx.Identifier{f.schema, f.fn}.Sanitize(), strings.Join(args, ", "), e.cfg.MaxRows+1)
}

// lookEvery is how often the catalog is asked whether the queries are what they were: Postgres
// tells nobody of a function that was replaced.
const (
	lookEvery = 2 * time.Second
	lookLeast = 200 * time.Millisecond // between two looks for what isn't known
)

// watchCatalog loads what is registered, and again whenever it may be another.
func (e *Engine) watchCatalog(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	failing := false
	for {
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
		e.looked = time.Now()
		close(e.lookDone)
		e.lookDone = make(chan struct{})
		e.mu.Unlock()
		e.sweep()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-e.looks:
		}
	}
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

// know waits until the catalog was looked at, if name isn't known: it may have been registered
// just now.
func (e *Engine) know(ctx context.Context, name string) {
	e.mu.Lock()
	_, broken := e.broken[name]
	known := e.queries[name] != nil || broken || time.Since(e.looked) < lookLeast
	done := e.lookDone
	e.mu.Unlock()
	if known {
		return
	}
	signal(e.looks)
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// isConnection says whether err is not the query's fault.
func isConnection(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || !isPg(err)
}
