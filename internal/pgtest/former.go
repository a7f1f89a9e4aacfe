package pgtest

import (
	"context"
	"database/sql"
	_ "embed"
	"testing/fstest"

	"github.com/pressly/goose/v3"

	"github.com/pgbell/pgbell/migrations"
)

// former is the schema of before the first release, as commit 874e1d7 has it: version 1
// of goose's, too.
//
//go:embed former.sql
var former []byte

// Former is a database with the schema of before the first release, and nothing else.
var Former = Template{Make: MigrateFormer}

// MigrateFormer installs that in the database at url, as pgbell did then.
func MigrateFormer(ctx context.Context, url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "create schema pgbell"); err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, fstest.MapFS{"00001_pgbell.sql": {Data: former}},
		goose.WithTableName(migrations.VersionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}
