//go:build linux

package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// silent counts the notifications of writers while no server runs. A transaction that
// executed none takes no lock for them at commit: PreCommit_Notify in PostgreSQL's
// src/backend/commands/async.c.
func (w *world) silent(ctx context.Context, r *report) error {
	row := figure{Key: "no-listener", Name: "no server running: transactions that take the lock of NOTIFY, of 1,000", Unit: "transactions"}
	for name, into := range map[string]**float64{naive: &row.Naive, pgbell: &row.Pgbell} {
		n, err := w.notifications(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*into = new(float64(n) * 1000 / float64(w.plan.commits))
	}
	w.log("no server running: of 1,000 transactions naive notified in %.0f, pgbell in %.0f", *row.Naive, *row.Pgbell)
	r.Rows = append(r.Rows, row.judge("", atMost(0)))
	return nil
}

// notifications starts a contender's server and stops it, then makes
// commits and returns how many notifications another session receives.
func (w *world) notifications(ctx context.Context, name string) (int, error) {
	if err := w.makeTable(ctx, name, shape{rows: w.plan.rows, projects: 1000}); err != nil {
		return 0, err
	}
	server, err := w.serve(ctx, name)
	if err != nil {
		return 0, err
	}
	server.stop()
	ear, err := pgx.Connect(ctx, w.url(name))
	if err != nil {
		return 0, err
	}
	defer ear.Close(context.WithoutCancel(ctx))
	if _, err := ear.Exec(ctx, "listen changes; listen pgbell; listen over", pgx.QueryExecModeSimpleProtocol); err != nil {
		return 0, err
	}
	mouth, err := pgx.Connect(ctx, w.url(name))
	if err != nil {
		return 0, err
	}
	defer mouth.Close(context.WithoutCancel(ctx))
	for i := range w.plan.commits {
		if _, err := mouth.Exec(ctx, "update tasks set done = not done, title = $2 where id = $1", 1+i%w.plan.rows, fmt.Sprint("change ", i)); err != nil {
			return 0, err
		}
	}
	if _, err := mouth.Exec(ctx, "notify over"); err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		heard, err := ear.WaitForNotification(ctx)
		if err != nil {
			return 0, err
		}
		if heard.Channel == "over" { // they come in the order of the commits
			return n, nil
		}
	}
}
