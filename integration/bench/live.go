//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// liveOnes is the database with live queries.
const liveOnes = pgbell + "_live"

// live measures live queries: each change touches a few, each of which has a few streams.
func (w *world) live(ctx context.Context, r *report) error {
	p := w.plan.live
	changes := p.queries / p.each
	// A query shows one project; the changes of a run are of one row in each.
	due := steady(float64(p.rate), time.Duration(float64(changes)/float64(p.rate)*float64(time.Second)))
	due = due[:min(len(due), changes-1)]
	sh := shape{rows: 20 * changes, projects: changes, more: `
		do $$ begin create role bench_live; exception when duplicate_object then null; end $$;
		grant select on tasks to bench_live;
		create function board("row" int, v int, user_id text) returns table (id bigint, title text, done boolean) stable
		begin atomic select t.id, t.title, t.done from tasks t where t.project_id = "row" and t.owner_id = user_id and v >= 0 order by t.id; end;
		select pgbell.live('board', key => '{id}');`}
	scopes := make([]string, p.streams)
	for i := range scopes {
		q := i % p.queries
		scopes[i] = fmt.Sprintf("live=board%%3Frow%%3D%d%%26v%%3D%d&rows=delta", q/p.each, q%p.each)
	}
	var all timed
	var statements, idle, returned, rate float64
	err := w.withStreams(ctx, liveOnes, sh, scopes, func(server *process, s *streams) error {
		before, err := server.statements(ctx)
		if err != nil {
			return err
		}
		l := newLoad(1, due)
		if err := w.timeLoad(ctx, s, l, int64(p.each*(p.streams/p.queries)), &all, l.updates(w.url(liveOnes))); err != nil {
			return err
		}
		after, err := server.statements(ctx)
		if err != nil {
			return err
		}
		made, perSecond := l.made()
		statements, rate = (after-before)/float64(made)*perSecond, perSecond
		select {
		case <-time.After(5 * w.plan.settle):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		rested, err := server.statements(ctx)
		if err != nil {
			return err
		}
		idle = rested - after
		conn, err := pgx.Connect(ctx, w.url(liveOnes))
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		var cursor string
		if err := conn.QueryRow(ctx, "select pgbell.cursor()").Scan(&cursor); err != nil {
			return err
		}
		back, err := newStreams()
		if err != nil {
			return err
		}
		defer back.close()
		s.hangUp()
		for i := range scopes {
			scopes[i] += "&since=" + cursor
		}
		if err := back.open(ctx, liveOnes, server.addr, scopes); err != nil {
			return err
		}
		now, err := server.statements(ctx)
		returned = now - rested
		return err
	})
	if err != nil {
		return err
	}
	w.log("live queries: p50 %.2f ms, p99 %.2f ms, %.0f statements/s at %.0f changes/s, %.0f idle, %.0f as all come back; %s",
		all.sent.quantile(0.5), all.sent.quantile(0.99), statements, rate, idle, returned, lost(&all))
	name := fmt.Sprintf("%s streams on %s live queries, %s changes/s each touching %d: statement to frame", count(p.streams), count(p.queries), count(p.rate), p.each)
	r.Rows = append(r.Rows,
		figure{Key: "live-p50", Name: name + ", p50", Unit: "ms", Pgbell: new(all.sent.quantile(0.5)), Note: lost(&all)}.judge("", nil),
		figure{Key: "live-p99", Name: "the same, p99", Unit: "ms", Pgbell: new(all.sent.quantile(0.99))}.judge("", atMost(50)),
		figure{Key: "live-statements", Name: "statements that the live queries take", Unit: "statements/s", Pgbell: &statements}.judge("", atMost(200)),
		figure{Key: "live-idle", Name: "the same while nothing changes, in ten seconds", Unit: "statements", Pgbell: &idle}.judge("", atMost(0)),
		figure{Key: "live-return", Name: "the same as all streams come back", Unit: "statements", Pgbell: &returned}.judge("", atMost(0)))
	return nil
}

var liveStatements = regexp.MustCompile(`(?m)^pgbell_live_statements_total (\S+)$`)

// statements returns how many the server has run live queries with.
func (p *process) statements(ctx context.Context) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	m := liveStatements.FindSubmatch(body)
	if m == nil {
		return 0, fmt.Errorf("the server counts no statements of live queries")
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
