//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// bulkUpdate measures one statement that changes many rows.
func (w *world) bulkUpdate(ctx context.Context, r *report) error {
	if err := w.makeTables(ctx, shape{rows: w.plan.bulk, projects: 1000}, three...); err != nil {
		return err
	}
	times := map[string][]float64{}
	err := turns(three, w.plan.rounds, func(name string) error {
		took, err := w.updateAll(ctx, name)
		times[name] = append(times[name], float64(took)/1e6)
		return err
	})
	if err != nil {
		return err
	}
	row := figure{Key: "bulk", Name: fmt.Sprintf("UPDATE of %s rows in one statement", count(w.plan.bulk)), Unit: "ms"}
	row.aboveBare(times)
	w.log("bulk: bare %.0f ms, naive %.0f, pgbell %.0f above it", *row.Bare, *row.Naive, *row.Pgbell)
	r.Rows = append(r.Rows, row.judge(naive, atMost(0.5)))
	return nil
}

// updateAll updates all rows in one statement and returns how long that took. The
// former versions of the rows are vacuumed first, so that each round finds the same.
// No other contender's server runs: it would be busy yet with what it was told before.
func (w *world) updateAll(ctx context.Context, name string) (time.Duration, error) {
	server, err := w.serve(ctx, name)
	if err != nil {
		return 0, err
	}
	if server != nil {
		defer server.stop()
	}
	conn, err := pgx.Connect(ctx, w.url(name))
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{"vacuum tasks", "checkpoint"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	_, err = conn.Exec(ctx, "update tasks set done = not done, updated_at = now()")
	return time.Since(began), err
}
