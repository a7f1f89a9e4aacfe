package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/sse/pglive"
)

func liveFlags() []cli.Flag {
	return []cli.Flag{
		stringFlag("live-role", "", "keep live queries, and run them as this `ROLE`, which the server's own must be a member of"),
		durationFlag("live-staleness", time.Second, "how late a live query may be at most while changes don't end"),
		durationFlag("live-timeout", 5*time.Second, "of a statement that runs live queries"),
		intFlag("max-live", 10_000, "results of live queries that are kept at once"),
		intFlag("max-live-per-stream", 20, "live queries of one stream"),
	}
}

// liveConfig is what the flags say of live queries; nil if there are none.
func liveConfig(c *cli.Command, log *slog.Logger) (*pglive.Config, error) {
	for _, name := range []string{"max-live", "max-live-per-stream"} {
		if c.Int(name) < 1 {
			return nil, usagef("--%s is a number of 1 or more", name)
		}
	}
	for _, name := range []string{"live-staleness", "live-timeout"} {
		if c.Duration(name) < time.Millisecond {
			return nil, usagef("--%s is a time of a millisecond or more, such as 1s", name)
		}
	}
	if c.String("live-role") == "" {
		if c.IsSet("live-role") {
			return nil, usagef("--live-role is empty")
		}
		return nil, nil
	}
	return &pglive.Config{
		Role: c.String("live-role"), Staleness: c.Duration("live-staleness"), Timeout: c.Duration("live-timeout"),
		Max: c.Int("max-live"), Logger: log,
	}, nil
}

// newLive returns what keeps live queries. That they can't run as the role is an error now; a
// database that is away is not.
func newLive(ctx context.Context, conf *pgx.ConnConfig, b *bus.Bus, cfg pglive.Config, log *slog.Logger) (*pglive.Engine, error) {
	e, err := pglive.New(conf, b, cfg)
	if err != nil {
		return nil, err
	}
	err = e.Check(ctx)
	switch {
	case errors.Is(err, pglive.ErrRole):
		e.Close()
		return nil, plainf(err, "--live-role %s: the server can't run queries as this role: grant %[1]s to the role that it connects as, or name another", cfg.Role)
	case err != nil:
		log.Warn("whether live queries can run as --live-role could not be found out yet", "err", describe(err))
	}
	return e, nil
}
