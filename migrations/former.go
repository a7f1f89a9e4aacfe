package migrations

import (
	"context"
	"database/sql"
	"errors"
)

// isFormer says whether the schema is the one of before the first release, which
// called itself version 1, too: its journal had finished changes in place of facts.
//
// [Up] puts version 1 in its place and attaches its feeds again, all in one transaction:
// no write goes by without a trigger, none fails. Cursors from before are answered by a
// reset, since there is another incarnation. Only what calls pgbell.publish or
// pgbell.disconnect at that moment may get an error, once.
func isFormer(ctx context.Context, tx *sql.Tx) (former bool, err error) {
	err = tx.QueryRowContext(ctx, `select exists (select from pg_attribute a
		where a.attrelid = to_regclass('pgbell.journal') and a.attname = 'changes' and not a.attisdropped)`).Scan(&former)
	return former, err
}

var errFormer = errors.New("schema pgbell is of before the first release: run pgbell migrate first")
