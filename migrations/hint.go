package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// hint adds to an error of the server's what to do if it comes from an event trigger of the
// database's whose function names without a schema what isn't found. A migration can't go
// without a search_path of its own: what it makes is bound by that.
func hint(ctx context.Context, db *sql.DB, err error) {
	pgErr := (*pgconn.PgError)(nil)
	undefined := []string{"42P01", "42883", "42704"} // table, function, object
	if !errors.As(err, &pgErr) || !slices.Contains(undefined, pgErr.Code) {
		return
	}
	var trigger, function, schema string
	if db.QueryRowContext(ctx, `select pg_catalog.quote_ident(e.evtname), x.function, pg_catalog.quote_ident(n.nspname)
		from pg_catalog.pg_event_trigger e join pg_catalog.pg_proc p on p.oid operator(pg_catalog.=) e.evtfoid
		join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) p.pronamespace,
		lateral (select pg_catalog.format('%I.%I()', n.nspname, p.proname) as function) x
		where pg_catalog.strpos($1, pg_catalog.format(' %s ', x.function)) operator(pg_catalog.>) 0 limit 1`,
		pgErr.Where).Scan(&trigger, &function, &schema) == nil {
		pgErr.Hint = fmt.Sprintf("The function of event trigger %s looks that up by the search_path, here pg_catalog, pg_temp: alter function %s set search_path = %s",
			trigger, function, schema)
	}
}
