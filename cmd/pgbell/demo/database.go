// Package demo is what `pgbell demo` shows: a database with two small tables that
// have owners, and a page on which two users see their rows change.
//
// It knows nothing of the listener and the streams: the page is a client of the
// ordinary /events, and of a query of its own.
package demo

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pgbell/pgbell/migrations"
)

// Role is the name of the role that owns the database of the same name, its tables
// and schema pgbell. It is no superuser, and its password is its name:
// whoever reaches the page may have it, too.
const Role = "demo"

var (
	//go:embed tables.sql
	tablesSQL string
	//go:embed feeds.sql
	feedsSQL string
)

// Create makes the role and its database on a server, as its superuser. Then it
// installs pgbell there, the tables with a few rows, and their feeds, all as the
// role. It returns how to connect as the role.
func Create(ctx context.Context, superuser string) (*pgx.ConnConfig, error) {
	conf, err := pgx.ParseConfig(superuser)
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{
		"create role " + Role + " login password '" + Role + "'",
		"create database " + Role + " owner " + Role,
	} {
		if err := execute(ctx, conf, statement); err != nil {
			return nil, fmt.Errorf("create the demo's database: %w", err)
		}
	}
	conf.User, conf.Password, conf.Database = Role, Role, Role
	return conf, fill(ctx, conf)
}

// Open returns how to connect as the role to a server on which Create was called by an earlier run, perhaps of
// another version of pgbell.
func Open(ctx context.Context, superuser string) (*pgx.ConnConfig, error) {
	conf, err := pgx.ParseConfig(superuser)
	if err != nil {
		return nil, err
	}
	conf.User, conf.Password, conf.Database = Role, Role, Role
	return conf, migrate(ctx, conf)
}

// migrate installs pgbell, or what of it is missing.
func migrate(ctx context.Context, conf *pgx.ConnConfig) error {
	db := stdlib.OpenDB(*conf)
	defer db.Close()
	if _, err := migrations.Up(ctx, db); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// fill puts what the page needs into an empty database.
func fill(ctx context.Context, conf *pgx.ConnConfig) error {
	if err := migrate(ctx, conf); err != nil {
		return err
	}
	for _, statements := range []string{tablesSQL, feedsSQL} {
		if err := execute(ctx, conf, statements); err != nil {
			return fmt.Errorf("create the demo's tables: %w", err)
		}
	}
	return nil
}

// execute runs statements on a connection of its own.
func execute(ctx context.Context, conf *pgx.ConnConfig, statements string) error {
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.PgConn().Exec(ctx, statements).ReadAll()
	return err
}
