package triggers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/journal/scope"
)

// Proposal is what one might attach a table with, going by its definition.
type Proposal struct {
	Feed   Feed     // the table schema-qualified, with the scopes and the audience proposed
	Key    []string // the primary key's columns
	Scopes []Reason // why each scope of Feed, in that order
	Owners []Reason // why each element of Feed's audience
	// Members are the tables that say who is in the groups of Feed's audience, as one
	// might attach them.
	Members []Feed
	Former  *Feed // the feed that the table has already
	// Nullable are the columns of Feed's audience that may be null: of such a row nobody hears
	// by them.
	Nullable []string

	singular string // the table's name
}

// Reason says why something is proposed.
type Reason struct {
	What string `json:"what"` // a scope template, a column, or a template of groups
	Why  string `json:"why"`
}

// Propose looks at a table's keys and columns and proposes a feed:
//
//   - the table's own name as a scope, and one per row: the name in the singular
//     and the primary key, task:{id}. The singular is the name without its last s;
//     ies becomes y; ss, us, is and news stay;
//   - a scope per foreign key: project:{project_id}, by the column's name without
//     _id; else, and where the key has more columns, by the singular of the table
//     it refers to;
//   - one likewise per column named *_id that holds one id and has no foreign key,
//     but for the key itself;
//   - before the name of a table that is not in public stands its schema, if a table of
//     another schema has this name, too: crm.task:{id};
//   - as audience the columns that look like owners by their name, or by a foreign
//     key to a table of users, by its name or since it has a column such as email or
//     password. Those get no scope;
//   - as audience, too, a group per foreign key to a table with members: team:{team_id}.
//     A table of members has one foreign key to that, and a unique key of this column
//     and one that looks like an owner. If the table is one itself, Regroup names that.
//
// The table stays as it is. It takes no more rights than to list the feeds, and to
// use the table's schema.
func Propose(ctx context.Context, db Querier, table string) (Proposal, error) {
	p, err := propose(ctx, db, table)
	if err != nil {
		return Proposal{}, fmt.Errorf("look at %s: %w", table, actionable(err))
	}
	return p, nil
}

func propose(ctx context.Context, db Querier, table string) (Proposal, error) {
	oid, err := resolve(ctx, db, table)
	if err != nil {
		return Proposal{}, err
	}
	var (
		p          Proposal
		name, kind string
		prefix     string // of the name in scopes
		root       *string
	)
	err = db.QueryRow(ctx, `
		select pgbell.table_name(c.oid), c.relname::pg_catalog.text,
			array(select a.attname::pg_catalog.text
				from pg_catalog.pg_index x, pg_catalog.unnest(x.indkey::pg_catalog.int2[]) with ordinality k (n, i)
				join pg_catalog.pg_attribute a on a.attnum operator(pg_catalog.=) k.n
				where x.indrelid operator(pg_catalog.=) c.oid and x.indisprimary and a.attrelid operator(pg_catalog.=) c.oid
					and k.i operator(pg_catalog.<=) x.indnkeyatts order by k.i),
			c.relkind::pg_catalog.text,
			case when c.relispartition then pgbell.table_name(pg_catalog.pg_partition_root(c.oid)) end,
			(select `+sharedName+` from pg_catalog.pg_class r where r.oid operator(pg_catalog.=) c.oid)
		from pg_catalog.pg_class c where c.oid operator(pg_catalog.=) $1`, oid).Scan(&p.Feed.Table, &name, &p.Key, &kind, &root, &prefix)
	switch {
	case err != nil:
		return Proposal{}, err
	case kind != "r" && kind != "p":
		words := map[string]string{"v": "view", "m": "materialized view", "f": "foreign table"}
		return Proposal{}, fmt.Errorf("%s is a %s: only tables can be attached", p.Feed.Table, cmp.Or(words[kind], "thing of another kind"))
	case root != nil:
		return Proposal{}, fmt.Errorf("%s is a partition: attach %s, its changes are reported under that name", p.Feed.Table, *root)
	}
	foreign, err := foreignKeys(ctx, db, oid)
	if err != nil {
		return Proposal{}, err
	}
	columns, err := idColumns(ctx, db, oid)
	if err != nil {
		return Proposal{}, err
	}
	for _, c := range columns {
		if why := ownerBecause(c.name, foreign); why != "" {
			p.Feed.Audience = append(p.Feed.Audience, c.name)
			p.Owners = append(p.Owners, Reason{c.name, why})
			if c.nullable {
				p.Nullable = append(p.Nullable, c.name)
			}
		}
	}
	if err := p.groups(ctx, db, foreign); err != nil {
		return Proposal{}, err
	}
	p.singular = prefix + singular(name)
	own := literal(prefix + name)
	if scope.Reserved(own) {
		own = literal(p.Feed.Table)
	}
	p.scope(own, "any change of the table")
	if len(p.Key) > 0 {
		p.scope(template(p.singular, p.Key), "one row, by the primary key")
	}
	for _, f := range foreign {
		if len(f.columns) == 1 && slices.Contains(p.Feed.Audience, f.columns[0]) {
			continue
		}
		p.scope(template(f.name(), f.columns), "foreign key to "+f.table)
	}
	for _, c := range columns {
		bare, ok := strings.CutSuffix(c.name, "_id")
		refers := slices.ContainsFunc(foreign, func(f foreignKey) bool { return slices.Contains(f.columns, c.name) })
		if ok && bare != "" && !c.array && !refers && !slices.Contains(p.Feed.Audience, c.name) && !slices.Equal(p.Key, []string{c.name}) {
			p.scope(template(bare, []string{c.name}), "by its name")
		}
	}
	if former, ok, err := Get(ctx, db, p.Feed.Table); err != nil {
		return Proposal{}, err
	} else if ok {
		p.Former = &former
	}
	return p, nil
}

func (p *Proposal) scope(template, why string) {
	if slices.Contains(p.Feed.Scopes, template) || checkTemplate(template) != nil { // a column's name may have braces
		return
	}
	p.Feed.Scopes = append(p.Feed.Scopes, template)
	p.Scopes = append(p.Scopes, Reason{template, why})
}

// idColumn is a column that may hold an id, or an array of them.
type idColumn struct {
	name            string
	array, nullable bool
}

// idColumns looks through domains by itself: pgbell.base_type is not for everybody.
func idColumns(ctx context.Context, db Querier, table uint32) ([]idColumn, error) {
	rows, err := db.Query(ctx, `
		with recursive step (oid, base) as (
			select t.oid, t.oid from pg_catalog.pg_type t
			union all
			select s.oid, t.typbasetype from step s join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) s.base where t.typtype operator(pg_catalog.=) 'd'
		), bases (oid, base, category, element) as (
			select s.oid, s.base, t.typcategory, t.typelem
			from step s join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) s.base where t.typtype operator(pg_catalog.<>) 'd'
		)
		select a.attname::pg_catalog.text, t.category operator(pg_catalog.=) 'A', not a.attnotnull
		from pg_catalog.pg_attribute a
		join bases t on t.oid operator(pg_catalog.=) a.atttypid
		join bases e on e.oid operator(pg_catalog.=) case when t.category operator(pg_catalog.=) 'A' then t.element else t.base end
		where a.attrelid operator(pg_catalog.=) $1 and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped and a.attgenerated operator(pg_catalog.<>) 'v'
			and (e.category operator(pg_catalog.=) 'S' or e.base operator(pg_catalog.=) any
				('{pg_catalog.uuid,pg_catalog.int2,pg_catalog.int4,pg_catalog.int8,pg_catalog.numeric}'::pg_catalog.regtype[]))
		order by a.attnum`, table)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c idColumn, err error) {
		return c, row.Scan(&c.name, &c.array, &c.nullable)
	})
}

// ownerNames are columns that hold who a row is for, in the singular.
var ownerNames = []string{"owner", "user", "member", "created_by", "assigned_to", "assignee", "author", "creator", "participant", "recipient"}

// userTables are tables of users, in the singular.
var userTables = []string{"user", "account", "person", "people", "profile", "member", "app_user"}

// ownerBecause says why a column looks like an owner; empty if it doesn't.
func ownerBecause(column string, foreign []foreignKey) string {
	for _, f := range foreign {
		switch {
		case !slices.Equal(f.columns, []string{column}):
		case slices.Contains(userTables, strings.ToLower(singular(f.refers))):
			return "foreign key to " + f.table
		case f.login != "":
			return fmt.Sprintf("foreign key to %s, which has %s", f.table, f.login)
		}
	}
	name := strings.ToLower(column)
	for _, suffix := range []string{"_ids", "_id", "_uuids", "_uuid"} {
		if bare, ok := strings.CutSuffix(name, suffix); ok {
			name = bare
			break
		}
	}
	if slices.Contains(ownerNames, singular(name)) {
		return "by its name"
	}
	return ""
}

// singular is guesswork, by a rule that can be said in a line: see Propose.
func singular(name string) string {
	if bare, ok := strings.CutSuffix(name, "ies"); ok && bare != "" {
		return bare + "y"
	}
	for _, ending := range []string{"ss", "us", "is", "news"} {
		if strings.HasSuffix(name, ending) {
			return name
		}
	}
	if bare, ok := strings.CutSuffix(name, "s"); ok && bare != "" {
		return bare
	}
	return name
}

// template is a scope of a name and columns: task:{id}.
func template(name string, columns []string) string {
	return literal(name) + ":{" + strings.Join(columns, "}:{") + "}"
}

// literal writes text in a template so that it stands for itself.
func literal(text string) string {
	return strings.NewReplacer("{", "{{", "}", "}}").Replace(text)
}

// Attachable returns the tables of a schema that can be attached, with it, by name: no partitions.
// It's an error if there is no such schema.
func Attachable(ctx context.Context, db Querier, schema string) ([]string, error) {
	var tables []string
	err := db.QueryRow(ctx, `
		select array(select pgbell.table_name(c.oid) from pg_catalog.pg_class c
			where c.relnamespace operator(pg_catalog.=) n.oid and c.relkind operator(pg_catalog.=) any ('{r,p}') and not c.relispartition
			order by c.relname)
		from pg_catalog.pg_namespace n where n.nspname operator(pg_catalog.=) $1`, schema).Scan(&tables)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("there is no schema %s", schema)
	}
	return tables, err
}
