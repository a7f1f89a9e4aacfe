//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
)

// turns calls do for each of names, round after round, each time from another one on.
func turns(names []string, rounds int, do func(name string) error) error {
	for round := range rounds {
		for _, name := range from(names, round) {
			if err := do(name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// from returns list from its nth element on, and then those before it.
func from[T any](list []T, n int) []T {
	n %= len(list)
	return slices.Concat(list[n:], list[:n])
}

var three = []string{bare, naive, pgbell}

// writers measures what triggers cost those who write: transactions a second, over
// the number of writers.
func (w *world) writers(ctx context.Context, r *report) error {
	stop, err := w.prepareWriters(ctx)
	if err != nil {
		return err
	}
	defer stop()
	curves := map[string]*line{}
	for _, name := range three {
		curves[name] = &line{Name: name}
	}
	for _, clients := range w.plan.clients {
		rounds := min(3, w.plan.rounds)
		if clients == 1 || clients == 16 {
			rounds = w.plan.rounds
		}
		tps, err := w.tps(ctx, three, rounds, writing{script: oneRow, clients: clients, seconds: w.plan.seconds})
		if err != nil {
			return err
		}
		for _, name := range three {
			curves[name].X = append(curves[name].X, float64(clients))
			curves[name].Y = append(curves[name].Y, *tps[name])
		}
		row := figure{Unit: "transactions/s", Bare: tps[bare], Naive: tps[naive], Pgbell: tps[pgbell]}
		switch clients {
		case 1:
			row.Key, row.Name = "update-1", "one-row UPDATE, 1 client"
			r.Rows = append(r.Rows, row.judge(bare, atLeast(0.82)))
		case 16:
			row.Key, row.Name = "update-16", "one-row UPDATE, 16 clients"
			r.Rows = append(r.Rows, row.judge(bare, atLeast(0.72)))
		}
	}
	for _, name := range three {
		r.Curves["throughput"] = append(r.Curves["throughput"], *curves[name])
	}
	return nil
}

// flush measures the same where each WAL flush takes 2 ms longer, as on a disk far away.
func (w *world) flush(ctx context.Context, r *report) error {
	stop, err := w.prepareWriters(ctx)
	if err != nil {
		return err
	}
	defer stop()
	// That the setting does what it should: one writer pays it in each transaction.
	alone, err := w.pgbench(ctx, bare, writing{oneRow, 1, 1, slowFlush})
	if err != nil {
		return err
	}
	if alone > 1000/2 {
		return fmt.Errorf("a flush was to take 2 ms longer, but one writer made %.0f transactions a second", alone)
	}
	tps, err := w.tps(ctx, three, min(3, w.plan.rounds), writing{oneRow, w.plan.flushers, w.plan.seconds, slowFlush})
	if err != nil {
		return err
	}
	r.Rows = append(r.Rows, figure{
		Key: "update-slow-flush", Name: fmt.Sprintf("the same, 2 ms added to each WAL flush, %d clients", w.plan.flushers),
		Unit: "transactions/s", Bare: tps[bare], Naive: tps[naive], Pgbell: tps[pgbell],
	}.judge(bare, atLeast(0.75)))
	return nil
}

// prepareWriters makes the tables and starts the servers. The returned function stops them.
func (w *world) prepareWriters(ctx context.Context) (stop func(), err error) {
	if err := w.makeTables(ctx, shape{rows: w.plan.rows, projects: 1000}, three...); err != nil {
		return nil, err
	}
	return w.serveAll(ctx, naive, pgbell)
}

// tps returns the median of each contender's transactions a second.
func (w *world) tps(ctx context.Context, names []string, rounds int, do writing) (map[string]*float64, error) {
	rates := map[string][]float64{}
	err := turns(names, rounds, func(name string) error {
		rate, err := w.pgbench(ctx, name, do)
		rates[name] = append(rates[name], rate)
		return err
	})
	if err != nil {
		return nil, err
	}
	medians := map[string]*float64{}
	for _, name := range names {
		medians[name] = new(median(rates[name]))
	}
	w.log("%d clients: bare %.0f, naive %.0f, pgbell %.0f transactions/s", do.clients, *medians[bare], *medians[naive], *medians[pgbell])
	return medians, nil
}
