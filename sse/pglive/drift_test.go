package pglive

import (
	"strings"
	"testing"

	"github.com/pgbell/pgbell/sse"
)

// What becomes of a query in the catalog is seen, told, and shown in pgbell.lives.
func TestDriftIsToldOf(t *testing.T) {
	w := newWorld(t, board+`insert into tasks values (1, 7, 'ann', 'a')`)
	s := w.serve(Config{}, sse.Config{})
	const q, scope = "board?p=7", "live:board?p=7"
	st := s.open("ann", live(q))
	st.expect("ready", "")
	state := func() string { return w.ask(`select state from pgbell.lives where name = 'board'`) }
	if got := state(); got != "ok" {
		t.Error(got)
	}
	if got := w.ask(`select depends || scopes from pgbell.lives`); got != "{public.tasks,public.users,project:$1,users}" {
		t.Error(got)
	}
	// Another body: another result, and other scopes.
	w.exec(`create or replace function board(p int, user_id text) returns table (id int, title text, "by" text) stable
		begin atomic select t.id, upper(t.title), null from tasks t where t.project_id = p and t.owner = user_id; end`)
	st.expect(scope, "changed")
	if a := s.get("ann", q); string(a.Rows) != `[{"id":1,"title":"A","by":null}]` {
		t.Errorf("got %s", a.Rows)
	}
	if got := w.ask(`select scopes from pgbell.lives`); got != "{project:$1}" {
		t.Error(got)
	}
	// Without the feed nothing would tell.
	w.exec(`select pgbell.detach('tasks')`)
	st.expect(scope, "reset")
	if got := state(); !strings.HasPrefix(got, "a change could go unheard: public.tasks has no feed: select pgbell.attach(") {
		t.Error(got)
	}
	if a := s.get("ann", q); a.status != 503 || strings.Contains(a.all, "attach") {
		t.Errorf("got %d %s", a.status, a.all)
	}
	w.exec(`update tasks set title = 'unheard'`)
	w.exec(`select pgbell.attach('tasks', '{tasks}', audience => '{owner}')`)
	st.expect(scope, "changed")
	if a := s.get("ann", q); string(a.Rows) != `[{"id":1,"title":"UNHEARD","by":null}]` {
		t.Errorf("got %s", a.Rows)
	}
	w.exec(`update tasks set title = 'heard'`)
	st.expect(scope, "changed")
	w.exec(`alter function board(int, text) volatile`)
	st.expect(scope, "reset")
	if got := state(); !strings.Contains(got, "VOLATILE") {
		t.Error(got)
	}
	w.exec(`alter function board(int, text) stable`)
	st.expect(scope, "changed")
	w.exec(`drop function board`)
	st.expect(scope, "reset")
	if got := state(); got != "the function is gone" {
		t.Error(got)
	}
	// With other arguments, the stream has to ask anew: it can't, and ends for good.
	w.exec(`create function board(q int, user_id text) returns int stable begin atomic select 1; end; select pgbell.live('board')`)
	if f := st.expect("close", ""); f.Reason != "no longer allowed" {
		t.Errorf("%+v", f)
	}
}

func TestUnliveEndsTheStreams(t *testing.T) {
	w := newWorld(t, board)
	s := w.serve(Config{}, sse.Config{})
	st := s.open("ann", live("board?p=7"))
	st.expect("ready", "")
	if got := w.ask(`select pgbell.unlive('board')`) + w.ask(`select pgbell.unlive('board')`); got != "truefalse" {
		t.Error(got)
	}
	st.expect("close", "")
	if a := s.get("ann", "board?p=7"); a.status != 404 {
		t.Errorf("got %d %s", a.status, a.all)
	}
	// It is there again at once, though nobody has looked yet.
	w.exec(`select pgbell.live('board')`)
	w.until("it is found", func() bool { return s.get("ann", "board?p=7").status == 200 })
}

func TestLiveRefusesWhatIsUnfit(t *testing.T) {
	w := newWorld(t, `
		create schema app; create schema other;
		create function app.f() returns int stable language sql return 1;
		create function v() returns int language sql return 1;
		create function unnamed(int) returns int stable language sql return 1;
		create function inout_(inout a int) stable language sql return 1;
		create function typed(user_id int) returns int stable language sql return 1;
		create function many(variadic a int[]) returns int stable language sql return 1;
		create procedure p() language sql begin atomic select 1; end;
		create function anything() returns setof record stable language sql begin atomic select 1; end;
		create table things (id int, gone int, "Odd one" int); alter table things drop column gone;
		create function all_things() returns setof things stable begin atomic select * from things; end;
		create function listed() returns table (a int, b int) stable begin atomic select 1, 2; end;
		create function nothing() returns void stable language sql begin atomic select 1; end;`)
	for call, want := range map[string]string{
		`'v'`: "v() is VOLATILE", `'unnamed'`: "without a name", `'inout_'`: "by which it returns", `'typed'`: "user_id as text",
		`'many'`: "any number", `'p'`: "no function", `'nothing'`: "returns no rows", `'sum'`: "more than one", `'pg_sleep'`: "VOLATILE",
		`'app.f', every => '1 millisecond'`: "from a second", `'anything'`: "returns rows without saying of which columns",
		`'app.f', key => '{g}'`: "columns of the result: f", `'all_things', key => '{id,gone}'`: "columns of the result: id, Odd one",
		`'listed', key => '{NULL}'`: "columns of the result: a, b",
	} {
		_, err := w.conn.Exec(t.Context(), `select pgbell.live(`+call+`)`)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("live(%s): %v, want %s", call, err, want)
		}
	}
	w.exec(`select pgbell.live('all_things', key => '{id,Odd one}'), pgbell.live('listed', key => '{b}')`)
	w.exec(`select pgbell.unlive('all_things'), pgbell.unlive('listed')`)
	w.exec(`select pgbell.live('app.f', key => '{}')`)
	if got := w.ask(`select name || ' ' || function from pgbell.lives`); got != "app.f app.f()" {
		t.Error(got)
	}
	s := w.serve(Config{}, sse.Config{})
	w.exec(`grant usage on schema app to ` + w.role)
	if a := s.get("", "app.f"); string(a.Rows) != `[{"f":1}]` {
		t.Errorf("got %s", a.all)
	}
}

// The role of the server needs what grant_listener gives, and to be a member of the role that
// runs the queries.
func TestServerNeedsOnlyItsGrants(t *testing.T) {
	w := newWorld(t, board+`insert into tasks values (1, 7, 'ann', 'a')`)
	ear := w.role + "_ear"
	w.exec(`create role ` + ear + ` login; select pgbell.grant_listener('` + ear + `'); grant ` + w.role + ` to ` + ear)
	t.Cleanup(func() { w.cleanUp(`drop owned by ` + ear + `; drop role ` + ear) })
	conf := w.conn.Config()
	conf.User = ear
	s := w.serveAs(conf, Config{}, sse.Config{})
	st := s.open("ann", live("board?p=7"))
	st.expect("ready", "")
	w.exec(`update tasks set title = 'b'`)
	st.expect("live:board?p=7", "changed")
	if a := s.get("ann", "board?p=7"); string(a.Rows) != `[{"id":1,"title":"b","by":"Ann"}]` {
		t.Errorf("got %s", a.all)
	}
	if got := w.ask(`select state from pgbell.lives`); got != "ok" {
		t.Error(got)
	}
	w.exec(`revoke ` + w.role + ` from ` + ear)
	e, err := New(conf, s.bus, Config{Role: w.role})
	w.must(err)
	defer e.Close()
	if err := e.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "permission denied to set role") {
		t.Errorf("not a member: %v", err)
	}
}

// Who comes into a group or leaves it, is told, and sees the result of now.
func TestGroupsOfNow(t *testing.T) {
	w := newWorld(t, `
		create table docs (id int primary key, team text);
		select pgbell.attach('docs', '{docs}', audience => '{"team:{team}"}');
		create function readable(groups text[]) returns table (id int) stable
		begin atomic select d.id from docs d where 'team:' || d.team = any (groups) order by 1; end;
		select pgbell.live('readable');
		insert into docs values (1, 'a'), (2, 'b')`)
	teams := w.groups()
	teams.set("ann", "team:a")
	s := w.serve(Config{}, sse.Config{Groups: teams.of})
	st := s.open("ann", live("readable"))
	st.expect("ready", "")
	if a := s.get("ann", "readable"); string(a.Rows) != `[{"id":1}]` {
		t.Errorf("got %s", a.Rows)
	}
	w.exec(`insert into docs values (3, 'b')`)
	if got := ops(s.framesOf(st)); got != "" {
		t.Errorf("another team's: %s", got)
	}
	teams.set("ann", "team:b")
	w.exec(`select pgbell.regroup('ann')`)
	for f := st.expectAny("sync", "live:readable"); f.name != "live:readable"; f = st.expectAny("sync", "live:readable") {
	}
	if a := s.get("ann", "readable"); string(a.Rows) != `[{"id":2},{"id":3}]` {
		t.Errorf("got %s", a.Rows)
	}
	w.exec(`insert into docs values (4, 'b')`)
	st.expect("live:readable", "changed")
	w.exec(`insert into docs values (5, 'a')`)
	if got := ops(s.framesOf(st)); got != "" {
		t.Errorf("another team's: %s", got)
	}
}

// A query that can't be looked into is no reason to keep no other fresh.
func TestOneThatIsAmissHoldsUpNoOther(t *testing.T) {
	w := newWorld(t, board)
	w.exec(`create function huge() returns bigint stable begin atomic ` + strings.Repeat("select count(*) from tasks union all ", 600) + `select 1; end;
		select pgbell.live('huge')`)
	s := w.serve(Config{}, sse.Config{})
	if a := s.get("ann", "board?p=7"); a.status != 200 {
		t.Errorf("got %d %s\n%s", a.status, a.all, s.log)
	}
	if got := w.ask(`select state from pgbell.lives where name = 'huge'`); !strings.Contains(got, "too many parts") {
		t.Errorf("the state of the other is %q", got)
	}
}
