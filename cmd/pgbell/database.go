package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/urfave/cli/v3"
)

// connectTimeout is how long one attempt to connect may take, unless the
// connection string says otherwise.
const connectTimeout = 10 * time.Second

// databaseConfig reads which database is meant: the flag, DATABASE_URL, or
// libpq's PG* variables, which also fill in what the others leave out.
func databaseConfig(c *cli.Command) (*pgx.ConnConfig, error) {
	url := c.String("database-url")
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		source := "the connection string of --database-url or DATABASE_URL"
		if url == "" {
			source = "one of the PG* variables"
		}
		return nil, &usageError{plainf(err, "%s can't be used: %s", source, configWords(err))}
	}
	if conf.ConnectTimeout == 0 {
		conf.ConnectTimeout = connectTimeout
	}
	if conf.RuntimeParams["application_name"] == "" {
		conf.RuntimeParams["application_name"] = c.FullName() // doctor counts the listeners by theirs, which is pgbell
	}
	conf.RuntimeParams["client_encoding"] = "UTF8" // else it is the database's
	conf.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Severity == "WARNING" || n.SeverityUnlocalized == "WARNING" {
			fmt.Fprintln(c.Root().ErrWriter, "pgbell: warning: "+oneLine(serverWords((*pgconn.PgError)(n))))
		}
	}
	return conf, nil
}

// connect opens one connection for a command that does its work and ends.
func connect(ctx context.Context, c *cli.Command) (*pgx.Conn, error) {
	conf, err := databaseConfig(c)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, unprepared(conf))
}

// unprepared returns conf for connections that leave no prepared statements behind: a
// pooler in transaction mode would give them to somebody else's next.
func unprepared(conf *pgx.ConnConfig) *pgx.ConnConfig {
	conf.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	return conf
}

// pinned has do read in a transaction in which bare names are the system's alone: what
// strangers may have made in a schema of the connection's path is not found. It is no
// setting of the session, which a pooler may hand to somebody else. What do may fail at
// and go on, it does in a savepoint.
func pinned(ctx context.Context, conn *pgx.Conn, do func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local search_path = pg_catalog, pg_temp"); err != nil {
			return err
		}
		return do(tx)
	})
}

// configWords says what is wrong with a connection string without repeating any
// of it: pgx masks the passwords that it can recognise, but a string that can't
// be parsed may hide one anywhere.
func configWords(err error) string {
	var parse *pgconn.ParseConfigError
	if !errors.As(err, &parse) {
		return "it should read postgres://user@host:5432/database"
	}
	inner := errors.Unwrap(parse)
	for _, known := range []struct{ in, out string }{
		{"invalid port", "the port is not a number from 1 to 65535 (a password with : / ? # or @ in it must be percent-encoded)"},
		{"failed to configure TLS", "TLS: %s"},
		{"service", "its service is not in the service file"},
		{"connect_timeout", "connect_timeout is not a number of seconds"},
		{"target_session_attrs", "unknown target_session_attrs"},
	} {
		if strings.Contains(parse.Error(), known.in) {
			if strings.Contains(known.out, "%s") && inner != nil {
				return fmt.Sprintf(known.out, inner)
			}
			return strings.TrimSuffix(known.out, ": %s")
		}
	}
	return "it should read postgres://user@host:5432/database or host=... dbname=..."
}

func quoteIdentifier(name string) string { return pgx.Identifier{name}.Sanitize() }
