package triggers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/journal/scope"
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
	// Drifted says that a column which the feed names is no longer what it was when the
	// table was attached: each change becomes a reset of all scopes that the feed's
	// templates can produce. What follows is empty then.
	Drifted bool
	// TooMany says that an audience column holds more user ids than are looked at: each
	// change of the row becomes such a reset, too.
	TooMany bool

	Scopes []RowScope // one per template
	Owners []RowOwner // one per element of the audience

	// Definition is the row of pgbell.definition that says what the facts mean: journal.Meaning
	// reads it.
	Definition json.RawMessage
	// Facts are what the feed's triggers record of the row as it is: the texts of the
	// fields that Definition names, in that order; nil for a null. It is nil as a whole if
	// nothing would be recorded but a reset, since the table has drifted.
	Facts []*string

	// Op is an op that would be heard, as an example: an update if that fires a trigger,
	// else an insert of the row or its delete; empty if nothing does.
	Op string
	// Changed is a column whose update would be heard; empty if Op is another.
	Changed string
	// Recorded are the facts of the example: the same as Facts or, of an update, the values
	// before, the values after, and for each of the table's columns its name if it is
	// Changed, else nil.
	Recorded []*string
	// Notification is the payload that the example would notify with; empty if it would
	// not notify.
	Notification string
	Cursor       string // pgbell.cursor() of this moment
}

// RowScope is what a scope template gives for a row.
type RowScope struct {
	Template string
	Scope    string // empty: there is none for this row
	Why      string // there is none
}

// RowOwner is whom an element of the audience names.
type RowOwner struct {
	Column string   // or template, as it was attached
	Users  []string // of a column
	Groups []string // of a template
	Why    string   // there are none
}

// Beginner begins transactions: a connection, or a pool.
type Beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// ErrNoFeed says that a table is not attached.
var ErrNoFeed = errors.New("the table has no feed")

// Explain says what a change of one row would tell. It evaluates over the row the
// very expressions that the feed's triggers record, in a transaction that reads
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
	equals   []string // for each column, its type's own operator
	row      string   // its ctid
	tableoid uint32   // where it is
	values   []value
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
	d, err := x.definition(ctx)
	if err != nil || x.Drifted {
		return err
	}
	scopes, err := x.evaluate(ctx, d)
	if err != nil {
		return err
	}
	if err := x.words(); err != nil {
		return err
	}
	if err := x.example(d); err != nil {
		return err
	}
	return x.notification(ctx, d, scopes)
}

// find looks up the feed of a table, or of what it is a partition or a child of. The
// operators by which its columns are compared with a key are those of the types' default
// B-trees (strategy 3 of access method 403), which only a superuser makes: the path of
// names may lead to a stranger's. Types that have none there are compared as one of the
// system's.
func (x *explainer) find(ctx context.Context, table string) error {
	var err error
	if x.table, err = resolve(ctx, x.tx, table); err != nil {
		return err
	}
	err = x.tx.QueryRow(ctx, `
		with recursive up (oid, depth) as (
			select $1::pg_catalog.oid, 0
			union
			select i.inhparent, up.depth operator(pg_catalog.+) 1 from up join pg_catalog.pg_inherits i on i.inhrelid operator(pg_catalog.=) up.oid
		)
		select f.id, f.key, pgbell.table_name(f.target), pgbell.table_name($1), array(
			select a.attname::pg_catalog.text from pg_catalog.pg_attribute a
			where a.attrelid operator(pg_catalog.=) $1 and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped order by a.attnum),
			array(select coalesce((select pg_catalog.format('operator(%I.%s)', n.nspname, o.oprname)
				from pg_catalog.pg_opclass c
				join pg_catalog.pg_amop m on m.amopfamily operator(pg_catalog.=) c.opcfamily and m.amoplefttype operator(pg_catalog.=) c.opcintype
					and m.amoprighttype operator(pg_catalog.=) c.opcintype and m.amopstrategy operator(pg_catalog.=) 3
				join pg_catalog.pg_operator o on o.oid operator(pg_catalog.=) m.amopopr
				join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) o.oprnamespace
				where c.opcintype operator(pg_catalog.=) pgbell.base_type(a.atttypid) and c.opcdefault and c.opcmethod operator(pg_catalog.=) 403),
				'operator(pg_catalog.=)')
			from pg_catalog.pg_attribute a
			where a.attrelid operator(pg_catalog.=) $1 and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped order by a.attnum)
		from pgbell.feed f join up on up.oid operator(pg_catalog.=) f.target
		order by up.depth limit 1`, x.table).Scan(&x.feed, &x.Key, &x.Table, &x.name, &x.columns, &x.equals)
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
	rows, err := x.tx.Query(ctx, fmt.Sprintf(`select tableoid, ctid::pg_catalog.text from %s where %s limit 2`, x.name, where), values...)
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
			where not exists (select from pg_catalog.pg_trigger t join pgbell.feed_functions($1) p on p.oid operator(pg_catalog.=) t.tgfoid
				where t.tgrelid operator(pg_catalog.=) $2 and t.tgenabled operator(pg_catalog.=) any ('{O,A}')
					and (t.tgtype operator(pg_catalog.&) o.bit) operator(pg_catalog.<>) 0)
			order by o.i)`, x.feed, x.tableoid).Scan(&x.Silent)
}

// definition is what the feed's triggers were made for, and what they are made of.
type definition struct {
	id       int32
	fields   [][2]string // name and kind
	settings []string    // of the triggers' functions, name=value
	values   []string    // in SQL, of a row r
	nulls    []string    // in SQL, whether the fields' columns are NULL
	scopes   string      // in SQL, for the bell
	known    []string    // columns of which it is recorded that they changed
	there    []string    // those of them that are as they were
	other    bool        // it is recorded, too, that some other column may have changed
}

func (x *explainer) definition(ctx context.Context) (definition, error) {
	var d definition
	var spec string
	// A feed's TRUNCATE is left out: what it is set to is no matter of values.
	err := x.tx.QueryRow(ctx, `
		select d.id, d.spec::pg_catalog.text,
			array(select distinct c.c from pgbell.feed_functions(f.id) p, pg_catalog.unnest(p.proconfig) c (c)
				where p.proname operator(pg_catalog.!~) '_truncate$'),
			pgbell.values_of(f, 'r'),
			array(select case when v.kind operator(pg_catalog.=) 'none' then 'true'
					else pg_catalog.format('pg_catalog.num_nulls(r.%I) operator(pg_catalog.=) 1', v.name) end
				from pg_catalog.unnest(f.fields) v),
			pgbell.scopes_of(f, 'r'),
			array(select c.name from pg_catalog.unnest(f.known) c), there.names,
			f.columns is null and (pgbell.kind(f.target) operator(pg_catalog.=) 'i'
				or pg_catalog.cardinality(there.names) operator(pg_catalog.<) pg_catalog.cardinality(f.known)
				or pgbell.has_column(f.target, (select pg_catalog.int4pl(coalesce(pg_catalog.max(c.attnum), 0), 1)
					from pg_catalog.unnest(f.known) c))),
			exists (select from pg_catalog.jsonb_object_keys(f.types) k (k) where k.k operator(pg_catalog.<>) all (there.names))
		from pgbell.feed f join pgbell.definition d on d.id operator(pg_catalog.=) f.definition,
			lateral (select array(select c.name from pg_catalog.unnest(pgbell.still_there(f.target, f.known)) c) as names) there
		where f.id operator(pg_catalog.=) $1`, x.feed).
		Scan(&d.id, &spec, &d.settings, &d.values, &d.nulls, &d.scopes, &d.known, &d.there, &d.other, &x.Drifted)
	if err != nil || x.Drifted {
		return d, err
	}
	x.Definition = json.RawMessage(spec)
	var wire struct{ Fields [][2]string }
	if err := json.Unmarshal(x.Definition, &wire); err != nil {
		return d, err
	}
	if d.fields = wire.Fields; len(d.fields) != len(d.values) {
		return d, errors.New("its triggers are of another version of pgbell: attach the table again")
	}
	return d, nil
}

// evaluate asks for the row's facts, and for the scopes that a writer would ring with.
// Texts of values depend on settings, which are those of the triggers' functions. They
// begin to hold when the row is read, for its policies are to see those of the session.
func (x *explainer) evaluate(ctx context.Context, d definition) (scopes []*string, err error) {
	var nulls []bool
	err = x.tx.QueryRow(ctx, fmt.Sprintf(`
		with found as materialized (select * from %s where tableoid operator(pg_catalog.=) %d and ctid operator(pg_catalog.=) %s),
		settings as materialized (
			select pg_catalog.count(pg_catalog.set_config(pg_catalog.split_part(c.c, '=', 1), pg_catalog.regexp_replace(c.c, '^[^=]*=', ''), true))
			from pg_catalog.unnest($1::pg_catalog.text[]) c (c) where exists (select from found))
		select array[%s]::pg_catalog.text[], array[%s], %s, pgbell.cursor()
		from found r cross join settings`,
		x.name, x.tableoid, quote(x.row), strings.Join(d.values, ", "), strings.Join(d.nulls, ", "), d.scopes), d.settings).
		Scan(&x.Facts, &nulls, &scopes, &x.Cursor)
	if err != nil {
		return nil, err
	}
	for i, f := range d.fields {
		x.values = append(x.values, value{name: f[0], kind: f[1], text: x.Facts[i], null: nulls[i]})
	}
	return scopes, nil
}

// example finds an op that is heard, and a column whose update tells of nothing but
// itself, if there is one.
func (x *explainer) example(d definition) error {
	for _, op := range []string{"update", "insert", "delete"} {
		if !slices.Contains(x.Silent, op) {
			x.Op = op
			break
		}
	}
	if x.Op == "" {
		return nil
	}
	if x.Recorded = x.Facts; x.Op != "update" {
		return nil
	}
	templates, err := scope.ParseAll(x.Feed.Scopes)
	if err != nil {
		return err
	}
	tells := func(column string) bool {
		return slices.Contains(x.Key, column) ||
			slices.ContainsFunc(x.Feed.Audience, func(e string) bool { return slices.Contains(scope.OwnerColumns(e), column) }) ||
			slices.ContainsFunc(templates, func(t scope.Template) bool { return slices.Contains(t.Columns(), column) })
	}
	switch plain := slices.IndexFunc(d.there, func(c string) bool { return !tells(c) }); {
	case len(x.Feed.Columns) > 0:
		x.Changed = x.Feed.Columns[0]
	case plain >= 0:
		x.Changed = d.there[plain]
	case len(d.there) > 0:
		x.Changed = d.there[len(d.there)-1]
	default: // the columns are all of a child
		x.Changed = x.columns[len(x.columns)-1]
	}
	x.Recorded = slices.Concat(x.Facts, x.Facts)
	for _, column := range d.known {
		var name *string
		if column == x.Changed {
			name = &column
		}
		x.Recorded = append(x.Recorded, name)
	}
	var other *string
	if d.other {
		other = new(string)
	}
	x.Recorded = append(x.Recorded, other)
	return nil
}

// notification asks for what the example would notify with. The scopes before an update
// are those after it, and each is sent once.
func (x *explainer) notification(ctx context.Context, d definition, scopes []*string) error {
	// An update looks at all columns. Where one is gone, it does not say which scopes.
	gone := x.Op == "update" && len(d.there) < len(d.known) && !x.Feed.Volatile
	switch {
	case x.Op == "", !gone && !slices.ContainsFunc(scopes, func(s *string) bool { return s != nil }):
		return nil
	case !x.Feed.Volatile:
		return x.tx.QueryRow(ctx, `select pgbell.payload($1, $2, case when not $4 then array[$3::pg_catalog.text[]] end)`,
			x.Table, x.Op, scopes, gone).Scan(&x.Notification)
	}
	return x.tx.QueryRow(ctx, `select pgbell.facts_payload($1, $2, $3, $4, $5)`,
		d.id, x.Table, x.Op, scopes, x.Recorded).Scan(&x.Notification)
}
