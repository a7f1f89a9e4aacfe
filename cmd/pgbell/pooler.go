package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

var errPooled = errors.New("there is a pooler in between that hands each transaction to another session, and migrate locks by session: " +
	"connect to Postgres directly, or to the pooler in session mode")

// refusePooled returns errPooled if conf's connections share sessions. To tell, one
// connection is idle while others ask who they are, each in a transaction: if they all
// have sessions of their own, and the first has the same as before, then sessions are
// not shared, or nobody can tell.
func refusePooled(ctx context.Context, conf *pgx.ConnConfig) error {
	first, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return err
	}
	defer first.Close(context.WithoutCancel(ctx))
	before, err := backend(ctx, first)
	if err != nil || before == first.PgConn().PID() { // poolers make up the process id that they give to their clients
		return err
	}
	other, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return err
	}
	defer other.Close(context.WithoutCancel(ctx))
	tx, err := other.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	others, err := backend(ctx, other)
	if err != nil {
		return err
	}
	if others == before {
		return errPooled
	}
	after, err := backend(ctx, first)
	if err == nil && after != before {
		return errPooled
	}
	return err
}

// backend returns the process id of the server that answers.
func backend(ctx context.Context, conn *pgx.Conn) (pid uint32, err error) {
	err = conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
	return pid, err
}
