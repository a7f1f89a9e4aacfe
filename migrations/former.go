package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// IsFormer says whether the schema is the one of before the first release, which
// called itself version 1, too: its journal had finished changes in place of facts.
func IsFormer(ctx context.Context, db querier) (former bool, err error) {
	err = db.QueryRowContext(ctx, `select exists (select from pg_catalog.pg_attribute a
		where a.attrelid = to_regclass('pgbell.journal') and a.attname = 'changes' and not a.attisdropped)`).Scan(&former)
	return former, err
}

var errFormer = errors.New("schema pgbell is of before the first release: run pgbell migrate first")

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// replaceFormer puts version 1 in the place of the former schema, if that is there,
// and attaches its feeds again, all in one transaction: no write goes by without a
// trigger, none fails. Cursors from before are answered by a reset, since there is
// another incarnation. Only what calls pgbell.publish or pgbell.disconnect at that
// moment may get an error, once.
func replaceFormer(ctx context.Context, db *sql.DB) (replaced bool, err error) {
	if former, err := IsFormer(ctx, db); err != nil || !former {
		return false, err
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}) // to see what was committed while it waited
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // done already, if all went well
	if _, err := tx.ExecContext(ctx, "lock table "+VersionTable+" in share row exclusive mode"); err != nil {
		return false, fmt.Errorf("replace the former schema: %w", err)
	}
	if former, err := IsFormer(ctx, tx); err != nil || !former { // another migration did it meanwhile
		return false, err
	}
	if err := execFile(ctx, tx, "former/remove.sql"); err != nil {
		return false, err
	}
	tables, err := files.ReadFile("tables/00001_pgbell.sql")
	if err != nil {
		return false, err
	}
	up, _, _ := strings.Cut(string(tables), "-- +goose Down")
	if _, err := tx.ExecContext(ctx, up); err != nil {
		return false, fmt.Errorf("replace the former schema: %w", err)
	}
	if err := installIn(ctx, tx); err != nil {
		return false, err
	}
	if err := execFile(ctx, tx, "former/attach.sql"); err != nil {
		return false, err
	}
	return true, tx.Commit()
}
