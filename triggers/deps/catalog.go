package deps

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"
)

// firstNormal is the first oid that is no part of Postgres itself
// (FirstNormalObjectId, src/include/access/transam.h).
const firstNormal = 16384

// catalog answers questions about what a tree names by its oid, each once. The first
// question that fails is kept, and ends the analysis.
type catalog struct {
	ctx context.Context
	tx  pgx.Tx
	err error

	equals    map[uint32]bool // operators that are true of equal text alone
	loose     map[uint32]bool // collations by which different texts are equal
	utf8      bool            // the server's encoding
	relations map[uint32]*relation
	functions map[uint32]*function
	classes   map[uint32]class
	trees     map[uint32]any // of views
}

// relation is what a query may read.
type relation struct {
	oid      uint32
	name     string // with its schema, quoted where needed
	kind     string // pg_class.relkind
	own      bool   // it is neither the system's, nor pgbell's, nor temporary
	columns  []string
	types    []uint32 // of the columns; 0 of one that was dropped
	root     uint32   // of a partition
	rootName string
	children []uint32       // by inheritance
	key      []string       // columns of the primary key
	secured  bool           // by row security: not everybody sees all rows
	policies []string       // of row security, for those who read
	virtual  map[int]string // columns that are computed when they are read

	collations []uint32 // of the columns
}

type function struct {
	name       string // with its schema and its arguments
	language   string
	volatility string
	body       string // of begin atomic, or of return
	defaults   string
	arguments  int
	parts      []uint32 // an aggregate's functions
	comment    string
}

func newCatalog(ctx context.Context, tx pgx.Tx) (*catalog, error) {
	c := &catalog{
		ctx: ctx, tx: tx, equals: map[uint32]bool{}, loose: map[uint32]bool{}, relations: map[uint32]*relation{},
		functions: map[uint32]*function{}, classes: maps.Clone(builtin), trees: map[uint32]any{},
	}
	var equals, loose []uint32
	err := tx.QueryRow(ctx, `
		select pg_encoding_to_char(d.encoding) = 'UTF8',
			array(select o.oid
				from pg_am m join pg_amop a on a.amopmethod = m.oid join pg_operator o on o.oid = a.amopopr
				where m.amname = 'btree' and a.amopstrategy = 3 and o.oid < $1
					and o.oprleft = any (t.t) and o.oprright = any (t.t)),
			array(select oid from pg_collation where not collisdeterministic)
		from pg_database d,
			(values ('{smallint,integer,bigint,text,name,uuid,boolean,date,anyenum}'::regtype[])) t (t)
		where d.datname = current_database()`, firstNormal).Scan(&c.utf8, &equals, &loose)
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	for _, oid := range equals {
		c.equals[oid] = true
	}
	for _, oid := range loose {
		c.loose[oid] = true
	}
	return c, nil
}

// ask fails c if there is no row, too: what a tree names may go while it is read.
func (c *catalog) ask(what, sql string, oid uint32, into ...any) bool {
	if c.err != nil {
		return false
	}
	err := c.tx.QueryRow(c.ctx, sql, oid).Scan(into...)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("there is no %s %d", what, oid)
	}
	if err != nil {
		c.err = fmt.Errorf("read the catalog: %w", err)
	}
	return err == nil
}

func (c *catalog) relation(oid uint32) *relation {
	if r, ok := c.relations[oid]; ok {
		return r
	}
	r := &relation{oid: oid, virtual: map[int]string{}}
	c.relations[oid] = r
	var numbers []int
	var expressions []string
	c.ask("relation", `
		select format('%I.%I', n.nspname, c.relname), c.relkind::text,
			c.oid >= 16384 and c.relpersistence <> 't' and n.nspname <> all ('{pg_catalog,information_schema,pgbell}'),
			array(select case when a.attisdropped then '' else a.attname::text end from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 order by a.attnum),
			array(select a.atttypid from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 order by a.attnum),
			array(select a.attcollation from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 order by a.attnum), c.relrowsecurity,
			coalesce(r.oid, 0), coalesce(quote_ident(s.nspname) || '.' || quote_ident(r.relname), ''),
			array(select i.inhrelid from pg_inherits i where i.inhparent = c.oid and c.relkind = 'r' order by 1),
			array(select p.polqual::text from pg_policy p
				where p.polrelid = c.oid and c.relrowsecurity and p.polcmd in ('r', '*') and p.polqual is not null order by p.oid),
			array(select a.attname::text from pg_index x join pg_attribute a on a.attrelid = x.indrelid and a.attnum = any (x.indkey)
				where x.indrelid = c.oid and x.indisprimary),
			array(select a.attnum from pg_attribute a where a.attrelid = c.oid and a.attgenerated = 'v' order by 1),
			array(select d.adbin::text from pg_attribute a join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
				where a.attrelid = c.oid and a.attgenerated = 'v' order by a.attnum)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		left join pg_class r on c.relispartition and r.oid = pg_partition_root(c.oid) left join pg_namespace s on s.oid = r.relnamespace
		where c.oid = $1`, oid,
		&r.name, &r.kind, &r.own, &r.columns, &r.types, &r.collations, &r.secured, &r.root, &r.rootName, &r.children, &r.policies, &r.key, &numbers, &expressions)
	for i, n := range numbers {
		r.virtual[n] = expressions[i]
	}
	return r
}

func (c *catalog) function(oid uint32) *function {
	if f, ok := c.functions[oid]; ok {
		return f
	}
	f := &function{}
	c.functions[oid] = f
	c.ask("function", `
		select p.oid::regprocedure::text, l.lanname, p.provolatile::text, coalesce(p.prosqlbody::text, ''),
			coalesce(p.proargdefaults::text, ''), p.pronargs,
			array(select x::oid from pg_aggregate a, unnest(array[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
				a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]) x where a.aggfnoid = p.oid and x <> 0::regproc),
			coalesce(obj_description(p.oid, 'pg_proc'), '')
		from pg_proc p join pg_language l on l.oid = p.prolang where p.oid = $1`, oid,
		&f.name, &f.language, &f.volatility, &f.body, &f.defaults, &f.arguments, &f.parts, &f.comment)
	return f
}

// code returns the function of an operator.
func (c *catalog) code(operator uint32) (oid uint32) {
	c.ask("operator", "select oprcode::oid from pg_operator where oid = $1", operator, &oid)
	return oid
}

// view returns the queries of a view's rule.
func (c *catalog) view(oid uint32) any {
	if v, ok := c.trees[oid]; ok {
		return v
	}
	var text string
	c.ask("view", "select ev_action::text from pg_rewrite where ev_class = $1 and rulename = '_RETURN'", oid, &text)
	v := c.read(text)
	c.trees[oid] = v
	return v
}

// read reads a tree, unless something failed before.
func (c *catalog) read(text string) any {
	if c.err != nil {
		return nil
	}
	v, err := read(text)
	c.err = err
	return v
}

// class says as what values of a type can be compared.
func (c *catalog) class(typ uint32) class {
	if k, ok := c.classes[typ]; ok || typ < firstNormal {
		return k
	}
	var base uint32
	var kind string
	c.ask("type", `
		with recursive step (oid) as (
			select $1::oid union all select t.typbasetype from step s join pg_type t on t.oid = s.oid where t.typtype = 'd'
		)
		select t.oid, t.typtype::text from step s join pg_type t on t.oid = s.oid where t.typtype <> 'd'`, typ, &base, &kind)
	k := builtin[base]
	if kind == "e" {
		k = class(fmt.Sprint("enum ", base))
	}
	c.classes[typ] = k
	return k
}

// table returns the oid of a table by its name with the schema; 0 if there is none.
func (c *catalog) table(name string) uint32 {
	var oid *uint32
	if c.err == nil {
		if err := c.tx.QueryRow(c.ctx, "select to_regclass($1)::oid", name).Scan(&oid); err != nil {
			c.err = fmt.Errorf("read the catalog: %w", err)
		}
	}
	if oid == nil {
		return 0
	}
	return *oid
}

func (c *catalog) label(oid uint32) (label string) {
	c.ask("enum value", "select enumlabel::text from pg_enum where oid = $1", oid, &label)
	return label
}
