package integration

import (
	"strings"
	"testing"
)

// A partitioned table in all its shapes, attached before some of them are there.
func partitioned(d *triggerDB) {
	d.Helper()
	d.exec(`create table t (id int, p int, title text, owner text, primary key (p, id)) partition by list (p);
		create table t1 partition of t for values in (1);
		create table t2 partition of t for values in (2) partition by range (id);
		create table t2a partition of t2 for values from (0) to (100);`,
		`select pgbell.attach('t', array['p:{p}'], audience => array['owner'], payload => array['title'])`,
		`create table t3 partition of t for values in (3)`,
		`create table t2b partition of t2 for values from (100) to (200)`,
		// Attached with its columns in another order, one of its own dropped.
		`create table t4 (owner text, gone int, title text, p int not null, id int not null);
		alter table t4 drop gone;
		insert into t4 values ('ann', 'before', 4, 0);
		alter table t attach partition t4 for values in (4)`,
		`create table t0 partition of t default`)
}

func TestTriggerPartitionsAreReportedUnderTheRoot(t *testing.T) {
	d := newTriggerDB(t)
	partitioned(d)
	for _, test := range []struct{ partition, p, id string }{
		{"t1", "1", "5"}, {"t2", "2", "6"}, {"t2a", "2", "7"}, {"t2b", "2", "107"}, {"t3", "3", "8"}, {"t4", "4", "9"}, {"t0", "10", "1"},
	} {
		for _, name := range []string{"t", test.partition} {
			t.Run("through "+name+" into "+test.partition, func(t *testing.T) {
				d := d.on(t)
				row := ` public.t {"p":` + test.p + `,"id":` + test.id + `} for ann`
				d.expect(`insert into `+name+` (p, id, title, owner) values (`+test.p+`, `+test.id+`, 'a', 'ann')`,
					`insert p:`+test.p+row+` data {"title":"a"}`)
				d.expect(`update `+name+` set title = 'b' where p = `+test.p+` and id = `+test.id,
					`update p:`+test.p+row+` changed title data {"title":"b"}`)
				d.expect(`update ` + name + ` set title = 'b' where p = ` + test.p + ` and id = ` + test.id)
				d.expect(`update `+name+` set owner = 'bob' where p = `+test.p+` and id = `+test.id,
					`update moved out p:`+test.p+row,
					`update moved in p:`+test.p+row[:len(row)-3]+`bob changed owner data {"title":"b"}`)
				d.expect(`delete from `+name+` where p = `+test.p+` and id = `+test.id,
					`delete p:`+test.p+row[:len(row)-3]+`bob data {"title":"b"}`)
			})
		}
	}
}

// Postgres itself makes it a delete and an insert.
func TestTriggerRowThatChangesPartitionIsDeletedAndInserted(t *testing.T) {
	d := newTriggerDB(t)
	partitioned(d)
	d.exec(`insert into t values (1, 1, 'a', 'ann')`)
	for _, to := range []string{"3", "4", "2", "1"} {
		from := d.ask(`select p from t where id = 1`)
		d.expect(`update t set p = `+to+` where id = 1`,
			`delete p:`+from+` public.t {"p":`+from+`,"id":1} for ann data {"title":"a"}`,
			`insert p:`+to+` public.t {"p":`+to+`,"id":1} for ann data {"title":"a"}`)
	}
}

func TestTriggerTruncateOfPartitionResetsTheRootsScopes(t *testing.T) {
	d := newTriggerDB(t)
	partitioned(d)
	d.exec(`insert into t values (1, 1, 'a', 'ann'), (1, 2, 'b', 'bob')`)
	for _, name := range []string{"t", "t1", "t2", "t2a"} {
		d.expect(`truncate `+name, `reset public.t truncate`)
	}
	d.expect(`truncate t1, t2`, `reset public.t truncate`)
}

// TRUNCATE of a partition has no trigger until the root is attached again: the
// state says so.
func TestTriggerStateTellsOfPartitionsWithoutTruncateTrigger(t *testing.T) {
	d := newTriggerDB(t)
	partitioned(d)
	state := d.ask(`select state from pgbell.feeds`)
	if want := "TRUNCATE of public.t0, public.t2b, public.t3, public.t4 alone is heard late: attach the table again"; state != want {
		t.Errorf("got %s, want %s", state, want)
	}
	d.exec(`select pgbell.attach('t', array['p:{p}'], audience => array['owner'], payload => array['title'])`)
	if state := d.ask(`select state from pgbell.feeds`); state != "ok" {
		t.Errorf("attached again: %s", state)
	}
	d.expect(`truncate t3`, `reset public.t truncate`)
	d.expect(`truncate t4, t2b`, `reset public.t truncate`)
}

func TestTriggerDetachedPartitionFallsSilent(t *testing.T) {
	d := newTriggerDB(t)
	partitioned(d)
	d.exec(`alter table t detach partition t4`)
	d.expect(`insert into t4 (p, id) values (4, 77)`)
	d.expect(`update t4 set title = 'x'`)
	d.exec(`alter table t attach partition t4 for values in (4)`)
	d.expect(`delete from t4 where id = 77`, `delete p:4 public.t {"p":4,"id":77} for  data {"title":"x"}`)
	d.expect(`drop table t1`)
	d.expect(`insert into t values (1, 1, 'a', 'ann')`, `insert p:1 public.t {"p":1,"id":1} for ann data {"title":"a"}`)
}

// A table that was attached by itself and then became a partition of an attached one.
func TestTriggerAttachedTableMayBecomePartition(t *testing.T) {
	d := newTriggerDB(t)
	partitioned(d)
	d.exec(`create table t9 (like t including all); select pgbell.attach('t9', array['nine'])`,
		`alter table t attach partition t9 for values in (9)`)
	d.expect(`insert into t values (1, 9, 'a', 'ann')`, `insert p:9 public.t {"p":9,"id":1} for ann data {"title":"a"}`)
	if state := d.ask(`select state from pgbell.feeds where table_name = 'public.t9'`); !strings.Contains(state, "attach public.t") {
		t.Error(state)
	}
	d.exec(`select pgbell.detach('t9')`)
	d.expect(`delete from t9`, `delete p:9 public.t {"p":9,"id":1} for ann data {"title":"a"}`)
}

func TestTriggerPartitionsTakeBulkWritesAndCopy(t *testing.T) {
	d := newTriggerDB(t)
	partitioned(d)
	d.exec(`create temp table src as select i as id, 1 + i % 4 as p, 'x' as title, null as owner from generate_series(0, 99) i`)
	if got := d.hear(`insert into t select * from src`); len(got) != 100 {
		t.Errorf("insert: got %d events", len(got))
	}
	if got := d.hear(`update t set title = 'y'`); len(got) != 101 { // t4 had a row when it came
		t.Errorf("update: got %d events", len(got))
	}
	if got := d.hear(`insert into t select * from src on conflict (p, id) do update set title = 'z'`); len(got) != 100 {
		t.Errorf("upsert: got %d events", len(got))
	}
	d.expect(`update t set title = title`)
	if got := d.hear(`with d as (delete from t where p = 1 returning *) insert into t1 select * from d where false`); len(got) != 25 {
		t.Errorf("delete: got %d events", len(got))
	}
}

// Inheritance: a statement that names a child fires no statement trigger of its parent.
func TestTriggerInheritanceIsReportedUnderTheParent(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table a (id int primary key, title text);
		create table b (extra json, primary key (id)) inherits (a);
		create table c (id int not null, other int) inherits (b);
		insert into a values (1, 'a'); insert into b values (2, 'b', '{}'); insert into c values (3, 'c', '{}', 0);
		select pgbell.attach('a', array['a'])`)
	for _, name := range []string{"a", "b", "c"} {
		d.expect(`insert into `+name+` (id) values (9)`, `insert a public.a {"id":9}`)
		d.expect(`update `+name+` set title = 'z' where id = 9`, `update a public.a {"id":9} changed title`)
		d.expect(`delete from `+name+` where id = 9`, `delete a public.a {"id":9}`)
	}
	d.expect(`update b set extra = '{"x":1}' where id = 2`, `update a public.a {"id":2} changed `)
	d.expect(`update b set extra = '{"x":1}' where id = 2`)
	d.expect(`update a set title = 'all'`,
		`update a public.a {"id":1} changed title`, `update a public.a {"id":2} changed title`, `update a public.a {"id":3} changed title`)
	d.expect(`truncate c`, `reset public.a truncate`)
	d.expect(`alter table a rename to renamed; insert into c (id) values (9)`, `insert a public.renamed {"id":9}`)
}

func TestTriggerChildIsHeardThroughItsParent(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table a (id int primary key, title text);
		create table b (primary key (id)) inherits (a);
		insert into a values (1, 'a'); insert into b values (2, 'b');
		select pgbell.attach('b', array['b'])`)
	d.expect(`update a set title = 'z'`, `update b public.b {"id":2} changed title`)
	d.exec(`select pgbell.attach('a', array['a'])`)
	d.expect(`update a set title = 'y'`,
		`update a public.a {"id":1} changed title`,
		`update b public.b {"id":2} changed title`, `update a public.a {"id":2} changed title`)
	d.exec(`create table c () inherits (a)`)
	if state := d.ask(`select state from pgbell.feeds where table_name = 'public.a'`); !strings.Contains(state, "is missing on public.c: attach the table again") {
		t.Error(state)
	}
	d.exec(`select pgbell.attach('a', array['a'])`)
	d.expect(`insert into c values (3)`, `insert a public.a {"id":3}`)
}

// A plain table that gets a child once it is attached.
func TestTriggerStateTellsOfInheritanceSinceAttach(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table a (id int primary key); select pgbell.attach('a', array['a'])`, `create table b () inherits (a)`)
	if state := d.ask(`select state from pgbell.feeds`); !strings.Contains(state, "attach the table again") {
		t.Error(state)
	}
	d.exec(`select pgbell.attach('a', array['a'])`)
	d.expect(`insert into b values (1)`, `insert a public.a {"id":1}`)
	d.expect(`insert into a values (1)`, `insert a public.a {"id":1}`)
	if state := d.ask(`select state from pgbell.feeds`); state != "ok" {
		t.Error(state)
	}
}
