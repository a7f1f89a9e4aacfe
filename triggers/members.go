package triggers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/journal/scope"
)

// membership is a table that says who is in which group of another one's: it has one foreign
// key to that, and a unique key of this column and one that looks like an owner.
type membership struct {
	table string // with its schema
	name  string // bare
	user  string // column
}

// feed is what one might attach the table with, so that it tells who comes and goes.
func (m membership) feed() Feed {
	own := literal(m.name)
	if scope.Reserved(own) {
		own = literal(m.table)
	}
	return Feed{Table: m.table, Scopes: []string{own}, Audience: []string{m.user}, Regroup: m.user}
}

// memberships returns the tables that say who is in which group of the table that f refers
// to, by the columns that f refers to.
func memberships(ctx context.Context, db Querier, f foreignKey) ([]membership, error) {
	rows, err := db.Query(ctx, `
		select m.oid, pgbell.table_name(m.oid), m.relname::pg_catalog.text, a.attname::pg_catalog.text
		from pg_catalog.pg_constraint k join pg_catalog.pg_class m on m.oid operator(pg_catalog.=) k.conrelid
		join pg_catalog.pg_index x on x.indrelid operator(pg_catalog.=) m.oid and x.indisunique and x.indpred is null and x.indnkeyatts operator(pg_catalog.=) 2
			and k.conkey[1] operator(pg_catalog.=) any (array[x.indkey[0], x.indkey[1]])
		join pg_catalog.pg_attribute a on a.attrelid operator(pg_catalog.=) m.oid
			and a.attnum operator(pg_catalog.=) case when x.indkey[0] operator(pg_catalog.=) k.conkey[1] then x.indkey[1] else x.indkey[0] end
		where k.confrelid operator(pg_catalog.=) $1 and k.confkey operator(pg_catalog.=) $2::pg_catalog.int2[]
			and k.contype operator(pg_catalog.=) 'f' and k.conparentid operator(pg_catalog.=) 0 and not m.relispartition
			and (select pg_catalog.count(*) from pg_catalog.pg_constraint o where o.conrelid operator(pg_catalog.=) m.oid
				and o.confrelid operator(pg_catalog.=) k.confrelid and o.contype operator(pg_catalog.=) 'f'
				and o.conparentid operator(pg_catalog.=) 0) operator(pg_catalog.=) 1
		order by 2, 4`, f.oid, f.to)
	if err != nil {
		return nil, err
	}
	type candidate struct {
		oid uint32
		membership
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
		return c, row.Scan(&c.oid, &c.table, &c.name, &c.user)
	})
	if err != nil {
		return nil, err
	}
	var found []membership
	for _, c := range all {
		foreign, err := foreignKeys(ctx, db, c.oid)
		if err != nil {
			return nil, err
		}
		if ownerBecause(c.user, foreign) != "" && !slices.Contains(found, c.membership) {
			found = append(found, c.membership)
		}
	}
	return found, nil
}

// groups proposes a group for each foreign key to a table that has members, and for a table
// of members itself that it says when somebody's groups change.
func (p *Proposal) groups(ctx context.Context, db Querier, foreign []foreignKey) error {
	for _, f := range foreign {
		if len(f.columns) > 1 || slices.Contains(p.Feed.Audience, f.columns[0]) {
			continue
		}
		members, err := memberships(ctx, db, f)
		if err != nil {
			return err
		}
		var tables []string
		for _, m := range members {
			if m.table == p.Feed.Table {
				p.Feed.Regroup = m.user
				continue
			}
			tables = append(tables, m.table)
			if !slices.ContainsFunc(p.Members, func(f Feed) bool { return f.Table == m.table }) {
				p.Members = append(p.Members, m.feed())
			}
		}
		group := template(singular(f.refers), f.columns)
		if _, err := scope.ParseGroup(group); len(tables) == 0 || err != nil { // a column's name may have braces
			continue
		}
		p.Feed.Audience = append(p.Feed.Audience, group)
		p.Owners = append(p.Owners, Reason{group, fmt.Sprintf("foreign key to %s, whose members are in %s", f.table, strings.Join(tables, " and "))})
	}
	return nil
}
