package pgtest

import (
	"context"
	"database/sql"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver called pgx

	"github.com/pgbell/pgbell/migrations"
)

// Migrated is a database with pgbell installed, and nothing else.
var Migrated = Template{Make: Migrate}

// Migrate installs pgbell in the database at url.
func Migrate(ctx context.Context, url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = migrations.Up(ctx, db)
	return err
}
