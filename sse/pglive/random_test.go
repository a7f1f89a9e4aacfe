package pglive

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pgbell/pgbell/sse"
)

var (
	steps = flag.Int("steps", 250, "writes of TestNoViewerIsLeftStale; a fifth of them in TestHiddenRowsChangeNoFrame")
	seed  = flag.Uint64("seed", 1, "of the two")
)

const several = board + `
create table members (team int, person text, primary key (team, person));
select pgbell.attach('members', '{members,"person:{person}"}');
alter table tasks add column team int;
select pgbell.attach('users', '{users,"user:{id}"}');
select pgbell.attach('tasks', '{"project:{project_id}","tasks","team:{team}"}', audience => '{owner}');
create function mine(user_id text) returns table (project_id int, n bigint) stable
begin atomic select t.project_id, count(*) from tasks t where t.owner = user_id group by 1 order by 1; end;
create function of_teams(user_id text, from_id int) returns table (id int, team int) stable
begin atomic
	select t.id, t.team from members m join tasks t on t.team = m.team where m.person = user_id and t.id >= from_id order by 1, 2;
end;
create function crew(user_id text) returns table (id int, name text) stable
begin atomic
	select t.id, u.name from members m join tasks t on t.team = m.team left join users u on u.id = t.owner where m.person = user_id order by 1, 2;
end;
create function named(groups text[]) returns table (id text, name text) stable
begin atomic select u.id, u.name from users u where u.id = any (groups) order by 1; end;
create function longest() returns text stable
begin atomic select title from tasks order by length(title) desc, title limit 1; end;
select pgbell.live('board', key => '{id}'), pgbell.live('mine', key => '{project_id}'), pgbell.live('of_teams'), pgbell.live('named'), pgbell.live('longest'), pgbell.live('crew');`

// viewer is a page that shows the result of a live query.
type viewer struct {
	user, query string
	call        string // the same in SQL
	frames      string // which rows they have: "", "all", "delta"

	mu      sync.Mutex
	shown   string
	key     []string
	rows    []json.RawMessage
	fetched int            // times
	ops     map[string]int // of frames

	failures int
	st       *stream
	id       string
	ended    chan struct{}
	missed   bool // a frame was not followed by a fetch
}

// watch opens a stream at s, and fetches the result whenever a frame says so, as a page would.
func (v *viewer) watch(s *server) error {
	values := live(v.query)
	if v.frames != "" {
		values.Set("rows", v.frames)
	}
	var header []string
	if v.id != "" {
		header = []string{"Last-Event-ID", v.id}
	}
	st, err := s.tryOpen(v.user, values, header...)
	if err != nil {
		return err
	}
	v.st, v.ended, v.missed = st, make(chan struct{}), false
	go func() {
		defer close(v.ended)
		for f := range st.frames {
			owed := v.frames == "" && v.id == "" && f.name == "ready"
			if strings.HasPrefix(f.name, "live:") {
				owed = v.frames == ""
				v.mu.Lock()
				v.ops[f.Op]++
				if f.Reason == "the query has no result at the moment" { // the end of that is told, too
					v.failures++
				}
				v.take(f)
				v.mu.Unlock()
			}
			for owed {
				var header []string
				if v.fetched++; v.fetched%3 == 0 {
					header = []string{"Cache-Control", "no-cache"}
				}
				a, err := s.tryGet(context.Background(), v.user, v.query, header...)
				if err == nil && a.status == 200 {
					v.mu.Lock()
					v.shown = string(a.Rows)
					v.mu.Unlock()
					owed = false
				} else if err != nil { // the server went
					v.missed = true
					return
				}
			}
		}
	}()
	return nil
}

// take shows the rows of a frame, which are all, or what is another.
func (v *viewer) take(f frame) {
	switch f.Op {
	case "rows":
		v.key, v.rows = f.Key, f.Rows
	case "delta":
		has := func(keys []json.RawMessage, row json.RawMessage) bool {
			return slices.ContainsFunc(keys, func(k json.RawMessage) bool { return string(k) == v.keyOf(row) })
		}
		v.rows = slices.DeleteFunc(slices.Clone(v.rows), func(row json.RawMessage) bool { return has(f.Gone, row) })
		for _, row := range f.Set {
			same := func(other json.RawMessage) bool { return v.keyOf(other) == v.keyOf(row) }
			if i := slices.IndexFunc(v.rows, same); i >= 0 {
				v.rows[i] = row
			} else {
				v.rows = append(v.rows, row)
			}
		}
		if f.Order != nil {
			place := func(row json.RawMessage) int {
				return slices.IndexFunc(f.Order, func(k json.RawMessage) bool { return string(k) == v.keyOf(row) })
			}
			slices.SortFunc(v.rows, func(a, b json.RawMessage) int { return place(a) - place(b) })
		}
	default:
		return
	}
	v.shown = "["
	for i, row := range v.rows {
		if i > 0 {
			v.shown += ","
		}
		v.shown += string(row)
	}
	v.shown += "]"
}

// keyOf is for a key of one column, or none.
func (v *viewer) keyOf(row json.RawMessage) string {
	if len(v.key) == 0 {
		return string(row)
	}
	var columns map[string]json.RawMessage
	if err := json.Unmarshal(row, &columns); err != nil {
		panic(err)
	}
	return string(columns[v.key[0]])
}

// leave ends the stream, once all that came was fetched.
func (v *viewer) leave() {
	if v.st == nil {
		return
	}
	v.st.close()
	<-v.ended
	if last := v.st.last(); !v.missed && last != "" {
		v.id = last
	}
	v.st = nil
}

// Whatever is written, and whatever breaks, each page shows in the end what its user's query
// gives; and who sees no row is told of none.
func TestNoViewerIsLeftStale(t *testing.T) {
	w := newWorld(t, several)
	rnd := rand.New(rand.NewPCG(*seed, 0))
	servers := [2]*server{}
	for i := range servers {
		servers[i] = w.serve(Config{}, sse.Config{})
	}
	people := []string{"ann", "bob", "cid", "eve"}
	var viewers []*viewer
	for _, user := range people {
		for query, call := range map[string]string{
			"board?p=1": fmt.Sprintf("board(1, '%s')", user), "mine": fmt.Sprintf("mine('%s')", user), "crew": fmt.Sprintf("crew('%s')", user),
			"of_teams?from_id=3": fmt.Sprintf("of_teams('%s', 3)", user), "named": "named(array['x','" + user + "'])", "longest": "longest()",
		} {
			as := user
			if query == "named" {
				as += "/x, " + user
			}
			for _, frames := range []string{"", "all", "delta"} {
				viewers = append(viewers, &viewer{user: as, query: query, call: call, frames: frames, ops: map[string]int{}})
			}
		}
	}
	reopen := func(v *viewer) {
		v.leave()
		if err := v.watch(servers[rnd.IntN(2)]); err != nil {
			t.Fatalf("%s: %v", v.query, err)
		}
	}
	for _, v := range viewers {
		reopen(v)
	}
	allShow := func() {
		t.Helper()
		for _, v := range viewers {
			want := w.ask(`select '[' || coalesce(string_agg(row_to_json(x)::text, ','), '') || ']' from (select * from ` + v.call + `) x`)
			w.until(fmt.Sprintf("%s sees in %s (rows=%s) %s", v.user, v.query, v.frames, want), func() bool {
				v.mu.Lock()
				defer v.mu.Unlock()
				return v.shown == want
			})
		}
	}
	for step := range *steps {
		if rnd.IntN(10) == 0 { // what would be mended by the next change
			allShow()
		}
		w.write(rnd, step)
		switch rnd.IntN(12) {
		case 0, 1, 2:
			reopen(viewers[rnd.IntN(len(viewers))])
		case 3:
			w.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and (hashtext(pid::text) + $1) % 3 = 0`, step)
		case 4:
			if rnd.IntN(4) > 0 {
				continue
			}
			i := rnd.IntN(2)
			for _, v := range viewers {
				if v.st.s == servers[i] {
					v.leave()
				}
			}
			servers[i].stop()
			servers[i] = w.serve(Config{}, sse.Config{})
			for _, v := range viewers {
				reopen(v)
			}
		}
	}
	allShow()
	for _, v := range viewers {
		if v.mu.Lock(); v.user == "eve" && v.query != "longest" && v.ops["changed"]+v.ops["delta"] > v.failures {
			t.Errorf("eve, who sees nothing in %s, was told of %v", v.query, v.ops)
		}
		v.mu.Unlock()
	}
	for _, v := range viewers {
		v.leave()
	}
	all := map[string]int{}
	for _, v := range viewers {
		for op, n := range v.ops {
			all[op] += n
		}
	}
	t.Log("frames:", all)
}

// write changes something, in one transaction.
func (w *world) write(rnd *rand.Rand, step int) {
	w.t.Helper()
	id := func() int { return rnd.IntN(8) }
	person := func() string { return []string{"ann", "bob", "cid"}[rnd.IntN(3)] }
	var all []string
	for range 1 + rnd.IntN(3) {
		all = append(all, []func() string{
			func() string {
				return fmt.Sprintf("insert into tasks values (%d, %d, '%s', '%s', %d) on conflict (id) do update set project_id = excluded.project_id, owner = excluded.owner",
					id(), rnd.IntN(2)+1, person(), strings.Repeat("x", id()), rnd.IntN(3))
			},
			func() string {
				return fmt.Sprintf("update tasks set title = '%s' where id = %d", strings.Repeat("y", id()), id())
			},
			func() string { return fmt.Sprintf("update tasks set team = %d where id >= %d", rnd.IntN(3), id()) },
			func() string { return fmt.Sprintf("delete from tasks where id = %d", id()) },
			func() string { return fmt.Sprintf("update users set name = 'n%d' where id = '%s'", step, person()) },
			func() string {
				return fmt.Sprintf("insert into members values (%d, '%s') on conflict do nothing", rnd.IntN(3), person())
			},
			func() string { return fmt.Sprintf("delete from members where team = %d", rnd.IntN(3)) },
			func() string { return fmt.Sprintf("update tasks set owner = '%s' where id = %d", person(), id()) },
			func() string { return "truncate members" },
		}[rnd.IntN(9)]())
	}
	end := "commit"
	if rnd.IntN(8) == 0 {
		end = "rollback"
	}
	w.exec("begin; " + strings.Join(all, "; ") + "; " + end)
}
