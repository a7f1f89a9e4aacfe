//go:build linux

package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// read measures how many changes of one row each a server takes in, meaning included,
// where nobody has subscribed but to the last.
func (w *world) read(ctx context.Context, r *report) error {
	rates := map[string][]float64{}
	err := turns(two, min(3, w.plan.rounds), func(name string) error {
		sh := shape{rows: w.plan.loadRows, projects: 1}
		warm := newLoad(1, steady(1000, w.plan.load/8))
		first := 1 + len(warm.due)
		last := fmt.Sprintf("task:%d", first+w.plan.backlog-1)
		return w.withStreams(ctx, name, sh, []string{last}, func(server *process, s *streams) error {
			if err := warm.run(ctx, w.plan.writers, w.plan.load, warm.updates(w.url(name))); err != nil {
				return err
			}
			rate, err := w.perCore(ctx, name, server, s, first, 1)
			rates[name] = append(rates[name], rate)
			return err
		})
	})
	if err != nil {
		return err
	}
	row := figure{
		Key: "read", Name: "changes/s that one core of the server reads, nobody subscribed", Unit: "changes/s",
		Naive: new(median(rates[naive])), Pgbell: new(median(rates[pgbell])),
	}
	w.log("read: naive %.0f, pgbell %.0f changes/s of one core", *row.Naive, *row.Pgbell)
	r.Rows = append(r.Rows, row.judge("", atLeast(200_000)))
	return nil
}

// perCore returns how many changes the server works off in a second of one core's time, at
// saturation: it is held up while they are made, and finds all of them at once. frames of
// them are due. A server that was busy just before doesn't ask writers to ring.
func (w *world) perCore(ctx context.Context, name string, server *process, s *streams, first int, frames int64) (float64, error) {
	before, err := server.cpu()
	if err != nil {
		return 0, err
	}
	_ = syscall.Kill(server.pid, syscall.SIGSTOP) // if it has ended no frame will come
	defer func() { _ = syscall.Kill(server.pid, syscall.SIGCONT) }()
	l := newLoad(first, make([]time.Duration, w.plan.backlog))
	t := newTally(l, 0)
	s.count(t)
	defer s.count(nil)
	if err := l.atOnce(ctx, w.url(name)+noFlush); err != nil {
		return 0, err
	}
	_ = syscall.Kill(server.pid, syscall.SIGCONT)
	if err := waitFor(ctx, time.Minute, func() (bool, error) { return t.frames.Load() >= frames, nil }); err != nil {
		return 0, fmt.Errorf("%d of %d frames came: %w", t.frames.Load(), frames, err)
	}
	after, err := server.cpu()
	if err != nil {
		return 0, err
	}
	return float64(w.plan.backlog) / (after - before).Seconds(), nil
}
