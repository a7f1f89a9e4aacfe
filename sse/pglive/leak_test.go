package pglive

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pgbell/pgbell/sse"
)

// Two worlds differ by rows that ann doesn't see. What she gets is the same in both, frame by
// frame: their number, their names and all that is in them, also as she comes back. Of that
// which differs, only ids are left out, which count everybody's transactions.
func TestHiddenRowsChangeNoFrame(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 1))
	var servers []*server
	for range 2 {
		w := newWorld(t, several)
		w.exec(`insert into members values (1, 'ann')`)
		servers = append(servers, w.serve(Config{}, sse.Config{}))
	}
	queries := []string{"board?p=1", "mine", "of_teams?from_id=0", "named"}
	modes := []string{"", "all", "delta"}
	streams := map[string][]*stream{}
	open := func(mode string, ids []string) {
		streams[mode] = nil
		for i, s := range servers {
			values, header := live(queries...), []string(nil)
			if mode != "" {
				values.Set("rows", mode)
			}
			if ids != nil {
				header = []string{"Last-Event-ID", ids[i]}
			}
			streams[mode] = append(streams[mode], s.open("ann/x, ann", values, header...))
		}
	}
	told := map[string]int{}
	compare := func(mode, after string) {
		t.Helper()
		var got [2][]string
		for i, s := range servers {
			for _, f := range s.framesOf(streams[mode][i]) {
				if f.name == "ready" {
					f.data = ""
				}
				got[i] = append(got[i], f.name+" "+f.data)
				told[f.Op]++
			}
			slices.Sort(got[i]) // which query comes first is chance
		}
		if !slices.Equal(got[0], got[1]) {
			t.Fatalf("%s, rows=%s:\nwith hidden rows %q\nwithout %q", after, mode, got[0], got[1])
		}
	}
	for _, mode := range modes {
		open(mode, nil)
		compare(mode, "at first")
	}
	id := func() int { return rnd.IntN(6) }
	visible := []func() string{
		func() string {
			return fmt.Sprintf("insert into tasks values (%d, %d, 'ann', '%s', 1) on conflict (id) do update set title = excluded.title", id(), 1+rnd.IntN(2), strings.Repeat("x", id()))
		},
		func() string { return fmt.Sprintf("update tasks set team = %d where id = %d", rnd.IntN(2), id()) },
		func() string { return fmt.Sprintf("delete from tasks where id = %d", id()) },
		func() string { return fmt.Sprintf("update users set name = 'n%d' where id = 'ann'", id()) },
		func() string { return "update tasks set title = title" },
	}
	hidden := []func() string{
		func() string {
			return fmt.Sprintf("insert into tasks values (%d, %d, 'bob', 'b', 9) on conflict (id) do update set title = tasks.title || 'b'", 100+id(), 1+rnd.IntN(2))
		},
		func() string {
			return fmt.Sprintf("update tasks set project_id = 3 - project_id where id = %d", 100+id())
		},
		func() string { return fmt.Sprintf("delete from tasks where id = %d", 100+id()) },
		func() string { return fmt.Sprintf("update users set name = 'n%d' where id = 'bob'", id()) },
		func() string { return "insert into members values (9, 'bob'), (8, 'bob') on conflict do nothing" },
		func() string { return "delete from members where person = 'bob'" },
		func() string { return "select pgbell.publish('tasks', '1'), pgbell.publish('project:1', '1')" },
	}
	for step := range *steps / 5 {
		back, mode := rnd.IntN(3) == 0, modes[rnd.IntN(3)]
		after := fmt.Sprintf("step %d, %s comes back: %v", step, mode, back)
		ids := make([]string, len(servers))
		if back {
			for i, st := range streams[mode] {
				ids[i] = st.last()
				st.close()
			}
		}
		hide := func(n int) {
			for range n {
				sql := hidden[rnd.IntN(len(hidden))]()
				servers[0].w.exec(sql)
				after += "\n-- " + sql
			}
		}
		hide(rnd.IntN(3))
		if rnd.IntN(2) == 0 {
			sql := visible[rnd.IntN(len(visible))]()
			for _, s := range servers {
				s.w.exec(sql)
			}
			after += "\n" + sql
		}
		// Who comes back amid a run for a visible row may be told of it, or that it can't be told: that
		// is chance. What only a hidden row has begun makes no difference.
		if other := modes[(slices.Index(modes, mode)+1)%len(modes)]; back {
			compare(other, after)
			hide(rnd.IntN(3))
			for i, s := range servers {
				if got := s.emitted(streams[other][i]); len(got) > 0 {
					t.Fatalf("%s: got %v", after, got)
				}
			}
			open(mode, ids)
		}
		for _, mode := range modes {
			compare(mode, after)
		}
	}
	t.Log("frames:", told)
	if told["changed"] == 0 || told["delta"] == 0 || told["rows"] == 0 {
		t.Error("some kind of frame never came")
	}
}
