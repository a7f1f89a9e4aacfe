package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/triggers"
)

// smallTable is the size in bytes up to which reading all of a table costs nothing.
const smallTable = 64 << 10

// checkTable looks at what the table of a feed lacks. None of it is wrong.
func checkTable(ctx context.Context, tx pgx.Tx, f triggers.Feed) ([]finding, error) {
	var all []finding
	p, err := triggers.Propose(ctx, tx, f.Table)
	if err != nil {
		return nil, err
	}
	if len(p.Key) == 0 {
		remedy, err := keySQL(ctx, tx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, finding{note, "", "has no primary key: its events don't say which row changed", remedy})
	}
	if f.Audience == nil {
		x := finding{note, "", "has no audience: everyone may hear of its rows", ""}
		if owners := p.Feed.Audience; len(owners) > 0 {
			own := f
			own.Audience = owners
			x.Words += ", though " + strings.Join(owners, ", ") + " looks like an owner"
			x.Remedy = attachSQL(own)
		}
		all = append(all, x)
	}
	advice, err := indexAdvice(ctx, tx, f, p.Key)
	return append(all, advice...), err
}

// keySQL gives a table a primary key: by a unique index that could be one, else by
// its column id, else by a new one.
func keySQL(ctx context.Context, tx pgx.Tx, f triggers.Feed) (string, error) {
	var (
		index string
		hasID bool
	)
	if err := tx.QueryRow(ctx, `select exists (select from pg_attribute a where a.attrelid = to_regclass($1) and a.attname = 'id')`, f.Table).Scan(&hasID); err != nil {
		return "", err
	}
	err := tx.QueryRow(ctx, `
		select quote_ident(i.relname) from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class c on c.oid = x.indrelid
		where x.indrelid = to_regclass($1) and c.relkind = 'r' and x.indisunique and x.indisvalid and x.indimmediate and x.indpred is null and x.indexprs is null
			and not exists (select from unnest(x.indkey::int2[]) k (k) join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.k and not a.attnotnull)
		order by x.indnatts, i.relname limit 1`, f.Table).Scan(&index)
	sql := "alter table " + f.Table
	switch {
	case errors.Is(err, pgx.ErrNoRows) && hasID:
		sql += " add primary key (id); "
	case errors.Is(err, pgx.ErrNoRows):
		sql += " add column id bigint generated always as identity primary key; "
	case err != nil:
		return "", err
	default:
		sql += " add primary key using index " + index + "; "
	}
	return sql + attachSQL(f), nil
}

// indexAdvice names the columns by which pages will fetch again what they show, and
// for which there is no index: those of each scope, and those that hold one owner.
func indexAdvice(ctx context.Context, tx pgx.Tx, f triggers.Feed, key []string) ([]finding, error) {
	var (
		size    int64
		kind    string
		arrays  []string
		indexes [][]string
	)
	err := tx.QueryRow(ctx, `
		with recursive tree (relid) as (
			select $1::text::regclass::oid union select i.inhrelid from tree t join pg_inherits i on i.inhparent = t.relid
		)
		select (select coalesce(sum(pg_relation_size(t.relid)), 0) from tree t), c.relkind::text,
			array(select a.attname::text from pg_attribute a join pg_type t on t.oid = a.atttypid where a.attrelid = c.oid and a.attnum > 0 and t.typcategory = 'A')
		from pg_class c where c.oid = $1::text::regclass`, f.Table).Scan(&size, &kind, &arrays)
	if err != nil || size <= smallTable {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		select array(select coalesce(a.attname::text, '') from unnest(x.indkey::int2[]) with ordinality k (k, i)
			left join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.k and k.k > 0 where k.i <= x.indnkeyatts order by k.i)
		from pg_index x where x.indrelid = to_regclass($1) and x.indisvalid and x.indpred is null`, f.Table)
	if err != nil {
		return nil, err
	}
	if indexes, err = pgx.CollectRows(rows, pgx.RowTo[[]string]); err != nil {
		return nil, err
	}
	var all []finding
	var advised [][]string
	advise := func(by string, columns []string) {
		covers := func(index []string) bool {
			return len(index) >= len(columns) && !slices.ContainsFunc(columns, func(c string) bool { return !slices.Contains(index[:len(columns)], c) })
		}
		if len(columns) == 0 || slices.ContainsFunc(append(indexes, advised...), covers) {
			return
		}
		advised = append(advised, columns)
		names := make([]string, len(columns))
		for i, c := range columns {
			names[i] = quoteIdentifier(c)
		}
		how := "create index concurrently on"
		if kind == "p" { // CONCURRENTLY is not for partitioned tables
			how = "create index on"
		}
		all = append(all, finding{note, "", fmt.Sprintf("no index begins with %s: a page of %s that fetches again reads the whole table", strings.Join(columns, ", "), by),
			fmt.Sprintf("%s %s (%s);", how, f.Table, strings.Join(names, ", "))})
	}
	for _, template := range f.Scopes {
		columns := templateColumns(template)
		slices.Sort(columns)
		advise(template, slices.Compact(columns))
	}
	for _, element := range f.Audience {
		by, columns := "one user's rows", scope.OwnerColumns(element)
		if scope.IsGroup(element) {
			by = "one group's rows"
			slices.Sort(columns)
			columns = slices.Compact(columns)
		}
		if !slices.ContainsFunc(columns, func(c string) bool { return slices.Contains(arrays, c) || slices.Contains(key, c) }) {
			advise(by, columns)
		}
	}
	return all, nil
}
