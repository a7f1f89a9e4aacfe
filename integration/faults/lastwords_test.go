package faults

import (
	"context"
	"slices"
	"strings"
)

// has says whether s got o in each scope where it was to, or what stands for it: perhaps,
// where that came while COMMIT was under way, so that it stands for o or o is yet to come.
// s.mu is held.
func (s *subscription) has(o *op) answer {
	got := map[string]answer{}
	for _, f := range slices.Backward(s.frames) {
		if f.at.Before(o.before) {
			break
		}
		switch stands := f.reset || f.merged; {
		case stands && !f.at.Before(o.after), slices.ContainsFunc(o.wants, func(w want) bool { return w.ident == f.ident && w.scope == f.scope }):
			got[f.scope] = yes
		case stands:
			got[f.scope] = max(got[f.scope], perhaps)
		}
	}
	all := yes
	for _, w := range o.wants {
		if slices.Contains(s.scopes, w.scope) && w.readableBy(s.user) {
			all = min(all, got[w.scope])
		}
	}
	return all
}

// awaitLastWords returns once each client has what was written last. It is said again as
// long as one may have it or not; what was said before has come to whom the last has.
func (w *world) awaitLastWords() {
	w.t.Helper()
	for doubt := true; doubt; {
		o := w.lastWords()
		if !w.await(w.subs, "got what was written last", func(s *subscription) bool { return s.has(o) != no }) {
			return
		}
		doubt = slices.ContainsFunc(w.subs, func(s *subscription) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.has(o) == perhaps
		})
	}
}

// lastWords makes a change of which each scope is told.
func (w *world) lastWords() *op {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	wr := writer{w: w, rnd: w.rnd}
	defer wr.disconnect()
	err := wr.connect(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	tx, err := wr.conn.Begin(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	c := change{writer: &wr, ctx: ctx, tx: tx, op: w.history.begin()}
	for _, s := range allScopes() {
		if !strings.HasPrefix(s, "mood:") {
			c.want(want{published(c.op.id), s, nil})
			_, err = tx.Exec(ctx, "select pgbell.publish($1, jsonb_build_object('op', $2::bigint))", s, c.op.id)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	for p := range projects {
		id := w.history.ids(1)
		c.want(want{written("moods", 0, id), scope("mood", 1+p), users})
		if _, err = tx.Exec(ctx, "insert into moods values ($1, $2, $3)", id, 1+p, users); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := c.exec("select"); err != nil {
		w.t.Fatal(err)
	}
	if err := w.commit(ctx, tx, []*op{c.op}); err != nil {
		w.t.Fatal(err)
	}
	return c.op
}
