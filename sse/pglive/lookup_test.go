package pglive

import (
	"strings"
	"testing"

	"github.com/pgbell/pgbell/sse"
)

// cards is a schema with a query that shows names behind a key in other rows.
const cards = `
create table people (id text primary key, name text);
create table cards (id int primary key, board int, owner text);
insert into people select chr(96 + i), 'name ' || i from generate_series(1, 9) i;
select pgbell.attach('cards', '{"board:{board}"}'), pgbell.attach('people', '{people,"person:{id}"}');
create function board(p int) returns table (id int, name text) stable
begin atomic
	select c.id, o.name from cards c left join people o on o.id = c.owner where c.board = p order by c.id;
end;
select pgbell.live('board');`

// A change of a row that no card names costs no run, whoever is named in the meantime.
func TestOnlyRowsThatAreLookedUpMatter(t *testing.T) {
	w := newWorld(t, cards)
	s := w.serve(Config{}, sse.Config{})
	st := s.open("", live("board?p=1"))
	st.expect("ready", "")
	if got := w.ask(`select scopes from pgbell.lives`); got != "{board:$1,person:{cards.owner}}" && got != `{board:$1,"person:{cards.owner}"}` {
		t.Errorf("scopes %s", got)
	}
	for _, step := range []struct {
		sql  string
		want string
		runs bool
	}{
		{`update people set name = 'A' where id = 'a'`, "", false},
		{`insert into cards values (1, 1, 'a')`, "live:board?p=1 changed", true},
		{`update people set name = 'AA' where id = 'a'`, "live:board?p=1 changed", true},
		{`update people set name = 'BB' where id <> 'a'`, "", false},
		{`update cards set owner = 'b'`, "live:board?p=1 changed", true},
		{`update people set name = 'A' where id = 'a'`, "", false},
		{`update people set name = 'B' where id = 'b'`, "live:board?p=1 changed", true},
		{`update people set id = 'x' where id = 'b'`, "live:board?p=1 changed", true},
		{`update people set id = 'b' where id = 'x'`, "live:board?p=1 changed", true},
		{`truncate people`, "live:board?p=1 changed", true},
		{`delete from cards; insert into people values ('b', 'b')`, "live:board?p=1 changed", true},
		{`update people set name = 'c'`, "", false},
	} {
		before := s.engine.Stats().Runs
		w.exec(step.sql)
		if got := ops(s.framesOf(st)); got != step.want {
			t.Errorf("%s: got %q, want %q", step.sql, got, step.want)
		}
		if after := s.engine.Stats().Runs; (after > before) != step.runs {
			t.Errorf("%s: %d runs", step.sql, after-before)
		}
	}
}

// What happens in a scope that a run finds, before it is observed, is not missed.
func TestNothingIsMissedWhileAScopeIsFound(t *testing.T) {
	w := newWorld(t, cards+`
		create function wait() returns boolean stable language plpgsql as $$
		begin
			perform pg_advisory_xact_lock_shared(7);
			return true;
		end $$;
		comment on function wait is 'pgbell: reads nothing';
		create function waits(p int) returns table (name text) stable
		begin atomic select o.name from cards c join people o on o.id = c.owner where c.board = p and wait(); end;
		select pgbell.live('waits')`)
	s := w.serve(Config{}, sse.Config{})
	st := s.open("", live("waits?p=1"))
	st.expect("ready", "")
	w.exec(`select pg_advisory_lock(7)`)
	w.exec(`insert into cards values (1, 1, 'b')`)
	w.until("a run waits, its snapshot taken", func() bool {
		return w.ask(`select count(*) from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`) == "1"
	})
	w.exec(`update people set name = 'new' where id = 'b'`)
	w.exec(`select pgbell.publish('sync')`)
	st.expect("sync", "publish") // all of that is emitted
	w.exec(`select pg_advisory_unlock(7)`)
	st.expect("live:waits?p=1", "changed")
	w.until("the name of now", func() bool { return string(s.get("", "waits?p=1").Rows) == `[{"name":"new"}]` })
	if got := ops(s.framesOf(st)); got != "live:waits?p=1 changed" && got != "" {
		t.Errorf("told also of %s", got)
	}
}

// Where a feed has no scope for the whole table, lookups will do, up to a limit.
func TestFeedWithoutScopeOfTheWholeTable(t *testing.T) {
	w := newWorld(t, cards+`select pgbell.attach('people', '{"person:{id}"}')`)
	s := w.serve(Config{}, sse.Config{})
	st := s.open("", live("board?p=1"))
	st.expect("ready", "")
	w.exec(`insert into cards values (1, 1, 'a')`)
	st.expect("live:board?p=1", "changed")
	w.exec(`update people set name = 'A' where id = 'a'`)
	st.expect("live:board?p=1", "changed")
	w.exec(`insert into cards select i, 1, 'p' || i from generate_series(2, 101) i`)
	if f := st.expect("live:board?p=1", "reset"); f.Reason != "the query has no result at the moment" {
		t.Errorf("reason: %q", f.Reason)
	}
	if log := s.log.String(); !strings.Contains(log, "public.cards.owner are more than 100, and no scope tells of all of public.people") {
		t.Error(log)
	}
	w.exec(`delete from cards where id > 1`)
	st.expect("live:board?p=1", "changed")
	// With such a scope there is no limit.
	w.exec(`select pgbell.attach('people', '{people,"person:{id}"}')`)
	w.exec(`insert into cards select i, 1, 'p' || i from generate_series(2, 101) i; insert into people values ('p101', 'x')`)
	w.until("all cards", func() bool { return strings.Contains(string(s.get("", "board?p=1").Rows), `{"id":101,"name":"x"}`) })
	w.exec(`update people set name = 'last' where id = 'p101'`)
	w.until("the name of now", func() bool {
		return strings.Contains(string(s.get("", "board?p=1").Rows), `{"id":101,"name":"last"}`)
	})
}

// A role that may read a view and not its tables can look nothing up: it listens to more.
func TestRoleThatMayNotReadTheTables(t *testing.T) {
	w := newWorld(t, cards+`
		create view shown as select c.id, c.board, o.name from cards c left join people o on o.id = c.owner;
		create function through(p int) returns setof shown stable begin atomic select * from shown where board = p order by id; end;
		select pgbell.unlive('board'), pgbell.live('through')`)
	w.exec(`revoke select on cards from ` + w.role)
	s := w.serve(Config{}, sse.Config{})
	st := s.open("", live("through?p=1"))
	st.expect("ready", "")
	if got := w.ask(`select scopes from pgbell.lives`); got != "{board:$1,people}" {
		t.Errorf("scopes %s", got)
	}
	w.exec(`insert into cards values (1, 1, 'a')`)
	st.expect("live:through?p=1", "changed")
	w.exec(`update people set name = 'A' where id = 'a'`)
	st.expect("live:through?p=1", "changed")
	w.exec(`grant select on cards to ` + w.role)
	w.until("it is looked up", func() bool { return strings.Contains(w.ask(`select scopes from pgbell.lives`), "person:{cards.owner}") })
}
