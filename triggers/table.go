package triggers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// MissingTableError says that a table does not exist, and which ones it may
// have meant.
type MissingTableError struct {
	Table string
	Near  []string // nearest first, schema-qualified and quoted where needed; may be empty
}

func (e *MissingTableError) Error() string {
	if len(e.Near) == 0 {
		return fmt.Sprintf("table %s does not exist: check the database, and write schema.table if its schema is not in the search_path", e.Table)
	}
	return fmt.Sprintf("table %s does not exist: did you mean %s?", e.Table, strings.Join(e.Near, " or "))
}

// resolve returns the oid of a table named as psql would accept it, or by its
// oid: a dropped table has no other name. It asks with to_regclass, as an error
// would end the caller's transaction. This looks by the caller's path of names; all
// other SQL of this package names the schema of what it calls, operators too, since
// in that path there may be what strangers made.
func resolve(ctx context.Context, db Querier, table string) (uint32, error) {
	if n, err := strconv.ParseUint(table, 10, 32); err == nil {
		return uint32(n), nil
	}
	var oid *uint32
	if err := db.QueryRow(ctx, `select pg_catalog.to_regclass($1)::pg_catalog.oid`, table).Scan(&oid); err != nil {
		if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == "42602" { // invalid_name
			err = fmt.Errorf("%w: quote it as SQL does: '%s'", err, quotedName(table))
		}
		return 0, err
	}
	if oid != nil {
		return *oid, nil
	}
	near, err := nearTables(ctx, db, table)
	if err != nil {
		return 0, fmt.Errorf("look for tables named like %s: %w", table, err)
	}
	return 0, &MissingTableError{Table: table, Near: near}
}

// quotedName quotes a name as it was perhaps meant: without quotes, its first dot
// ends the schema.
func quotedName(table string) string {
	parts := strings.SplitN(strings.ReplaceAll(table, `"`, ""), ".", 2)
	return pgx.Identifier(parts).Sanitize()
}

// nearTables returns at most three tables whose name is near to the given one.
func nearTables(ctx context.Context, db Querier, table string) ([]string, error) {
	rows, err := db.Query(ctx, `
		select c.relname::pg_catalog.text, pg_catalog.format('%I.%I', n.nspname, c.relname)
		from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
		where c.relkind operator(pg_catalog.=) any ('{r,p}') and not c.relispartition
		  and n.nspname operator(pg_catalog.<>) all ('{information_schema,pgbell}') and n.nspname operator(pg_catalog.!~) '^pg_'
		order by c.relname, n.nspname
		limit 10000`)
	if err != nil {
		return nil, err
	}
	type candidate struct {
		name, qualified string
		distance        int
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
		err = row.Scan(&c.name, &c.qualified)
		return c, err
	})
	if err != nil {
		return nil, err
	}
	want := bareName(table)
	limit := max(1, len([]rune(want))/3)
	var near []candidate
	for _, c := range all {
		if c.distance = distance(want, strings.ToLower(c.name)); c.distance <= limit {
			near = append(near, c)
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return a.distance - b.distance })
	var names []string
	for _, c := range near[:min(3, len(near))] {
		names = append(names, c.qualified)
	}
	return names, nil
}

// bareName returns the last part of a table name in lower case, without quotes:
// good enough to compare by.
func bareName(table string) string {
	name := strings.ToLower(strings.TrimSpace(table))
	if open := strings.Index(name, `"`); open >= 0 && strings.HasSuffix(name, `"`) {
		if dot := strings.LastIndex(name, `."`); dot >= 0 {
			open = dot + 1
		}
		return strings.ReplaceAll(strings.Trim(name[open:], `"`), `""`, `"`)
	}
	return name[strings.LastIndex(name, ".")+1:]
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	var before, last []int
	row := make([]int, len(t)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(s); i++ {
		before, last, row = last, row, make([]int, len(t)+1)
		row[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(t)]
}
