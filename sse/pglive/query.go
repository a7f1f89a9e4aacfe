package pglive

import (
	"context"
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
	names names    // of the arguments, in the function's order
	key   []string // columns of the result that tell a row from the others; none: all do
	sql   string

	lookups int // that the statement runs, too
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

// scopes are those that tell of all that can change the result with these values, whatever the
// lookups would find; or, where all is false, but for what these would tell of.
func (q *query) scopes(values []*string) (scopes []string, all bool, err error) {
	if all = q.lookups == 0 || q.deps.Complete(); all {
		scopes, err = q.deps.Scopes(arguments(values)...)
	} else {
		scopes, err = q.scopesWith(values, make([][]string, q.lookups))
	}
	if err != nil {
		return nil, false, &sse.ArgumentError{Err: err}
	}
	return scopes, all, nil
}

// scopesWith are those that tell of all that can change a result for which the lookups gave found.
func (q *query) scopesWith(values []*string, found [][]string) ([]string, error) {
	return q.deps.ScopesWith(found, arguments(values)...)
}

func arguments(values []*string) []any {
	args := make([]any, len(values))
	for i, v := range values {
		if v != nil {
			args[i] = *v
		}
	}
	return args
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
	q := &query{name: f.name, deps: d, names: f.args, key: f.key}
	if f.every != nil {
		q.every = *f.every
	}
	lookups, err := e.lookups(ctx, f, d)
	if err != nil {
		return nil, "", err
	}
	q.lookups = len(lookups)
	unheard := d.Unheard()
	if q.lookups > 0 {
		unheard = d.UnheardWith()
	}
	switch {
	case len(unheard) > 0:
		return q, "a change could go unheard: " + strings.Join(unheard, "; "), nil
	case len(d.Time) > 0 && q.every == 0:
		return q, fmt.Sprintf("its result depends on the time (%s): say how often to run it, pgbell.live('%s', every => '1 minute')", strings.Join(d.Time, ", "), f.name), nil
	}
	q.sql = e.statement(f, lookups)
	return q, "", nil
}

// lookups returns the expressions of what d looks up: none if the role can't run them, which
// may read a view, and not its tables.
func (e *Engine) lookups(ctx context.Context, f function, d triggers.Dependencies) ([]string, error) {
	lookups := d.Lookups(f.argument)
	if len(lookups) == 0 {
		return nil, nil
	}
	nulls := []string{"null::pg_catalog.int4 as i"}
	for i := range f.args {
		nulls = append(nulls, fmt.Sprintf("null::pg_catalog.text as a%d", i+1))
	}
	_, err := e.runs.Exec(ctx, fmt.Sprintf("explain select %s from (select %s) u", strings.Join(lookups, ", "), strings.Join(nulls, ", ")))
	switch {
	case err == nil:
		return lookups, nil
	case isConnection(err):
		return nil, err
	}
	e.log.Info("a live query listens to more than it would have to", "name", f.name, "reason", err.Error())
	return nil, nil
}

// argument is the SQL of the nth argument, from 1.
func (f function) argument(n int) string { return fmt.Sprintf("u.a%d::%s", n, f.types[n-1]) }

// statement returns the SQL that runs f once for each set of arguments: $1 numbers them, the
// others are their texts. A result with too many rows or bytes comes back without them. Lookups
// are expressions, run in the same snapshot.
func (e *Engine) statement(f function, lookups []string) string {
	arrays, columns, args := []string{"$1::pg_catalog.int4[]"}, []string{"i"}, []string{}
	for i, name := range f.args {
		column := fmt.Sprintf("a%d", i+1)
		arrays = append(arrays, fmt.Sprintf("$%d::pg_catalog.text[]", i+2))
		columns = append(columns, column)
		args = append(args, fmt.Sprintf("%s => %s", pgx.Identifier{name}.Sanitize(), f.argument(i+1)))
	}
	also := ""
	for _, l := range lookups {
		also += ",\n\t" + l
	}
	// unnest without its schema: several arrays are taken by the grammar, which means the system's.
	return fmt.Sprintf(`
with n as materialized (select pgbell.cursor() as cursor, pg_catalog.pg_current_snapshot()::pg_catalog.text as snapshot)
select u.i, n.cursor, n.snapshot, r.rows, r.bytes, case when r.rows operator(pg_catalog.<=) %d and r.bytes operator(pg_catalog.<=) %d then r.json end%s
from n, unnest(%s) u (%s), lateral (
	select pg_catalog.count(*) as rows, coalesce(pg_catalog.sum(pg_catalog.octet_length(x.t)), 0) as bytes,
		pg_catalog.concat('[', pg_catalog.string_agg(x.t, ','), ']') as json
	from (
		select pg_catalog.row_to_json("pgbell: row")::pg_catalog.text as t
		from (select * from %s(%s) limit %d) "pgbell: row"
	) x
) r`, e.cfg.MaxRows, e.cfg.MaxBytes, also, strings.Join(arrays, ", "), strings.Join(columns, ", "),
		pgx.Identifier{f.schema, f.fn}.Sanitize(), strings.Join(args, ", "), e.cfg.MaxRows+1)
}
