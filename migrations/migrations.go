// Package migrations holds what pgbell installs in a database: the schema pgbell.
//
// Its tables, sequences and types are numbered migrations, in tables: a file there is not
// changed once it was released. What is done with them is in functions, a file for each
// topic, of which all are installed again by every [Up]: these are changed where they
// stand. trigger.sql makes what runs inside a user's write.
package migrations

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed tables/*.sql functions/*.sql former/*.sql
var files embed.FS

// FS holds the numbered migrations as goose reads them: those of tables, sequences and
// types. What is done with these stands in functions, which every Up installs again.
var FS = sub("tables")

func sub(dir string) fs.FS {
	tree, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the name is no path: it is one of those above
	}
	return tree
}

// VersionTable is where goose notes which migrations were applied.
const VersionTable = "pgbell.goose_db_version"

// lockID is the session advisory lock that keeps two migrations of one database
// apart: the first eight bytes of "pgbell/m". goose's own default would make
// pgbell wait for the migrations of the application.
const lockID = 0x706762656c6c2f6d

// Up applies all migrations that db doesn't have yet and returns what it
// applied, oldest first. Then it installs the functions, and makes the triggers of
// attached tables anew where they would be others now: that waits at most five
// seconds for a table that is in use, and fails then with nothing changed. The schema
// of before the first release it replaces, which counts as applied; a newer one than
// this program's it leaves alone, and says so.
func Up(ctx context.Context, db *sql.DB) ([]*goose.MigrationResult, error) {
	p, err := NewProvider(ctx, db)
	if err != nil {
		return nil, err
	}
	if err := refuseNewer(ctx, db, p); err != nil {
		return nil, err
	}
	replaced, err := replaceFormer(ctx, db)
	if err != nil {
		return nil, err
	}
	results, err := p.Up(ctx)
	if replaced {
		first := &goose.MigrationResult{Source: p.ListSources()[0], Direction: "up"}
		results = append([]*goose.MigrationResult{first}, results...)
	}
	if err != nil {
		return results, err
	}
	return results, install(ctx, db)
}

// functions are the files of functions in the order in which they are installed.
var functions = []string{"listener", "cursor", "gate", "journal", "rotation", "feeds", "trigger", "attach", "publish"}

// install brings the functions up to date, all or none. CREATE OR REPLACE keeps what
// a function is known by, so that a writer who is about to call one does not fail.
func install(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // done already, if all went well
	if err := installIn(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func installIn(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, begin); err != nil {
		return fmt.Errorf("install functions: %w", err)
	}
	for _, name := range functions {
		if err := execFile(ctx, tx, "functions/"+name+".sql"); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, end); err != nil {
		return fmt.Errorf("install functions: %w", err)
	}
	return nil
}

// execFile runs the statements of one of the files.
func execFile(ctx context.Context, tx *sql.Tx, name string) error {
	text, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, string(text)); err != nil {
		return fmt.Errorf("install %s: %w", name, err)
	}
	return nil
}

// begin keeps two installations apart, by a lock that not everybody may take, and
// pins the names: those of what the functions call are looked up now.
const begin = `
lock table pgbell.feed in share row exclusive mode;
set local search_path = pg_catalog, pg_temp;
set local check_function_bodies = off; -- they call each other
select set_config('pgbell.installed', coalesce((select string_agg(p.oid::text, ',') from pg_proc p where p.pronamespace = 'pgbell'::regnamespace), ''), true),
	set_config('pgbell.first', (to_regprocedure('pgbell.schema_version()') is null)::text, true);`

// end closes what is new to all, whatever ALTER DEFAULT PRIVILEGES says.
const end = `
select pgbell.close_to_all('function', p.oid::regprocedure::text, p.proacl, p.proowner) from pg_proc p
where p.pronamespace = 'pgbell'::regnamespace and p.oid::text <> all (string_to_array(current_setting('pgbell.installed'), ','));
select pgbell.close_to_all('table', c.oid::regclass::text, c.relacl, c.relowner) from pg_class c
where c.relnamespace = 'pgbell'::regnamespace and c.relkind in ('r', 'p', 'v', 'S') and current_setting('pgbell.first')::boolean;
grant execute on function pgbell.cursor() to public;
select pgbell.remake();`

// Down takes the newest applied migration back and returns it, or
// [goose.ErrNoNextVersion] if there is none. The first one takes all feeds with
// it, and the schema. That of another version than this program's it leaves alone.
func Down(ctx context.Context, db *sql.DB) (*goose.MigrationResult, error) {
	p, err := NewProvider(ctx, db)
	if err != nil {
		return nil, err
	}
	if err := refuseNewer(ctx, db, p); err != nil {
		return nil, err
	}
	if former, err := IsFormer(ctx, db); err != nil || former {
		return nil, cmp.Or(err, errFormer)
	}
	result, err := p.Down(ctx)
	if err != nil && !errors.Is(err, goose.ErrNoNextVersion) {
		return result, err
	}
	version, verr := p.GetDBVersion(ctx)
	if verr != nil {
		return result, verr
	}
	if version == 0 {
		if _, derr := db.ExecContext(ctx, "drop table "+VersionTable+"; drop schema pgbell"); derr != nil {
			return result, fmt.Errorf("drop schema pgbell: %w", derr)
		}
	}
	return result, err
}

// NewProvider returns goose's provider for the migrations. It creates the schema
// pgbell if it's missing, for goose keeps its version table there. Closing the
// provider closes db.
func NewProvider(ctx context.Context, db *sql.DB) (*goose.Provider, error) {
	if err := createSchema(ctx, db); err != nil {
		return nil, fmt.Errorf("create schema pgbell: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockID), lock.WithLockTimeout(1, 300)) // asks each second, for 5 minutes
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, FS,
		goose.WithTableName(VersionTable),
		goose.WithSessionLocker(locker),
		goose.WithDisableGlobalRegistry(true),
	)
}

// createSchema asks first: CREATE SCHEMA IF NOT EXISTS wants the right to create
// one even where there is nothing to create, and two at once collide.
func createSchema(ctx context.Context, db *sql.DB) error {
	var exists bool
	if err := db.QueryRowContext(ctx, "select to_regnamespace('pgbell') is not null").Scan(&exists); err != nil || exists {
		return err
	}
	_, err := db.ExecContext(ctx, "create schema if not exists pgbell")
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == "23505" {
		return nil // somebody else created it just now
	}
	return err
}
