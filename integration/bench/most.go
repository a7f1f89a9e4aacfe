//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// mostFrames measures how many frames a second a server writes at most: the rate of
// events grows until p99 is over a second or something is lost, and the best two
// seconds before that count.
func (w *world) mostFrames(ctx context.Context, r *report) error {
	best := map[string][]float64{}
	err := turns(two, min(2, w.plan.rounds), func(name string) error {
		rate, err := w.mostOf(ctx, name)
		best[name] = append(best[name], rate)
		return err
	})
	if err != nil {
		return err
	}
	row := figure{
		Key: "most-frames", Name: fmt.Sprintf("most frames/s to %s streams with p99 under 1 s, nothing lost", count(w.plan.most.streams)), Unit: "frames/s",
		Naive: new(median(best[naive])), Pgbell: new(median(best[pgbell])),
	}
	w.log("most frames/s: naive %.0f, pgbell %.0f", *row.Naive, *row.Pgbell)
	r.Rows = append(r.Rows, row.judge(naive, atLeast(1.1)))
	return nil
}

func (w *world) mostOf(ctx context.Context, name string) (best float64, err error) {
	m := w.plan.most
	err = w.withStreams(ctx, name, shape{rows: w.plan.loadRows, projects: 1}, same("project:0", m.streams), func(_ *process, s *streams) error {
		warm := newLoad(1, steady(m.first/2, w.plan.load/4))
		if err := warm.run(ctx, w.plan.writers, time.Second, warm.updates(w.url(name))); err != nil {
			return err
		}
		l := newLoad(1+len(warm.due), ramp(m.first, m.growth, m.longest, w.plan.loadRows-len(warm.due)))
		t := newTally(l, m.window)
		s.count(t)
		ctx, enough := context.WithCancel(ctx)
		defer enough()
		watched := make(chan error, 1)
		go func() {
			defer enough()
			watched <- waitFor(ctx, time.Hour, func() (bool, error) { return s.overloaded(t), nil })
		}()
		err := l.run(ctx, w.plan.writers, time.Second, l.updates(w.url(name)))
		enough()
		<-watched
		s.count(nil)
		if best = t.best(); err == nil && t.frames.Load() == 0 {
			err = errors.New("no frame came")
		}
		return err
	})
	return best, err
}

// overloaded says whether the last full window was too slow, or something was lost.
func (s *streams) overloaded(t *tally) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(t.windows)
	return t.resets.Load() > 0 || s.gone.Load() > 0 || n > 1 && t.windows[n-2].quantile(0.99) > 1000
}

// best returns the most frames a second of any two windows in a row that were fast.
// The last window is not full.
func (t *tally) best() float64 {
	most := 0.0
	for i := 1; i < len(t.windows)-1; i++ {
		a, b := t.windows[i-1], t.windows[i]
		if a.quantile(0.99) < 1000 && b.quantile(0.99) < 1000 {
			most = max(most, float64(a.total+b.total)/2/t.window.Seconds())
		}
	}
	return most
}
