package pgtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// administrator makes and drops databases on the shared server, in one session: on some
// machines to open a session costs more than to copy a database.
type administrator struct {
	mu   sync.Mutex
	conn *pgx.Conn // nil before the first statement
}

var admin administrator

// create makes a database that is a copy of template, to which nobody may be connected.
func (a *administrator) create(name, template string) error {
	return a.do(func(ctx context.Context) error { return CopyDatabase(ctx, a.conn, name, template) })
}

func (a *administrator) drop(name string) error {
	return a.do(func(ctx context.Context) error { return dropDatabase(ctx, a.conn, name) })
}

// dropAll drops what is left of this binary's databases: the templates, and those that
// could not be dropped before.
func (a *administrator) dropAll() error {
	return a.do(func(ctx context.Context) error {
		rows, err := a.conn.Query(ctx, "SELECT datname::text FROM pg_database WHERE starts_with(datname::text, $1)", prefix)
		if err != nil {
			return err
		}
		left, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, name := range left {
			err = errors.Join(err, dropDatabase(ctx, a.conn, name))
		}
		return err
	})
}

// do has f use the session.
func (a *administrator) do(f func(context.Context) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if a.conn == nil || a.conn.IsClosed() {
		var err error
		if a.conn, err = pgx.Connect(ctx, server.url); err != nil {
			return err
		}
	}
	return f(ctx)
}

func (a *administrator) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return a.conn.Close(ctx)
}

// patience is after how long without an answer a server is given up.
const patience = 5 * time.Minute

// CopyDatabase makes a database on conn's server that is a copy of template, to which
// nobody may be connected.
func CopyDatabase(ctx context.Context, conn *pgx.Conn, name, template string) error {
	statement := "CREATE DATABASE " + name + " TEMPLATE " + template
	if conn.PgConn().ParameterStatus("server_version") >= "15" {
		// Before 15 there is no other way. The other one, by WAL, took 104 ms of a processor, this one 12.
		statement += " STRATEGY file_copy"
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func dropDatabase(ctx context.Context, conn *pgx.Conn, name string) error {
	statement := "DROP DATABASE " + name + " WITH (FORCE)"
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
