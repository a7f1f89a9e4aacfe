package triggers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Feed is one attached table: which scopes its changes go to, and who may hear
// of them. Only Table and Scopes are required.
type Feed struct {
	// Table as psql would accept it: tasks, app.tasks, "Odd Name". List gives it
	// schema-qualified.
	Table string
	// Scopes are the scope templates, such as project:{project_id}.
	Scopes []string
	// Audience names the ownership columns, or groups by a template such as
	// team:{team_id}. Nil means that everyone may hear.
	Audience []string
	// Columns limits which columns' changes make an UPDATE count. Nil means any.
	Columns []string
	// Payload names the columns whose values travel with the event. Nil means none.
	Payload []string
	// Volatile keeps the feed out of the journal: pgbell.attach's durable => false.
	// Its changes are lost while nobody listens, and audience and key travel
	// through NOTIFY, where every role of the cluster's database can read them.
	Volatile bool
	// Regroup names a column of user ids: the table says which groups these users are in,
	// so that each change of it has them asked for again. Empty means that it says none.
	Regroup string
	// State is "ok" or what is wrong with the feed. List fills it, Attach ignores it.
	State string
}

// Querier is what a *pgx.Conn, a pgx.Tx and a *pgxpool.Pool have in common.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// arguments are those of pgbell.attach and pgbell.preview, bound to the system's types.
const arguments = `($1::pg_catalog.oid::pg_catalog.regclass, $2::pg_catalog.text[], $3::pg_catalog.text[],
	$4::pg_catalog.text[], $5::pg_catalog.text[], $6, $7::pg_catalog.text)`

// values are those of f for arguments.
func (f Feed) values(table uint32) []any {
	var regroup *string
	if f.Regroup != "" {
		regroup = &f.Regroup
	}
	return []any{table, f.Scopes, f.Audience, f.Columns, f.Payload, !f.Volatile, regroup}
}

// Attach attaches f's table, or replaces its feed if it has one. A table that
// does not exist is a *MissingTableError, which names the nearest ones.
func Attach(ctx context.Context, db Querier, f Feed) error {
	if err := f.Validate(); err != nil {
		return fmt.Errorf("attach %s: %w", f.Table, err)
	}
	table, err := resolve(ctx, db, f.Table)
	if err != nil {
		return fmt.Errorf("attach %s: %w", f.Table, err)
	}
	if err := exec(ctx, db, "select pgbell.attach"+arguments, f.values(table)...); err != nil {
		return fmt.Errorf("attach %s: %w", f.Table, actionable(err))
	}
	return nil
}

// Preview returns the statements by which Attach would make the functions and the
// triggers of f, for a person to read: it makes nothing, and locks nothing. Its errors
// are those of Attach. If another Attach comes first, the numbers in their names will
// be others.
func Preview(ctx context.Context, db Querier, f Feed) ([]string, error) {
	if err := f.Validate(); err != nil {
		return nil, fmt.Errorf("attach %s: %w", f.Table, err)
	}
	table, err := resolve(ctx, db, f.Table)
	if err != nil {
		return nil, fmt.Errorf("attach %s: %w", f.Table, err)
	}
	rows, err := db.Query(ctx, "select pgbell.preview"+arguments, f.values(table)...)
	if err != nil {
		return nil, fmt.Errorf("attach %s: %w", f.Table, actionable(err))
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("attach %s: %w", f.Table, actionable(err))
	}
	return statements, nil
}

// Detach removes the feed of a table with everything that Attach made, and says
// whether there was one.
func Detach(ctx context.Context, db Querier, table string) (bool, error) {
	oid, err := resolve(ctx, db, table)
	if err != nil {
		return false, fmt.Errorf("detach %s: %w", table, err)
	}
	var was bool
	if err := db.QueryRow(ctx, `select pgbell.detach($1::pg_catalog.oid::pg_catalog.regclass)`, oid).Scan(&was); err != nil {
		return false, fmt.Errorf("detach %s: %w", table, actionable(err))
	}
	return was, nil
}

const selectFeeds = `select table_name::pg_catalog.text, scopes, audience, columns, payload, durable, coalesce(regroup, ''), state from pgbell.feeds`

// List returns all feeds of the database, by table name.
func List(ctx context.Context, db Querier) ([]Feed, error) {
	rows, err := db.Query(ctx, selectFeeds+` order by 1`)
	if err == nil {
		var feeds []Feed
		if feeds, err = pgx.CollectRows(rows, scanFeed); err == nil {
			return feeds, nil
		}
	}
	return nil, fmt.Errorf("list feeds: %w", actionable(err))
}

// Get returns the feed of one table, and false if it has none.
func Get(ctx context.Context, db Querier, table string) (Feed, bool, error) {
	oid, err := resolve(ctx, db, table)
	if err != nil {
		return Feed{}, false, err
	}
	rows, err := db.Query(ctx, selectFeeds+` where table_name operator(pg_catalog.=) pgbell.table_name($1)`, oid)
	if err == nil {
		var f Feed
		if f, err = pgx.CollectExactlyOneRow(rows, scanFeed); err == nil {
			return f, true, nil
		}
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return Feed{}, false, nil
	}
	return Feed{}, false, fmt.Errorf("feed of %s: %w", table, actionable(err))
}

func scanFeed(row pgx.CollectableRow) (Feed, error) {
	var f Feed
	var durable bool
	err := row.Scan(&f.Table, &f.Scopes, &f.Audience, &f.Columns, &f.Payload, &durable, &f.Regroup, &f.State)
	f.Volatile = !durable
	return f, err
}

func exec(ctx context.Context, db Querier, sql string, args ...any) error {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

// NotMigrated says whether err comes from a database in which pgbell's schema is
// missing, or older than this program needs.
func NotMigrated(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	switch pgErr.Code {
	case "3F000": // no such schema
		return strings.Contains(pgErr.Message, "pgbell") // in any language
	case "42883", "42P01": // no such function, no such table
		return strings.Contains(pgErr.Message, "pgbell.")
	}
	return false
}

func actionable(err error) error {
	if NotMigrated(err) {
		return fmt.Errorf("this database has no pgbell schema, or an older one: run pgbell migrate: %w", err)
	}
	return err
}
