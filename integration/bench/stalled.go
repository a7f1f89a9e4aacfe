//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// neighbours is how many streams go on reading beside the one that does not.
const neighbours = 20

// stalled measures what the others get when one client stops reading, from when all
// that lies between can be full.
func (w *world) stalled(ctx context.Context, r *report) error {
	row := figure{
		Key: "stalled", Name: fmt.Sprintf("one client of %d stops reading, 7 KB frames, %d/s: what the others get", neighbours+1, w.plan.stalled.rate), Unit: "%",
	}
	for name, into := range map[string]**float64{naive: &row.Naive, pgbell: &row.Pgbell} {
		got, err := w.stalledOf(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*into = &got
	}
	w.log("beside a client that does not read: naive %.1f %%, pgbell %.1f %%", *row.Naive, *row.Pgbell)
	r.Rows = append(r.Rows, row.judge("", atLeast(100)))
	return nil
}

func (w *world) stalledOf(ctx context.Context, name string) (percent float64, err error) {
	plan := w.plan.stalled
	sh := shape{rows: plan.lead + plan.counted, projects: 1, body: 7000}
	err = w.withStreams(ctx, name, sh, same("project:0", neighbours), func(server *process, s *streams) error {
		if err := s.openStalled(ctx, name, server.addr, "project:0"); err != nil {
			return err
		}
		lead := newLoad(1, evenly(plan.rate, plan.lead))
		if err := lead.run(ctx, w.plan.writers, 10*time.Second, lead.updates(w.url(name))); err != nil {
			return err
		}
		l := newLoad(1+plan.lead, evenly(plan.rate, plan.counted))
		t := newTally(l, 0)
		s.count(t)
		if err := l.run(ctx, w.plan.writers, 10*time.Second, l.updates(w.url(name))); err != nil {
			return err
		}
		made, _ := l.made()
		want := int64(made * neighbours)
		if err := t.waitFrames(ctx, want, w.plan.quiet); err != nil {
			return err
		}
		s.count(nil)
		percent = 100 * float64(t.frames.Load()) / float64(want)
		return nil
	})
	return percent, err
}

// evenly returns when n changes are due, rate a second.
func evenly(rate, n int) []time.Duration {
	due := make([]time.Duration, n)
	for i := range due {
		due[i] = time.Duration(i+1) * time.Second / time.Duration(rate)
	}
	return due
}
