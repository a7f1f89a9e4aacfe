package triggers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Explanation says what subscribers would be told if a row changed now.
type Explanation struct {
	Table string // under which its changes are reported
	Feed  Feed
	Key   []string // columns of the primary key; empty if there is none

	// Exists says whether there is such a row, and whoever asks may see it. If not,
	// the rest is empty: what it was once can't be told.
	Exists bool

	// Silent are the ops of which nothing is heard, since no trigger fires.
	Silent []string
	// Drifted says that the table is no longer what it was when it was attached: each
	// change becomes a reset of all scopes that the feed's templates can produce.
	Drifted bool

	Scopes []RowScope // one per template
	Owners []RowOwner // one per audience column

	// Change is what the trigger would record of the row as it is, if it were deleted:
	// an element of a journal row's changes; nil if it would record nothing or a reset.
	Change json.RawMessage
	// Op is an op that would be heard, as an example: an update if that fires a trigger,
	// else an insert of the row or its delete; empty if nothing does.
	Op string
	// Changed is a column whose update would be heard; empty if Op is another.
	Changed string
	// Notification is the payload that the example would notify with.
	Notification string
	Cursor       string // pgbell.cursor() of this moment
}

// RowScope is what a scope template gives for a row.
type RowScope struct {
	Template string
	Scope    string // empty: there is none for this row
	Why      string // there is none
}

// RowOwner is whom an audience column names.
type RowOwner struct {
	Column string
	Users  []string
	Why    string // there are none
}

// Beginner begins transactions: a connection, or a pool.
type Beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// ErrNoFeed says that a table is not attached.
var ErrNoFeed = errors.New("the table has no feed")

// Explain says what a change of one row would tell. It evaluates over the row the
// very expressions that the feed's trigger is made of, in a transaction that reads
// only: no trigger fires, and nothing is locked that a SELECT doesn't lock. It sees
// what the role may see that asks; that role needs the rights of pgbell's owner
// besides.
//
// key is the value of the primary key, or a=1,b=2, or a JSON object, with any
// columns that tell the row from others.
func Explain(ctx context.Context, db Beginner, table, key string) (Explanation, error) {
	tx, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return Explanation{}, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	x := explainer{tx: tx}
	if err := x.explain(ctx, table, key); err != nil {
		return Explanation{}, fmt.Errorf("explain %s: %w", table, actionable(err))
	}
	return x.Explanation, nil
}

type explainer struct {
	Explanation
	tx       pgx.Tx
	feed     int32
	table    uint32 // the one asked for: a partition, perhaps
	name     string // quoted, with its schema
	columns  []string
	row      string // its ctid
	tableoid uint32 // where it is
}

func (x *explainer) explain(ctx context.Context, table, key string) error {
	if err := x.find(ctx, table); err != nil {
		return err
	}
	where, values, err := x.parseKey(key)
	if err != nil {
		return err
	}
	if err := x.locate(ctx, where, values); err != nil || !x.Exists {
		return err
	}
	if err := x.fires(ctx); err != nil {
		return err
	}
	gone := false
	if err := x.tx.QueryRow(ctx, `select exists (select from pgbell.feed f, jsonb_object_keys(f.types) c
		where f.id = $1 and c <> all ($2::text[]))`, x.feed, x.columns).Scan(&gone); err != nil {
		return err
	}
	if gone {
		x.Drifted = true
		return nil
	}
	return x.evaluate(ctx)
}

// find looks up the feed of a table, or of what it is a partition or a child of.
func (x *explainer) find(ctx context.Context, table string) error {
	var err error
	if x.table, err = resolve(ctx, x.tx, table); err != nil {
		return err
	}
	err = x.tx.QueryRow(ctx, `
		with recursive up (oid, depth) as (
			select $1::oid, 0 union select i.inhparent, up.depth + 1 from up join pg_inherits i on i.inhrelid = up.oid
		)
		select f.id, f.key, pgbell.table_name(f.target), pgbell.table_name($1), array(
			select a.attname::text from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum)
		from pgbell.feed f join up on up.oid = f.target
		order by up.depth limit 1`, x.table).Scan(&x.feed, &x.Key, &x.Table, &x.name, &x.columns)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoFeed
	} else if err != nil {
		return err
	}
	x.Feed, _, err = Get(ctx, x.tx, x.Table)
	return err
}

// locate finds where the row is. It is looked for with the session's own settings,
// as its user's queries are.
func (x *explainer) locate(ctx context.Context, where string, values []any) error {
	rows, err := x.tx.Query(ctx, fmt.Sprintf(`select tableoid, ctid::text from %s where %s limit 2`, x.name, where), values...)
	if err != nil {
		return err
	}
	found := 0
	_, err = pgx.ForEachRow(rows, []any{&x.tableoid, &x.row}, func() error { found++; return nil })
	if found > 1 {
		return errors.New("the key is that of more than one row: name more columns, as in a=1,b=2")
	}
	x.Exists = found == 1
	return err
}

// fires finds the ops for which no trigger of the feed fires on the row's table.
func (x *explainer) fires(ctx context.Context) error {
	return x.tx.QueryRow(ctx, `
		select array(select o.op from (values (1, 'insert', 4), (2, 'update', 16), (3, 'delete', 8)) o (i, op, bit)
			where not exists (select from pg_trigger t where t.tgrelid = $2 and t.tgenabled in ('O', 'A') and t.tgtype & o.bit <> 0
				and t.tgfoid in (select p.oid from pgbell.feed_functions($1) p))
			order by o.i)`, x.feed, x.tableoid).Scan(&x.Silent)
}

// evaluate asks for what the trigger's own expressions give. The settings are those
// of the trigger's function, since texts of values depend on them.
func (x *explainer) evaluate(ctx context.Context) error {
	var changes string
	var scopes, literals, columns, audience []string
	err := x.tx.QueryRow(ctx, `
		select pgbell.changes(f, 'delete', null, pgbell.side(f), 'true'),
			array(select pgbell.scope_expression(f, t.t) from unnest(f.scopes) with ordinality t (t, i) order by t.i),
			array(select format('%L::jsonb || jsonb_build_array(%s)',
					(select jsonb_agg(jsonb_build_object('text', l.l, 'column', p.columns[l.i])) from unnest(p.literals) with ordinality l (l, i)),
					(select string_agg(format('num_nulls(%s) = 1, %s', pgbell.quoted(c.c), 'pgbell.scope_value(' || k.txt || ')'), ', ' order by c.i)
						from unnest(p.columns) with ordinality c (c, i) join pgbell.columns(f) k on k.name = c.c))
				from unnest(f.scopes) with ordinality t (t, i), pgbell.parse_template(t.t) p order by t.i),
			array(select c.name from unnest(f.audience) with ordinality a (a, i) join pgbell.columns(f) c on c.name = a.a order by a.i),
			array(select format('jsonb_build_object(''null'', num_nulls(%s) = 1, ''users'', (''['' || %s || '']'')::jsonb)', pgbell.quoted(c.name), c.users)
				from unnest(f.audience) with ordinality a (a, i) join pgbell.columns(f) c on c.name = a.a order by a.i)
		from pgbell.feed f where f.id = $1`, x.feed).Scan(&changes, &scopes, &literals, &columns, &audience)
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == "P0002" { // a type is gone
		x.Drifted = true
		return nil
	} else if err != nil {
		return err
	}
	if err := exec(ctx, x.tx, `select set_config(split_part(c, '=', 1), substr(c, strpos(c, '=') + 1), true)
		from pg_proc p, unnest(p.proconfig) c where p.oid = to_regprocedure(pgbell.feed_function($1, 'row'))`, x.feed); err != nil {
		return err
	}
	var values []*string
	var parts, owners []json.RawMessage
	var heard bool
	var change, rung *string
	err = x.tx.QueryRow(ctx, fmt.Sprintf(`
		with old_rows as materialized (select * from %s where tableoid = %d and ctid = %s)
		select c.scopes is not null, c.change, e.scopes, e.parts, e.owners, pgbell.cursor(),
			pgbell.each_once(c.scopes collate "default")
		from (select true as alive) feed
		cross join lateral (select array[%s]::text[] as scopes, array[%s]::jsonb[] as parts, array[%s]::jsonb[] as owners from old_rows t) e
		left join lateral (%s) c (scopes, change) on true`,
		x.name, x.tableoid, quote(x.row),
		strings.Join(scopes, ", "), strings.Join(literals, ", "), strings.Join(audience, ", "), changes)).
		Scan(&heard, &change, &values, &parts, &owners, &x.Cursor, &rung)
	if err != nil {
		return err
	}
	if heard && change == nil {
		x.Drifted = true
		return nil
	}
	for i, template := range x.Feed.Scopes {
		s, err := rowScope(template, values[i], parts[i])
		if err != nil {
			return err
		}
		x.Scopes = append(x.Scopes, s)
	}
	for i, column := range columns {
		o, err := rowOwner(column, owners[i])
		if err != nil {
			return err
		}
		x.Owners = append(x.Owners, o)
	}
	for _, op := range []string{"update", "insert", "delete"} {
		if !slices.Contains(x.Silent, op) {
			x.Op = op
			break
		}
	}
	if x.Op == "update" {
		x.Changed = x.example()
	}
	if change != nil {
		x.Change = json.RawMessage(*change)
		if x.Op != "" {
			return x.notification(ctx, *change, *rung)
		}
	}
	return nil
}
