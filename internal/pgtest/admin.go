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
	return a.do(func(ctx context.Context) error {
		statement := "CREATE DATABASE " + name + " TEMPLATE " + template
		var version int
		if err := a.conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
			return err
		}
		if version >= 150000 {
			// Before 15 it is the only way. The other one, by WAL, took 104 ms of a processor and not 12.
			statement += " STRATEGY file_copy"
		}
		return a.exec(ctx, statement)
	})
}

func (a *administrator) drop(name string) error {
	return a.do(func(ctx context.Context) error { return a.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)") })
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
			err = errors.Join(err, a.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"))
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

func (a *administrator) exec(ctx context.Context, statement string) error {
	if _, err := a.conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
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
