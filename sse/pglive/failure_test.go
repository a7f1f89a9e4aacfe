package pglive

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/sse"
)

// While a query fails, its streams are told so once, and once it has a result again.
func TestFailureIsToldAndItsEnd(t *testing.T) {
	w := newWorld(t, `
		create table t (n int);
		select pgbell.attach('t', '{t}');
		create function f(a int) returns int stable begin atomic select sum(100 / (n - a))::int from t; end;
		select pgbell.live('f');
		insert into t values (5)`)
	s := w.serve(Config{}, sse.Config{})
	st, other := s.open("ann", live("f?a=1")), s.open("ann", live("f?a=2"))
	st.expect("ready", "")
	other.expect("ready", "")
	w.exec(`insert into t values (1)`)
	if f := st.expect("live:f?a=1", "reset"); f.Reason != "the query has no result at the moment" {
		t.Errorf("reason: %q", f.Reason)
	}
	other.expect("live:f?a=2", "changed") // one that fails doesn't keep others back
	if a := s.get("ann", "f?a=1"); a.status != 503 || strings.Contains(a.all, "division") {
		t.Errorf("got %d %s", a.status, a.all)
	}
	late := s.open("ann", live("f?a=1"))
	late.expect("ready", "")
	late.expect("live:f?a=1", "reset")
	w.exec(`delete from t where n = 1`)
	st.expect("live:f?a=1", "changed")
	late.expect("live:f?a=1", "changed")
	if a := s.get("ann", "f?a=1"); string(a.Rows) != `[{"f":25}]` {
		t.Errorf("got %s", a.Rows)
	}
	if log := s.log.String(); !strings.Contains(log, "division by zero") {
		t.Error(log)
	}
}

func TestResultsThatAreTooLarge(t *testing.T) {
	w := newWorld(t, `
		create table t (n int, v text);
		select pgbell.attach('t', '{t}');
		create function f() returns setof t stable begin atomic select * from t order by n; end;
		select pgbell.live('f');
		insert into t select i, 'v' from generate_series(1, 10) i`)
	s := w.serve(Config{MaxRows: 10, MaxBytes: 1000}, sse.Config{})
	if a := s.get("", "f"); a.status != 200 || strings.Count(string(a.Rows), `"n"`) != 10 {
		t.Errorf("got %d %s", a.status, a.all)
	}
	w.exec(`insert into t values (11)`)
	if a := s.get("", "f", "Cache-Control", "no-cache"); a.status != 503 {
		t.Errorf("11 rows: got %d %s", a.status, a.all)
	}
	w.exec(`delete from t where n > 1; update t set v = repeat('x', 1000)`)
	w.until("its own retry is due", func() bool { return strings.Contains(s.log.String(), "more rows than may be: 10") })
	w.until("too many bytes", func() bool { return s.get("", "f", "Cache-Control", "no-cache").status == 503 })
	w.exec(`update t set v = repeat('x', 900)`)
	w.until("just as many", func() bool { return s.get("", "f", "Cache-Control", "no-cache").status == 200 })
}

// A query reads, and nothing else; one that takes too long is ended and told of by name.
func TestQueriesAreHeldInBounds(t *testing.T) {
	w := newWorld(t, `
		create table t (n int);
		select pgbell.attach('t', '{t}');
		create sequence drawn;
		create function sneaky() returns int stable language plpgsql as $$ begin perform nextval('drawn'); return 1; end $$;
		comment on function sneaky() is 'pgbell: reads public.t';
		create function endless() returns int stable language plpgsql as $$ begin loop perform 1; end loop; end $$;
		comment on function endless() is 'pgbell: reads public.t';
		create function who() returns text stable language plpgsql as $$ begin return current_user; end $$;
		comment on function who() is 'pgbell: reads nothing';
		create function lazy() returns text stable language plpgsql as $$ begin perform pg_sleep(0.7); return 'x'; end $$;
		comment on function lazy() is 'pgbell: reads nothing';
		select pgbell.live('sneaky'), pgbell.live('endless'), pgbell.live('who'), pgbell.live('lazy')`)
	w.exec(`grant usage on sequence drawn to ` + w.role)
	s := w.serve(Config{Timeout: 2 * time.Second}, sse.Config{})
	for query, want := range map[string]string{"sneaky": "read-only transaction", "endless": "statement timeout"} {
		if a := s.get("", query); a.status != 503 || !strings.Contains(s.log.String(), want) {
			t.Errorf("%s: got %d %s\n%s", query, a.status, a.all, s.log)
		}
	}
	if a := s.get("", "who"); string(a.Rows) != `[{"who":"`+w.role+`"}]` {
		t.Errorf("who: %s", a.all)
	}
	w.until("lazy is told of", func() bool {
		s.get("", "lazy", "Cache-Control", "no-cache")
		return strings.HasPrefix(w.ask(`select state from pgbell.lives where name = 'lazy'`), "slow: it takes")
	})
	if w.ask(`select is_called from drawn`) != "false" {
		t.Error("something was written")
	}
}

// Many that are due run together, and the bad ones among them only by themselves.
func TestManyRunInFewStatements(t *testing.T) {
	w := newWorld(t, `
		create table t (id int primary key, n int);
		select pgbell.attach('t', '{t}');
		insert into t values (1, 7);
		create function f(a int) returns int stable begin atomic select 100 / (n - a) from t; end;
		select pgbell.live('f')`)
	s := w.serve(Config{}, sse.Config{MaxLive: 1000})
	var all []string
	for i := range 400 {
		all = append(all, fmt.Sprintf("f?a=%d", i+1000))
	}
	st := s.open("ann", live(all...))
	st.expect("ready", "")
	before := s.engine.Stats()
	w.exec(`update t set n = 8`)
	if got := len(s.framesOf(st)); got != 0 { // 100 / -993 is 0 as well
		t.Errorf("%d frames of results that stayed", got)
	}
	after := s.engine.Stats()
	if runs, statements := after.Runs-before.Runs, after.Statements-before.Statements; runs < 400 || statements > runs/40 {
		t.Errorf("%d runs in %d statements", runs, statements)
	}
	w.exec(`update t set n = 1003`)
	got := map[string]int{}
	for range 104 { // those up to a hundred from 1003, and that itself
		f, ok := st.next()
		if !ok || got[f.name] > 0 {
			t.Fatalf("got %+v (%v) after %v", f, ok, got)
		}
		got[f.name]++
		got[f.Op]++
	}
	if got["reset"] != 1 || got["changed"] != 103 || got["live:f?a=1003"] != 1 {
		t.Errorf("got %v", got)
	}
}

// Who asks for the same shares one result, and no more than the same.
func TestResultsAreShared(t *testing.T) {
	w := newWorld(t, board+`
		create function all_of(p int) returns bigint stable begin atomic select count(*) from tasks where project_id = p; end;
		select pgbell.live('all_of')`)
	s := w.serve(Config{}, sse.Config{})
	for _, user := range []string{"ann", "bob", "", "ann/team:1"} {
		s.get(user, "all_of?p=7")
	}
	if got := s.engine.Stats().Results; got != 1 {
		t.Errorf("%d results that are the same", got)
	}
	for _, user := range []string{"ann", "bob", "", "ann/team:1"} {
		s.get(user, "board?p=7")
	}
	if got := s.engine.Stats().Results; got != 4 { // ann's groups make no difference
		t.Errorf("%d results", got)
	}
}

// Under changes without end a result is told again and again, not only after the end.
func TestStormStarvesNobody(t *testing.T) {
	w := newWorld(t, `
		create table t (id int primary key, n int);
		insert into t values (1, 0);
		select pgbell.attach('t', '{t}');
		create function f() returns int stable language plpgsql as $$ begin perform pg_sleep(0.02); return (select n from t); end $$;
		comment on function f() is 'pgbell: reads public.t';
		select pgbell.live('f')`)
	s := w.serve(Config{}, sse.Config{})
	st := s.open("ann", live("f"))
	st.expect("ready", "")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default: // of the bus: more than any database makes
				s.bus.Emit(bus.ChangeEvent{Scope: "t", Op: bus.OpUpdate})
			}
		}
	}()
	for i := range 5 {
		w.exec(`update t set n = $1`, i+1)
		st.expect("live:f", "changed")
	}
	close(stop)
	<-done
	if stats := s.engine.Stats(); stats.Runs > 2000 {
		t.Errorf("%d runs", stats.Runs)
	}
}

func TestEveryRunsThoughNothingChanges(t *testing.T) {
	w := newWorld(t, `
		create table t (n int);
		select pgbell.attach('t', '{t}');
		create function f() returns timestamptz stable begin atomic select date_trunc('milliseconds', now()) from (select count(*) from t) x; end;
		select pgbell.live('f')`)
	s := w.serve(Config{}, sse.Config{})
	if a := s.get("", "f"); a.status != 503 || !strings.Contains(w.ask(`select state from pgbell.lives`), "every") {
		t.Errorf("without every: %d %s", a.status, a.all)
	}
	w.exec(`select pgbell.live('f', every => '1 second')`)
	w.until("it is known", func() bool { return s.get("", "f").status == 200 })
	st := s.open("", live("f"))
	st.expect("ready", "")
	st.expect("live:f", "changed")
	st.expect("live:f", "changed")
	st.close()
	w.until("nobody wants it", func() bool { return len(s.waitingNow()) == 0 })
}

// waitingNow are the entries that are to run.
func (s *server) waitingNow() (all []string) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	for en := range s.engine.waiting {
		all = append(all, en.key)
	}
	return all
}

// Who asks while a statement for many fails is answered once it has run for fewer.
func TestWhoAsksAmidAFailureIsAnswered(t *testing.T) {
	w := newWorld(t, `
		create table t (n int);
		select pgbell.attach('t', '{t}');
		insert into t values (5);
		create function f(a int) returns int stable begin atomic select sum(100 / (n - a))::int from t; end;
		select pgbell.live('f')`)
	s := w.serve(Config{MaxConns: 1}, sse.Config{})
	for round := range 10 {
		var asking sync.WaitGroup
		for i := range 40 {
			asking.Go(func() {
				arg := i%8 + 100*round
				a, err := s.tryGet(t.Context(), "", fmt.Sprintf("f?a=%d", arg), "Cache-Control", "no-cache")
				if want := map[bool]int{true: 503, false: 200}[arg == 5]; err != nil || a.status != want && arg != 5 {
					t.Errorf("f?a=%d: got %d %s, %v, want %d", arg, a.status, a.all, err, want)
				}
			})
		}
		asking.Go(func() { // one that fails, among them
			if a, err := s.tryGet(t.Context(), "", "f?a=5", "Cache-Control", "no-cache"); err != nil || a.status != 503 {
				t.Errorf("f?a=5: got %d %s, %v", a.status, a.all, err)
			}
		})
		asking.Wait()
	}
}
