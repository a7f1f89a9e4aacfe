package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pgbell/pgbell/migrations"
)

//go:embed schema.sql
var schema string

// connect returns a pool for a database that answers. Its error is one line, and
// holds nothing of databaseURL, which may have a password in it.
func connect(ctx context.Context, databaseURL string) (*pgxpool.Pool, error) {
	const remedy = "set DATABASE_URL, such as postgres://postgres@localhost/app"
	db, err := pgxpool.New(ctx, databaseURL)
	if err != nil { // it quotes databaseURL
		return nil, errors.New(remedy + ": it has something else now")
	}
	if err := db.Ping(ctx); err != nil {
		db.Close()
		if c, ok := errors.AsType[*pgconn.ConnectError](err); ok {
			err = errors.Unwrap(c) // without user and database
		}
		causes := strings.Split(err.Error(), "\n") // one for each attempt
		return nil, fmt.Errorf("%s: %s", remedy, strings.Join(slices.Compact(causes), "; "))
	}
	return db, nil
}

// install brings pgbell and the app's table into the database. In your app both
// are migrations like any other.
func install(ctx context.Context, db *pgxpool.Pool) error {
	sql := stdlib.OpenDBFromPool(db)
	defer sql.Close()
	if _, err := migrations.Up(ctx, sql); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var there bool
		err := tx.QueryRow(ctx, "select to_regnamespace('react_tasks') is not null").Scan(&there)
		if err != nil || there {
			return err
		}
		_, err = tx.Exec(ctx, schema)
		return err
	})
}
