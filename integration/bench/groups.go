//go:build linux

package main

import (
	"context"
	"fmt"
)

// The databases of the same table, whose rows are for their owners or for their teams. Each
// stream has a user of its own there.
const (
	owned   = pgbell + "_owned"
	grouped = pgbell + "_groups"
)

// groups measures an audience of a team beside one of a user: many scopes with a stream
// each, whose users are each in a tenth of the teams.
func (w *world) groups(ctx context.Context, r *report) error {
	scopes := make([]string, w.plan.scopes)
	for i := range scopes {
		scopes[i] = fmt.Sprintf("project:%d", i)
	}
	shapes := map[string]shape{
		owned: {rows: w.plan.loadRows, projects: len(scopes), owner: fmt.Sprintf("'user' || n %% %d", len(scopes))},
		grouped: {
			rows: w.plan.loadRows, projects: len(scopes), owner: fmt.Sprintf("(n %% %d %% %d)::text", len(scopes), w.plan.teams),
			feed: "array['project:{project_id}', 'task:{id}'], audience => array['team:{owner_id}']",
			more: fmt.Sprintf(`
				create table members (user_id text, team int, primary key (user_id, team));
				insert into members select 'user' || u, (u + 10 * k) %% %[1]d
				from generate_series(0, %[2]d) u, generate_series(0, %[3]d) k on conflict do nothing;
				analyze members;
				create function groups_of(user_id text) returns text[] language sql stable
				as $$ select array_agg('team:' || m.team) from public.members m where m.user_id = $1 $$;`,
				w.plan.teams, len(scopes)-1, max(w.plan.teams/10, 1)-1),
		},
	}
	all := map[string]*timed{owned: {}, grouped: {}}
	cpu, memory := map[string][]float64{}, map[string][]float64{}
	err := turns([]string{owned, grouped}, w.plan.curveRounds, func(name string) error {
		return w.withStreams(ctx, name, shapes[name], scopes, func(server *process, s *streams) error {
			kib, err := server.resident()
			if err != nil {
				return err
			}
			memory[name] = append(memory[name], kib/float64(len(scopes)))
			before, err := server.cpu()
			if err != nil {
				return err
			}
			l := newLoad(1, steady(float64(w.plan.scopesRate), w.plan.load))
			if err := w.timeLoad(ctx, s, l, 1, all[name], l.updates(w.url(name))); err != nil {
				return err
			}
			after, err := server.cpu()
			made, _ := l.made()
			cpu[name] = append(cpu[name], (after-before).Seconds()*1e6/float64(made))
			return err
		})
	})
	if err != nil {
		return err
	}
	o, g := all[owned], all[grouped]
	w.log("groups: p99 %.2f ms of owners, %.2f of teams; CPU %.1f and %.1f s a million changes; memory %.2f and %.2f KiB a stream; %s", o.due.quantile(0.99),
		g.due.quantile(0.99), median(cpu[owned]), median(cpu[grouped]), median(memory[owned]), median(memory[grouped]), lost(g))
	r.Rows = append(r.Rows, figure{
		Key: "groups-p99", Unit: "ms", Naive: new(o.due.quantile(0.99)), Pgbell: new(g.due.quantile(0.99)), Note: "naive: rows with an owner; " + lost(g),
		Name: fmt.Sprintf("%s streams, %s changes/s, rows of %s teams, each user in a tenth of them, p99", count(len(scopes)), count(w.plan.scopesRate), count(w.plan.teams)),
	}.judge(naive, atMost(1.1)), figure{
		Key: "groups-cpu", Name: "server CPU per million such changes", Unit: "s",
		Naive: new(median(cpu[owned])), Pgbell: new(median(cpu[grouped])), Note: "naive: rows with an owner",
	}.judge(naive, atMost(1.1)), figure{
		Key: "groups-memory", Name: "memory per stream, idle", Unit: "KiB",
		Naive: new(median(memory[owned])), Pgbell: new(median(memory[grouped])), Note: "naive: rows with an owner",
	}.judge(naive, nil))
	return nil
}
