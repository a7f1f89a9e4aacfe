package listener

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

func TestInsertArrives(t *testing.T) {
	w := start(t, example.Database(t), options{})
	r := w.subscribe("tasks", "task:7", "note:8", "task:9")
	w.exec("insert into tasks (id, n) values (7, 70)")
	for _, scope := range []string{"tasks", "task:7"} {
		e := r.next()
		if e.Scope != scope || e.Op != bus.OpInsert || e.Table != "public.tasks" || string(e.Key) != `{"id":7}` ||
			string(e.Data) != `{"n":70}` || e.Tx == 0 || !e.Audience.Everyone() || time.Since(e.At) > time.Minute {
			t.Errorf("got %+v", e)
		}
	}
	w.exec("set pgbell.origin = 'me'; insert into notes (id) values (8)")
	if e := r.next(); e.Scope != "note:8" || e.Op != bus.OpInsert || e.Table != "public.notes" || string(e.Key) != `{"id":8}` || e.Origin != "me" {
		t.Errorf("got %+v", e)
	}
	if rest := r.rest(); len(rest) > 0 {
		t.Errorf("and then %v", briefs(rest))
	}
	if s := w.l.Stats(); !s.Connected || s.Connections != 1 || s.Records < 3 || s.Notifications < 3 || s.Ignored != 0 {
		t.Errorf("stats: %+v", s)
	}
}

func TestEventsComeInTheOrderOfCommits(t *testing.T) {
	w := start(t, example.Database(t), options{})
	r := w.subscribe("tasks")
	first, second := connect(t, w.url), connect(t, w.url)
	execOn(t, first, "begin; insert into tasks values (1, 1, 1)")
	execOn(t, second, "begin; insert into tasks values (2, 1, 2)")
	w.exec("insert into tasks values (3, 1, 3)")
	got := []int64{n(t, r.next())}
	execOn(t, second, "commit")
	got = append(got, n(t, r.next()))
	execOn(t, first, "commit")
	got = append(got, n(t, r.next()))
	if want := []int64{3, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if rest := r.rest(); len(rest) > 0 {
		t.Errorf("and then %v", briefs(rest))
	}
}

// An event's stamp must not cover it: who resumes from there would miss the rest
// of its batch. Once the batch is out, the bus's position covers it.
func TestStampComesBeforeAndPositionAfter(t *testing.T) {
	w := start(t, example.Database(t), options{})
	r := w.subscribe("tasks")
	for range 20 {
		w.exec("insert into tasks select coalesce(max(id), 0) + 1 from tasks")
		e := r.next()
		if parse(t, e.Cursor).Covers(e.Tx) {
			t.Errorf("transaction %d is stamped %s", e.Tx, e.Cursor)
		}
		await(t, "the position covers what was read", func() bool {
			position, ok := r.sub.Drained()
			return ok && parse(t, position).Covers(e.Tx)
		})
	}
}

func TestFeedsAreFollowedAsTheyComeAndGo(t *testing.T) {
	w := start(t, example.Database(t), options{Config: Config{Tick: time.Hour}})
	w.exec("create table a (id int primary key); create table b (id int primary key)")
	r := w.subscribe("a:1", "b:1", "b:2", "c:1")
	check := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, briefs(r.rest())); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	w.exec("select pgbell.attach('a', array['a:{id}'])")
	w.exec("select pgbell.attach('b', array['b:{id}'], durable => false)")
	check("attach", []string{}...)
	w.exec("insert into a values (1)")
	w.exec("insert into b values (1)")
	check("insert", "insert a:1", "insert b:1")
	w.exec("select pgbell.attach('a', array['c:{id}'])")
	r.restIs("attach again", "reset a:1 attached again", "reset c:1 attached again")
	w.exec("update a set id = 1")
	check("no change", []string{}...)
	w.exec("delete from a")
	check("delete", "delete c:1")
	w.exec("select pgbell.attach('b', array['b:{id}'])") // durable from now on
	r.restIs("made durable", "reset b:1 attached again", "reset b:2 attached again")
	w.exec("insert into b values (2)")
	check("durable insert", "insert b:2")
	w.exec("select pgbell.attach('b', array['b:{id}'], durable => false)")
	r.restIs("made volatile", "reset b:1 attached again", "reset b:2 attached again")
	w.exec("delete from b where id = 2")
	check("volatile delete", "delete b:2")
	w.exec("select pgbell.detach('b')")
	r.restIs("detach", "reset b:1 detached", "reset b:2 detached")
	w.exec("insert into b values (2)")
	check("after detach", []string{}...)
}

// It is attached after the listener looked for feeds, and before the snapshot from
// which it reads on.
func TestFeedAttachedDuringTheStartIsKnown(t *testing.T) {
	url := example.Database(t)
	conn := connect(t, url)
	execOn(t, conn, "create table a (id int primary key)")
	var once sync.Once
	w := start(t, url, options{Config: Config{Tick: time.Hour}, query: func(sql string) {
		if strings.Contains(sql, "order by xid desc") {
			once.Do(func() { execOn(t, conn, "select pgbell.attach('a', array['a:{id}'], durable => false)") })
		}
	}})
	r := w.subscribe("a:1")
	w.exec("insert into a values (1)")
	if got := briefs(r.rest()); !slices.Equal(got, []string{"insert a:1"}) {
		t.Errorf("got %v", got)
	}
}

// The notification of a write that committed together with the attach may come
// before the listener knows of the feed.
func TestFirstWriteOfVolatileFeedIsNotLost(t *testing.T) {
	w := start(t, example.Database(t), options{Config: Config{Tick: time.Hour}})
	w.exec("create table a (id int primary key)")
	r := w.subscribe("a:1")
	w.exec("begin; select pgbell.attach('a', array['a:{id}'], durable => false); insert into a values (1); commit")
	if e := r.next(); e.Scope != "a:1" || e.Op != bus.OpReset && e.Op != bus.OpInsert {
		t.Errorf("got %v", brief(e))
	}
}

// The trigger of a renamed table speaks of it under its new name, and no record
// in the journal says so.
// A replay that a stream joins covers transactions, but not what they did to volatile
// feeds: such an event must not look like one of them.
func TestVolatileEventIsOfNoTransaction(t *testing.T) {
	w := start(t, example.Database(t), options{})
	r := w.subscribe("notes")
	w.exec("insert into notes (id) values (1)")
	if e := r.next(); e.Op != bus.OpInsert || e.Tx != 0 {
		t.Errorf("got %+v", e)
	}
}

func TestRenamedVolatileTableIsFound(t *testing.T) {
	w := start(t, example.Database(t), options{Config: Config{Tick: 20 * time.Millisecond}})
	r := w.subscribe("note:1", "note:2")
	w.exec("alter table notes rename to memos")
	w.exec("insert into memos (id) values (1)")
	if e := r.until(isReset)[0]; e.Table != "public.memos" {
		t.Errorf("got %+v", e)
	}
	r.rest()
	w.exec("insert into memos (id) values (2)")
	if got := briefs(r.rest()); !slices.Equal(got, []string{"insert note:2"}) {
		t.Errorf("got %v", got)
	}
}

func TestTruncateResetsWhoListens(t *testing.T) {
	w := start(t, example.Database(t), options{})
	r := w.subscribe("tasks", "task:1", "task:2", "project:9", "note:1", "notes", "other", "xtasks", "task:")
	w.exec("insert into tasks (id) values (1)")
	r.rest()
	w.exec("truncate tasks")
	r.restIs("durable", "reset project:9 truncate", "reset task: truncate", "reset task:1 truncate", "reset task:2 truncate", "reset tasks truncate")
	w.exec("truncate notes")
	r.restIs("volatile", "reset note:1 truncate", "reset notes truncate")
}

// A definition that drifts resets the feed's scopes on each write, and the listener
// goes on.
func TestDriftResets(t *testing.T) {
	w := start(t, example.Database(t), options{})
	r := w.subscribe("task:1", "project:9", "notes")
	w.exec("alter table tasks drop column project")
	w.exec("insert into tasks (id) values (1)")
	r.restIs("durable", "reset project:9 definition changed", "reset task:1 definition changed")
}

// What is wrong with a feed may keep its table from telling anything: its scopes are
// reset without a write, again and again until it is mended.
func TestScopesOfAFeedThatIsAmissAreReset(t *testing.T) {
	for name, sql := range map[string]string{
		"a column is another one": "alter table tasks drop column project; alter table tasks add column project int not null default 1",
		"the table is dropped":    "drop table tasks",
		"a trigger is disabled":   "alter table tasks disable trigger all",
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, example.Database(t), options{Config: Config{Retention: 200 * time.Millisecond}})
			r, other := w.subscribe("task:1"), w.subscribe("notes", "note:1")
			w.exec(sql)
			for range 2 {
				if e := r.next(); e.Op != bus.OpReset || e.Scope != "task:1" || e.Reason != "definition changed" {
					t.Errorf("got %+v", e)
				}
			}
			w.exec("create table if not exists tasks (id bigint primary key, project int, n int); select pgbell.attach('tasks', array['task:{id}'])")
			w.exec("insert into tasks (id) values (1)")
			r.until(func(e bus.ChangeEvent) bool { return e.Op == bus.OpInsert })
			if events := other.rest(); len(events) > 0 {
				t.Errorf("of other feeds: %+v", events)
			}
		})
	}
}

func TestListenersShareADatabase(t *testing.T) {
	a := start(t, example.Database(t), options{})
	b := start(t, a.url, options{})
	ra, rb := a.subscribe("tasks", "notes"), b.subscribe("tasks", "notes")
	a.exec("insert into tasks (id) values (1)")
	a.exec("insert into notes (id) values (1)")
	a.exec("delete from tasks")
	want := []string{`insert tasks {"n":0}`, "insert notes", `delete tasks {"n":0}`}
	for _, r := range []*reader{ra, rb} {
		left := len(want) // between the two feeds there is no order
		got := briefs(r.until(func(e bus.ChangeEvent) bool { left--; return left == 0 }))
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if ignored := a.l.Stats().Ignored + b.l.Stats().Ignored; ignored > 0 {
		t.Errorf("%d notifications ignored", ignored)
	}
}
