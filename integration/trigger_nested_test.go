package integration

import (
	"slices"
	"testing"

	"github.com/pgbell/pgbell/listener"
)

// nested makes table t with a trigger of the user's: when it fires, it runs body.
func nested(d *triggerDB, when, body string) {
	d.Helper()
	d.exec(`drop table if exists t; create table t (id int primary key, v int, note text);
		create or replace function mine() returns trigger language plpgsql as $$ begin ` + body + ` return new; end $$;
		create trigger a_mine ` + when + ` execute function mine();
		select pgbell.attach('t', array['v:{v}'], payload => array['v'])`)
}

// A statement is heard of once it is over: after what its triggers wrote, though
// that came later. It is put in front.
func TestTriggerWhatATriggerWritesComesAfterItsStatement(t *testing.T) {
	d := newTriggerDB(t)
	nested(d, `after insert or update on t for each row`, `update t set v = new.v + 1 where id = new.id and v < 12;`)
	want := []string{
		`insert v:10 public.t {"id":1} data {"v":10}`,
		`update moved out v:10 public.t {"id":1}`, `update moved in v:11 public.t {"id":1} changed v data {"v":11}`,
		`update moved out v:11 public.t {"id":1}`, `update moved in v:12 public.t {"id":1} changed v data {"v":12}`}
	d.expect(`insert into t values (1, 10)`, want...)
	d.exec(`delete from t`)
	// Among other statements of the transaction, in a function, in a savepoint.
	got := d.hear(`begin; insert into t values (7, 20), (8, 20); insert into t values (1, 10); update t set v = 30 where id = 7; commit`)
	d.same(got[2:7], want...)
	d.same(got[7:], `update moved out v:20 public.t {"id":7}`, `update moved in v:30 public.t {"id":7} changed v data {"v":30}`)
	d.exec(`delete from t`)
	got = d.hear(`do $$ begin insert into t values (7, 20); begin insert into t values (1, 10); exception when others then null; end; update t set v = 30 where id = 7; end $$`)
	d.same(got[1:6], want...)
	d.exec(`delete from t`)
	// A statement that follows one which wrote here from a trigger elsewhere.
	d.exec(`create table other (id int); create function theirs() returns trigger language plpgsql as $$ begin update t set v = 100 where id = new.id; return null; end $$;
		create trigger theirs after insert on other for each row execute function theirs()`, `insert into t values (1, 50)`)
	d.expect(`do $$ begin insert into other values (1); update t set v = 200 where id = 1; end $$`,
		`update moved out v:50 public.t {"id":1}`, `update moved in v:100 public.t {"id":1} changed v data {"v":100}`,
		`update moved out v:100 public.t {"id":1}`, `update moved in v:200 public.t {"id":1} changed v data {"v":200}`)
	// Many rows, in parts.
	d.exec(`delete from t`)
	records := 0
	since := d.since()
	d.exec(`insert into t select i, 11 from generate_series(1, 1200) i`)
	for i, r := range d.records(since) {
		records++
		if insert := r.Op == "insert"; insert != (i < 3) {
			t.Fatalf("record %d is an %s", i, r.Op)
		}
	}
	if records != 3+1200 {
		t.Errorf("got %d records", records)
	}
}

func TestTriggerNestedWritesInPartitionsKeepTheirOrder(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, v int) partition by range (id); create table t1 partition of t default;
		create function mine() returns trigger language plpgsql as $$ begin update t set v = new.v + 1 where id = new.id and v < 12; return null; end $$;
		create trigger a_mine after insert or update on t for each row execute function mine();
		select pgbell.attach('t', array['v:{v}'])`)
	d.expect(`insert into t values (1, 10)`,
		`insert v:10 public.t {"id":1}`,
		`update moved out v:10 public.t {"id":1}`, `update moved in v:11 public.t {"id":1} changed v`,
		`update moved out v:11 public.t {"id":1}`, `update moved in v:12 public.t {"id":1} changed v`)
}

// Triggers that fire before: a row's own changes are part of the statement's.
func TestTriggerBeforeTriggersOfTheUser(t *testing.T) {
	d := newTriggerDB(t)
	nested(d, `before insert or update on t for each row`, `new.v := new.v * 2; if new.note = 'no' or new.id = 2 then return null; end if;`)
	d.expect(`insert into t values (1, 5), (2, 6)`, `insert v:10 public.t {"id":1} data {"v":10}`)
	d.expect(`update t set note = 'no'`)
	d.expect(`update t set v = 5`) // doubled, it is what it was
	nested(d, `before insert on t for each row`, `if new.id < 3 then insert into t values (new.id + 1, 0); end if;`)
	got := d.hear(`insert into t values (1, 0)`)
	d.same(got, `insert v:0 public.t {"id":3} data {"v":0}`, `insert v:0 public.t {"id":2} data {"v":0}`, `insert v:0 public.t {"id":1} data {"v":0}`) // in this order it happened
}

// A key that a trigger frees before it is inserted, or deletes after: both are recorded
// alike, deletion first. Where the values differ they tell which it was; where they don't,
// those who heard of the row get a reset.
func TestTriggerKeyInsertedAndRemovedInOneStatement(t *testing.T) {
	d := newTriggerDB(t)
	const removes = `if pg_trigger_depth() = 1 then delete from t where id = new.id; end if;`
	deletion, insertion, reset := `delete v:5 public.t {"id":1} data {"v":5}`, `insert v:5 public.t {"id":1} data {"v":5}`, `reset public.t order not certain`
	nested(d, `after insert on t for each row`, removes)
	d.expect(`insert into t values (1, 5)`, deletion, insertion, reset)
	nested(d, `before insert on t for each row`, removes)
	d.exec(`insert into t values (1, 5)`)
	d.expect(`insert into t values (1, 5)`, deletion, insertion, reset)
	d.exec(`update t set v = 1`)
	d.expect(`insert into t values (1, 5)`, `delete v:1 public.t {"id":1} data {"v":1}`, insertion)
	// Another key is removed: no doubt. The order of two keys is nobody's.
	nested(d, `after insert on t for each row`, `delete from t where id = new.id - 10;`)
	d.exec(`insert into t values (1, 1)`)
	got := d.hear(`insert into t values (11, 5)`)
	slices.Sort(got)
	d.same(got, `delete v:1 public.t {"id":1} data {"v":1}`, `insert v:5 public.t {"id":11} data {"v":5}`)
	// Room is made by moving rows up.
	nested(d, `before insert on t for each row`, `update t set id = id + 100 where id >= new.id;`)
	d.exec(`insert into t values (1, 1)`)
	d.expect(`insert into t values (1, 2)`, `update moved out v:1 public.t {"id":1}`, `update moved in v:1 public.t {"id":101} changed id data {"v":1}`,
		`insert v:2 public.t {"id":1} data {"v":2}`)
}

func TestTriggerThatWritesToAnotherAttachedTable(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table p (id int primary key, n int default 0); create table c (id int primary key, p int);
		create function counts() returns trigger language plpgsql as $$ begin update p set n = n + 1 where id = new.p; return null; end $$;
		create trigger counts after insert on c for each row execute function counts();
		insert into p values (1);
		select pgbell.attach('p', array['p:{id}']), pgbell.attach('c', array['p:{p}'])`)
	d.expect(`insert into c values (10, 1), (11, 1)`,
		`update p:1 public.p {"id":1} changed n`, `update p:1 public.p {"id":1} changed n`,
		`insert p:1 public.c {"id":10}`, `insert p:1 public.c {"id":11}`)
	d.expect(`begin; insert into c values (12, 1); update p set n = 0; commit`,
		`update p:1 public.p {"id":1} changed n`, `insert p:1 public.c {"id":12}`, `update p:1 public.p {"id":1} changed n`)
	d.exec(`select pgbell.attach('p', array['p:{id}'], durable => false)`)
	d.expect(`insert into c values (13, 1)`, `insert p:1 public.c {"id":13}`)
}

// For a feed without a journal the order can't be mended: hence a reset, by the listener.
func TestTriggerNestedWritesOfVolatileFeedReset(t *testing.T) {
	d := newTriggerDB(t)
	nested(d, `after update on t for each row`, `update t set v = 12 where id = new.id and v < 12;`)
	d.exec(`select pgbell.attach('t', array['v:{v}'], durable => false)`, `insert into t values (1, 1)`)
	e := d.listen("", listener.Config{}, "v:1", "v:2", "v:12", "v:20").ready()
	e.heard()
	d.exec(`update t set v = 2`)
	got := e.heard()
	if len(got) != 4+4 {
		t.Fatalf("got %q", got)
	}
	slices.Sort(got[4:]) // behind all
	d.same(got[4:], `reset v:1 public.t order not certain`, `reset v:12 public.t order not certain`, `reset v:2 public.t order not certain`, `reset v:20 public.t order not certain`)
	e.hears(d.writer, `update t set v = 20`, `update moved out v:12 public.t {"id":1}`, `update moved in v:20 public.t {"id":1} changed v`)
}

func TestTriggerSavepointsAndRollbacks(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key); select pgbell.attach('t', array['t'])`)
	d.expect(`begin; insert into t values (1); savepoint a; insert into t values (2); rollback to a; insert into t values (3); savepoint b; insert into t values (4); release b; commit`,
		`insert t public.t {"id":1}`, `insert t public.t {"id":3}`, `insert t public.t {"id":4}`)
	d.expect(`do $$ begin begin insert into t values (5); raise exception 'x'; exception when others then null; end; insert into t values (6); end $$`,
		`insert t public.t {"id":6}`)
	d.expect(`begin; savepoint a; truncate t; rollback to a; truncate t; commit`, `reset public.t truncate`)
	if err := tryExec(t.Context(), d.writer, `insert into t values (7), (7)`); err == nil {
		t.Error("no unique violation")
	}
	d.expect(`select 1`)
	// 100 savepoints that write.
	since := d.since()
	d.exec(`begin`, `do $$ begin for i in 100..199 loop begin insert into t values (i); exception when others then null; end; end loop; end $$`, `commit`)
	if got := len(d.records(since)); got != 100 {
		t.Errorf("got %d records", got)
	}
}

func TestTriggerDeferredConstraintsFireAfterwards(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, v int); create table log (id int);
		create function mine() returns trigger language plpgsql as $$ begin update t set v = 2 where id = new.id and v = 1; return null; end $$;
		create constraint trigger a_mine after insert on t deferrable initially deferred for each row execute function mine();
		select pgbell.attach('t', array['v:{v}'])`)
	d.expect(`begin; insert into t values (1, 1), (2, 0); update t set v = 1 where id = 2; commit`,
		`insert v:1 public.t {"id":1}`, `insert v:0 public.t {"id":2}`,
		`update moved out v:0 public.t {"id":2}`, `update moved in v:1 public.t {"id":2} changed v`,
		`update moved out v:1 public.t {"id":1}`, `update moved in v:2 public.t {"id":1} changed v`,
		`update moved out v:1 public.t {"id":2}`, `update moved in v:2 public.t {"id":2} changed v`)
}
