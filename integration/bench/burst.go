//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// burst measures the first two seconds of many writers after nothing was written for a
// while: pgbell's server waits to be rung then, and has yet to see that it is busy.
func (w *world) burst(ctx context.Context, r *report) error {
	const slow = "_slow" // behind the names of databases for which a flush is
	var all []string
	for _, name := range three {
		all = append(all, name, name+slow)
	}
	if err := w.makeTables(ctx, shape{rows: w.plan.rows, projects: 1000}, all...); err != nil {
		return err
	}
	stop, err := w.serveAll(ctx, all...)
	if err != nil {
		return err
	}
	defer stop()
	rates := map[string][]float64{}
	for range w.plan.curveRounds {
		if err := pause(ctx, w.plan.lull); err != nil {
			return err
		}
		slices.Reverse(all)
		err := turns(all, 1, func(database string) error {
			do := writing{script: oneRow, clients: w.plan.flushers, seconds: 2}
			if strings.HasSuffix(database, slow) {
				do.options = slowFlush
			}
			rate, err := w.pgbench(ctx, database, do)
			rates[database] = append(rates[database], rate)
			return err
		})
		if err != nil {
			return err
		}
	}
	row := func(key, name, behind string) {
		f := figure{
			Key: key, Name: name, Unit: "transactions/s",
			Bare: new(median(rates[bare+behind])), Naive: new(median(rates[naive+behind])), Pgbell: new(median(rates[pgbell+behind])),
		}
		w.log("%s: bare %.0f, naive %.0f, pgbell %.0f transactions/s", name, *f.Bare, *f.Naive, *f.Pgbell)
		r.Rows = append(r.Rows, f.judge(bare, atLeast(0.6)))
	}
	row("burst", fmt.Sprintf("%d clients after %v of quiet, the first 2 s", w.plan.flushers, w.plan.lull), "")
	row("burst-slow-flush", "the same, 2 ms added to each WAL flush", slow)
	return nil
}
