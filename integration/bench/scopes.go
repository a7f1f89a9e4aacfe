//go:build linux

package main

import (
	"context"
	"fmt"
)

// manyScopes measures many scopes with a stream each, and changes all over them.
func (w *world) manyScopes(ctx context.Context, r *report) error {
	scopes := make([]string, w.plan.scopes)
	for i := range scopes {
		scopes[i] = fmt.Sprintf("project:%d", i)
	}
	all := map[string]*timed{naive: {}, pgbell: {}}
	cpu, core := map[string][]float64{}, map[string][]float64{}
	err := turns(two, min(3, w.plan.rounds), func(name string) error {
		return w.withStreams(ctx, name, shape{rows: w.plan.loadRows, projects: len(scopes)}, scopes, func(server *process, s *streams) error {
			before, err := server.cpu()
			if err != nil {
				return err
			}
			l := newLoad(1, steady(float64(w.plan.scopesRate), w.plan.load))
			if err := w.timeLoad(ctx, s, l, 1, all[name], l.updates(w.url(name))); err != nil {
				return err
			}
			after, err := server.cpu()
			if err != nil {
				return err
			}
			made, _ := l.made()
			cpu[name] = append(cpu[name], (after-before).Seconds()*1e6/float64(made))
			rate, err := w.perCore(ctx, name, server, s, 1+len(l.due), int64(w.plan.backlog))
			core[name] = append(core[name], rate)
			return err
		})
	})
	if err != nil {
		return err
	}
	n, p := all[naive], all[pgbell]
	row := figure{
		Key: "scopes-p50", Name: fmt.Sprintf("%s scopes, %s changes/s, one stream each, p50", count(w.plan.scopes), count(w.plan.scopesRate)), Unit: "ms",
		Naive: new(n.due.quantile(0.5)), Pgbell: new(p.due.quantile(0.5)),
		Note: fmt.Sprintf("made %.0f and %.0f changes/s; %s", median(n.rates), median(p.rates), lost(p)),
	}
	r.Rows = append(r.Rows, row.judge(naive, nil))
	row.Key, row.Name = "scopes-p99", "the same, p99"
	row.Naive, row.Pgbell = new(n.due.quantile(0.99)), new(p.due.quantile(0.99))
	w.log("%d scopes: naive p50 %.2f ms, p99 %.2f ms; pgbell %.2f, %.2f; %s", len(scopes),
		n.due.quantile(0.5), n.due.quantile(0.99), p.due.quantile(0.5), p.due.quantile(0.99), row.Note)
	r.Rows = append(r.Rows, row.judge(naive, atMost(1)))
	r.Rows = append(r.Rows, figure{
		Key: "change-cpu", Name: "server CPU per million changes, each to one stream", Unit: "s",
		Naive: new(median(cpu[naive])), Pgbell: new(median(cpu[pgbell])),
	}.judge(naive, nil))
	row = figure{
		Key: "hand-out", Name: "changes/s that one core of the server hands out at saturation, each to one stream", Unit: "changes/s",
		Naive: new(median(core[naive])), Pgbell: new(median(core[pgbell])),
	}
	w.log("handed out: naive %.0f, pgbell %.0f changes/s of one core", *row.Naive, *row.Pgbell)
	r.Rows = append(r.Rows, row.judge("", atLeast(40_000)))
	return nil
}
