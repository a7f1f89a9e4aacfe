// Package migrations holds what pgbell installs in a database: the schema
// pgbell with its journal, the functions attach and detach, and what they
// generate.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// FS holds the migrations as goose reads them.
//
//go:embed *.sql
var FS embed.FS

// VersionTable is where goose notes which migrations were applied.
const VersionTable = "pgbell.goose_db_version"

// lockID is the session advisory lock that keeps two migrations of one database
// apart: the first eight bytes of "pgbell/m". goose's own default would make
// pgbell wait for the migrations of the application.
const lockID = 0x706762656c6c2f6d

// Up applies all migrations that db doesn't have yet and returns what it
// applied, oldest first.
func Up(ctx context.Context, db *sql.DB) ([]*goose.MigrationResult, error) {
	p, err := NewProvider(ctx, db)
	if err != nil {
		return nil, err
	}
	return p.Up(ctx)
}

// Down takes the newest applied migration back and returns it, or
// [goose.ErrNoNextVersion] if there is none. The first one takes all feeds with
// it, and the schema.
func Down(ctx context.Context, db *sql.DB) (*goose.MigrationResult, error) {
	p, err := NewProvider(ctx, db)
	if err != nil {
		return nil, err
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
