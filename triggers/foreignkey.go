package triggers

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// foreignKey is one of a table's foreign keys.
type foreignKey struct {
	columns []string
	oid     uint32 // of the table it refers to
	to      []int16
	table   string // with its schema
	refers  string // bare
}

func foreignKeys(ctx context.Context, db Querier, table uint32) ([]foreignKey, error) {
	// Those of a partitioned table have copies for the partitions they refer to.
	rows, err := db.Query(ctx, `
		select array(select a.attname::pg_catalog.text from pg_catalog.unnest(k.conkey) with ordinality x (n, i)
				join pg_catalog.pg_attribute a on a.attrelid operator(pg_catalog.=) k.conrelid and a.attnum operator(pg_catalog.=) x.n order by x.i),
			r.oid, k.confkey, pgbell.table_name(r.oid), r.relname::pg_catalog.text
		from pg_catalog.pg_constraint k join pg_catalog.pg_class r on r.oid operator(pg_catalog.=) k.confrelid
		where k.conrelid operator(pg_catalog.=) $1 and k.contype operator(pg_catalog.=) 'f' and k.conparentid operator(pg_catalog.=) 0
		order by k.conkey, k.conname`, table)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f foreignKey, err error) {
		return f, row.Scan(&f.columns, &f.oid, &f.to, &f.table, &f.refers)
	})
}

func (f foreignKey) name() string {
	if len(f.columns) == 1 {
		if bare, ok := strings.CutSuffix(f.columns[0], "_id"); ok && bare != "" {
			return bare
		}
	}
	return singular(f.refers)
}
