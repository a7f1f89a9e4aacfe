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
	login   string // a column by which somebody of that table signs in; "" if there is none
	prefix  string // of scopes by that table's name: see sharedName
}

func foreignKeys(ctx context.Context, db Querier, table uint32) ([]foreignKey, error) {
	// Those of a partitioned table have copies for the partitions they refer to.
	rows, err := db.Query(ctx, `
		select array(select a.attname::pg_catalog.text from pg_catalog.unnest(k.conkey) with ordinality x (n, i)
				join pg_catalog.pg_attribute a on a.attrelid operator(pg_catalog.=) k.conrelid and a.attnum operator(pg_catalog.=) x.n order by x.i),
			r.oid, k.confkey, pgbell.table_name(r.oid), r.relname::pg_catalog.text, coalesce((
				select a.attname::pg_catalog.text from pg_catalog.pg_attribute a
				where a.attrelid operator(pg_catalog.=) r.oid and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
					and r.oid operator(pg_catalog.<>) k.conrelid and pg_catalog.lower(a.attname::pg_catalog.text) operator(pg_catalog.=) any ($2::pg_catalog.text[])
				order by a.attnum limit 1), ''), `+sharedName+`
		from pg_catalog.pg_constraint k join pg_catalog.pg_class r on r.oid operator(pg_catalog.=) k.confrelid
		where k.conrelid operator(pg_catalog.=) $1 and k.contype operator(pg_catalog.=) 'f' and k.conparentid operator(pg_catalog.=) 0
		order by k.conkey, k.conname`, table, loginColumns)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f foreignKey, err error) {
		return f, row.Scan(&f.columns, &f.oid, &f.to, &f.table, &f.refers, &f.login, &f.prefix)
	})
}

func (f foreignKey) name() string {
	if len(f.columns) == 1 {
		if bare, ok := strings.CutSuffix(f.columns[0], "_id"); ok && bare != "" {
			return f.prefix + bare
		}
	}
	return f.prefix + singular(f.refers)
}

// loginColumns are columns of a table whose rows sign in.
var loginColumns = []string{
	"email", "e_mail", "email_address", "login", "username", "user_name",
	"password", "password_hash", "password_digest", "hashed_password", "encrypted_password", "passwd",
}

// sharedName is SQL for what stands before the name of table r in a scope: its schema, if that is
// not public, and another schema has a table of this name.
const sharedName = `coalesce((
		select s.nspname::pg_catalog.text operator(pg_catalog.||) '.' from pg_catalog.pg_namespace s
		where s.oid operator(pg_catalog.=) r.relnamespace and s.nspname operator(pg_catalog.<>) 'public' and exists (
			select from pg_catalog.pg_class o join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) o.relnamespace
			where o.relname operator(pg_catalog.=) r.relname and o.oid operator(pg_catalog.<>) r.oid
				and o.relkind operator(pg_catalog.=) any ('{r,p}') and not o.relispartition
				and n.nspname operator(pg_catalog.<>) all ('{pg_catalog,information_schema,pgbell}') and not pg_catalog.pg_is_other_temp_schema(n.oid))), '')`
