package integration

import "testing"

func TestTriggerCursorIsWhatTheSnapshotSees(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key); select pgbell.attach('t', array['t'])`)
	other := d.connect()
	since := func(cursor string) []string { d.Helper(); return lines(d.records(d.parse(cursor))) }

	// Its own transaction isn't over: what that wrote and will write is not covered.
	d.exec(`begin`, `insert into t values (1)`)
	d.execOn(other, `insert into t values (9)`) // a later one, which is over
	own := d.ask(`pgbell.cursor()`)
	d.exec(`insert into t values (2)`, `commit`)
	d.same(since(own), `insert t public.t {"id":1}`, `insert t public.t {"id":2}`)
	d.exec(`begin`)
	own = d.ask(`pgbell.cursor()`)
	d.exec(`insert into t values (3)`, `commit`)
	d.same(since(own), `insert t public.t {"id":3}`)

	// READ COMMITTED takes a snapshot for each statement, REPEATABLE READ one.
	for level, want := range map[string][]string{"read committed": nil, "repeatable read": {`insert t public.t {"id":4}`}} {
		d.exec(`begin isolation level ` + level + `; select 1`)
		d.execOn(other, `insert into t values (4)`)
		cursor, seen := d.ask(`pgbell.cursor()`), d.ask(`select count(*) from t where id = 4`)
		d.exec(`commit`)
		if (seen == "1") != (want == nil) {
			t.Errorf("%s sees %s", level, seen)
		}
		d.same(since(cursor), want...)
		d.execOn(other, `delete from t where id = 4`)
	}

	// A transaction that commits late is not covered by a cursor from before.
	d.execOn(other, `begin`, `insert into t values (5)`)
	cursor := d.ask(`pgbell.cursor()`)
	d.exec(`insert into t values (6)`)
	later := d.ask(`pgbell.cursor()`)
	d.execOn(other, `commit`)
	d.same(since(cursor), `insert t public.t {"id":5}`, `insert t public.t {"id":6}`)
	d.same(since(later), `insert t public.t {"id":5}`)

	d.exec(`begin read only`, `select pgbell.cursor()`)
	if got := d.ask(`pg_current_xact_id_if_assigned()`); got != "<null>" {
		t.Errorf("asking costs a transaction id: %s", got)
	}
	d.exec(`commit`)
}

// What happened in the one is not in the other's journal.
func TestTriggerCursorIsOfOneDatabaseOnly(t *testing.T) {
	d, copied := newTriggerDB(t), newTriggerDB(t) // of the same template
	here := d.ask(`pgbell.cursor()`)
	if there := copied.ask(`pgbell.cursor()`); d.parse(here).Incarnation == d.parse(there).Incarnation {
		t.Errorf("two databases give %s and %s, want different incarnations", here, there)
	}
	// As by a dump restored into the same database.
	d.exec(`alter table pgbell.incarnation rename to former`,
		`create table pgbell.incarnation (like pgbell.former including all)`,
		`insert into pgbell.incarnation select * from pgbell.former`, `drop table pgbell.former`)
	if restored := d.ask(`pgbell.cursor()`); d.parse(restored).Incarnation == d.parse(here).Incarnation {
		t.Errorf("after a restore got %s, before %s, want different incarnations", restored, here)
	}
}
