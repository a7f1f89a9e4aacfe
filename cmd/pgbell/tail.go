package main

import (
	"context"
	"errors"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/listener"
)

func tailCommand() *cli.Command {
	return &cli.Command{
		Name:  "tail",
		Usage: "show changes as they happen, straight from Postgres",
		Description: "One line per change of an attached table: time, op, table, key, scopes, and who may hear of it.\n" +
			"Nothing is filtered by who is asking: the database's own rights have let you in. With --as it is what USER\n" +
			"would hear, who subscribes to all scopes.",
		Flags: append([]cli.Flag{
			listFlag("scope", "only changes in `SCOPE`, such as project:7 (repeat it for more)"),
			stringFlag("as", "", "only what `USER` would hear, and as they would hear it"),
			jsonFlag(),
		}, asGroupsFlags()...),
		Action: tail,
	}
}

func tail(ctx context.Context, c *cli.Command) error {
	if err := noArguments(c); err != nil {
		return err
	}
	p := printer{w: c.Root().Writer, json: c.Bool("json"), paint: newPainter(c.Root().Writer)}
	for _, name := range c.StringSlice("scope") {
		canonical := scope.Canonical(name)
		if canonical == "" || len(canonical) > scope.MaxBytes {
			return usagef("--scope takes a scope of 1 to %d bytes, such as tasks or project:7", scope.MaxBytes)
		}
		p.scopes = append(p.scopes, canonical)
	}
	source, err := asGroupsFromFlags(ctx, c)
	if err != nil {
		return err
	}
	defer source.close()
	// A mistake that waiting can't heal is an error now, not a warning later.
	conn, err := connect(ctx, c)
	if err != nil {
		return err
	}
	_, err = journal.Floor(ctx, conn)
	conn.Close(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}

	signal.Ignore(syscall.SIGPIPE) // a reader that has seen enough is no reason to die of a signal
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.failed = stop
	whenReaderIsGone(p.w, func() { stop(syscall.EPIPE) })
	conf, err := databaseConfig(c)
	if err != nil {
		return err
	}
	b, err := bus.New(bus.Config{})
	if err != nil {
		return err
	}
	// A gap has no record: the bus tells every subscriber, whatever the scope.
	gaps := b.Subscribe([]string{"gaps"}, bus.Options{})
	defer gaps.Close()
	log := newLogger(c.Root().ErrWriter, slog.LevelInfo)
	if c.IsSet("as") {
		p.user = &tailUser{asGroups: source, ctx: ctx, bus: b, log: log}
		if _, err := p.user.look(); err != nil {
			return err
		}
	}
	go func() {
		for {
			e, err := gaps.Next(ctx)
			if err != nil {
				return
			}
			p.gap(e)
		}
	}()
	l, err := listener.New(conf, b, listener.Config{OnRecord: p.print, Logger: log})
	if err != nil {
		return err
	}
	err = l.Run(ctx)
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, syscall.EPIPE), errors.Is(cause, context.Canceled):
		return nil
	case cause != nil:
		return cause
	}
	return err
}
