//go:build linux

package main

import (
	"context"
	"fmt"
)

var two = []string{naive, pgbell}

// timed is what one contender's frames took, over all rounds.
type timed struct {
	due, sent histogram // since the change was due, since it was sent
	rates     []float64 // changes a second that were made
	want, got int64     // frames
	resets    int64
}

// latency measures from the statement to the frame, for one stream, over the load.
func (w *world) latency(ctx context.Context, r *report) error {
	curves := map[string]*line{}
	for _, rate := range w.plan.rates {
		rounds := 1
		switch rate {
		case 50:
			rounds = min(3, w.plan.rounds)
		case 3000:
			rounds = w.plan.curveRounds
		}
		all := map[string]*timed{naive: {}, pgbell: {}}
		err := turns(two, rounds, func(name string) error { return w.latencyAt(ctx, name, float64(rate), all[name]) })
		if err != nil {
			return err
		}
		for _, name := range two {
			for q, label := range map[float64]string{0.5: name + " p50", 0.99: name + " p99"} {
				if curves[label] == nil {
					curves[label] = &line{Name: label}
				}
				curves[label].X = append(curves[label].X, float64(rate))
				curves[label].Y = append(curves[label].Y, all[name].due.quantile(q))
			}
			w.log("%d changes/s, %s: p50 %.2f ms, p99 %.2f ms, %.0f made, %d of %d frames, %d resets", rate, name,
				all[name].due.quantile(0.5), all[name].due.quantile(0.99), median(all[name].rates), all[name].got, all[name].want, all[name].resets)
		}
		n, p := all[naive], all[pgbell]
		row := figure{Unit: "ms", Note: lost(p)}
		switch rate {
		case 50:
			row.Key, row.Name = "latency-50-p50", "statement to frame, 50 changes/s, 1 subscriber, p50"
			row.Naive, row.Pgbell = new(n.sent.quantile(0.5)), new(p.sent.quantile(0.5))
			r.Rows = append(r.Rows, row.judge(naive, atMost(1.2)))
			row.Key, row.Name = "latency-50-p99", "the same, p99"
			row.Naive, row.Pgbell = new(n.sent.quantile(0.99)), new(p.sent.quantile(0.99))
			r.Rows = append(r.Rows, row.judge(naive, nil))
		case 3000:
			row.Key, row.Name = "latency-3000-p99", fmt.Sprintf("the same at 3,000 changes/s from %d writers, p99", w.plan.writers)
			row.Naive, row.Pgbell = new(n.due.quantile(0.99)), new(p.due.quantile(0.99))
			f := row.judge("", atMost(50))
			f.Note = fmt.Sprintf("made %.0f and %.0f changes/s; %s", median(n.rates), median(p.rates), f.Note)
			r.Rows = append(r.Rows, f)
		}
	}
	for _, label := range []string{naive + " p50", naive + " p99", pgbell + " p50", pgbell + " p99"} {
		r.Curves["latency"] = append(r.Curves["latency"], *curves[label])
	}
	return nil
}

// lost says in words what of pgbell's frames did not come.
func lost(t *timed) string {
	if t.got == t.want && t.resets == 0 {
		return "nothing lost"
	}
	return fmt.Sprintf("%d of %d frames, %d resets", t.got, t.want, t.resets)
}

// latencyAt is one round.
func (w *world) latencyAt(ctx context.Context, name string, rate float64, all *timed) error {
	return w.withStreams(ctx, name, shape{rows: w.plan.loadRows, projects: 1}, same("project:0", 1), func(_ *process, s *streams) error {
		warm := newLoad(1, steady(min(rate, 500), w.plan.load/4))
		if err := warm.run(ctx, w.plan.writers, w.plan.load, warm.updates(w.url(name))); err != nil {
			return err
		}
		l := newLoad(1+len(warm.due), steady(rate, w.plan.load))
		return w.timeLoad(ctx, s, l, 1, all, l.updates(w.url(name)))
	})
}

// timeLoad runs a load and adds what it took until each of so many streams had it.
func (w *world) timeLoad(ctx context.Context, s *streams, l *load, streams int64, all *timed, newWriter newWriterFunc) error {
	t := newTally(l, 0)
	s.count(t)
	if err := l.run(ctx, w.plan.writers, 2*w.plan.load, newWriter); err != nil {
		return err
	}
	made, rate := l.made()
	if err := t.waitFrames(ctx, int64(made)*streams, w.plan.quiet); err != nil {
		return err
	}
	s.count(nil)
	t.unsent()
	all.due.merge(t.due())
	all.sent.merge(&t.sent)
	all.rates = append(all.rates, rate)
	all.want += int64(made) * streams
	all.got += t.frames.Load()
	all.resets += t.resets.Load()
	return nil
}

// withStreams makes a contender's table, starts its server, opens a stream for each of
// scopes, and calls do.
func (w *world) withStreams(ctx context.Context, name string, sh shape, scopes []string, do func(*process, *streams) error) error {
	if err := w.makeTable(ctx, name, sh); err != nil {
		return err
	}
	server, err := w.serve(ctx, name)
	if err != nil {
		return err
	}
	defer server.stop()
	s, err := newStreams()
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.open(ctx, name, server.addr, scopes); err != nil {
		return err
	}
	return do(server, s)
}

// same returns a scope so many times.
func same(scope string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = scope
	}
	return all
}
