//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// burst measures the first seconds of many writers after nothing was written for a while:
// pgbell's server waits to be rung then, and has yet to see that it is busy.
func (w *world) burst(ctx context.Context, r *report) error {
	const slow = "_slow" // behind the names of databases for which a flush is
	var all []string
	for _, name := range three {
		all = append(all, name, name+slow)
	}
	if err := w.makeTables(ctx, shape{rows: w.plan.loadRows, projects: 1000}, all...); err != nil {
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
		err := turns(all, 1, func(database string) error {
			url := w.url(database)
			if strings.HasSuffix(database, slow) {
				url += "&commit_delay=2000&commit_siblings=0" // as slowFlush
			}
			// All are due at once: a closed loop. Nobody hears of what sessions do before, which
			// is rolled back.
			l := newLoad(1, make([]time.Duration, w.plan.loadRows))
			err := l.run(ctx, w.plan.flushers, w.plan.burst, l.updates(url))
			_, rate := l.made()
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
	row("burst", fmt.Sprintf("%d clients after %g s of quiet, the first %g s", w.plan.flushers, w.plan.lull.Seconds(), w.plan.burst.Seconds()), "")
	row("burst-slow-flush", "the same, 2 ms added to each WAL flush", slow)
	return nil
}
