package copies

import (
	"strings"
	"testing"
)

// A table is copied, with its triggers or without, and the copy takes its name.
func TestCopyThatTakesTheNameIsSaid(t *testing.T) {
	for _, with := range []string{"triggers", "no triggers"} {
		t.Run(with, func(t *testing.T) {
			d := open(t, original.Database(t))
			d.serve()
			d.heard()
			d.exec(`create table posts_new (like posts including all)`)
			if with == "triggers" {
				for trigger := range strings.SplitSeq(d.ask(`select pg_get_triggerdef(oid) from pg_trigger where tgrelid = 'posts'::regclass`), "\n") {
					d.exec(strings.Replace(trigger, " ON public.posts ", " ON public.posts_new ", 1))
				}
			}
			d.exec(`insert into posts_new select * from posts`, `begin; alter table posts rename to posts_old; alter table posts_new rename to posts; commit`)
			d.await(": reset posts definition changed")
			d.silent("posts")
			want := "another table is called public.posts now: attach that one"
			if with == "triggers" {
				want = "public.posts has its triggers, too, which do nothing there"
			}
			if got := d.ask(`select state from pgbell.feeds where table_name = 'public.posts_old'`); !strings.HasPrefix(got, want) {
				t.Errorf("the state is %q, want %q", got, want)
			}
			d.exec(`select pgbell.attach('posts', array['posts'])`, `drop table posts_old`, `select pgbell.attach('big', array['big'])`)
			d.allOK("big", "notes", "parts", "posts")
			d.heard()
			d.works("posts")
		})
	}
}

// The original goes first, the copy of it has its triggers.
func TestCopyOfADroppedTableIsSaid(t *testing.T) {
	d := open(t, original.Database(t))
	d.serve()
	d.heard()
	triggers := d.ask(`select pg_get_triggerdef(oid) from pg_trigger where tgrelid = 'posts'::regclass`)
	d.exec(`create table posts_new (like posts including all); drop table posts; alter table posts_new rename to posts`)
	for trigger := range strings.SplitSeq(triggers, "\n") {
		d.exec(trigger)
	}
	d.await(": reset posts definition changed")
	d.states("public.big: ok", "public.notes: ok", "public.parts: ok", "public.posts: the table is a copy of the one that was attached and dropped: attach it again")
	d.exec(`select pgbell.attach('posts', array['posts'])`)
	d.allOK("big", "notes", "parts", "posts")
	resets(d)
	d.works("posts")
}

// An attached table that becomes a partition, or a parent or child of another by
// inheritance, may be written past its triggers.
func TestTableThatGetsRelationsIsSaid(t *testing.T) {
	for name, test := range map[string]struct{ sql, want string }{
		"a partition": {`create table whole (like posts including all) partition by list (id); alter table whole attach partition posts default`, "the table is now a partition"},
		"a child":     {`create table parent (id int not null, title text); alter table posts inherit parent`, "trigger pgbell_"},
		"a parent":    {`create table child () inherits (posts)`, "trigger pgbell_"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, original.Database(t))
			d.serve()
			d.heard()
			d.exec(test.sql)
			d.await(": reset posts definition changed")
			if got := d.ask(`select state from pgbell.feeds where table_name = 'public.posts'`); !strings.HasPrefix(got, test.want) {
				t.Errorf("the state is %q, want %q", got, test.want)
			}
		})
	}
}

// Rows come and go with a partition: a reset. One that is new and empty brings none.
func TestPartitionThatComesOrGoesIsAReset(t *testing.T) {
	d := open(t, original.Database(t))
	d.exec(`create table parts_9 (id int primary key, x text); insert into parts_9 values (901, 'x')`)
	d.serve()
	d.heard()
	const reset = ": reset parts partitions changed"
	d.exec(`create table parts_2 partition of parts for values from (100) to (200)`)
	d.expect(`insert into parts values (101)`, `: insert parts {"id":101}`, `ann: insert parts {"id":101}`)
	d.exec(`select pgbell.look_at_parts()`)
	for _, statement := range []string{
		`alter table parts attach partition parts_9 for values from (900) to (1000)`,
		`alter table parts detach partition parts_9`,
		`truncate parts_2`,
		`drop table parts_2`,
	} {
		d.heard()
		d.exec(statement)
		d.await(reset)
		d.ask(`select pgbell.look_at_parts()::text`)
		for _, event := range d.heard() { // each ear has one
			if event != "ann"+reset && event != reset {
				t.Errorf("%s: heard %q", statement, event)
			}
		}
	}
	d.exec(`create table parts_3 partition of parts for values from (200) to (300)`, `select pgbell.look_at_parts()`)
	if got := d.heard(); got != nil {
		t.Errorf("of a new partition: heard %q", got)
	}
	if got := d.ask(`select state from pgbell.feeds where table_name = 'public.parts'`); !strings.HasPrefix(got, "TRUNCATE of public.parts_3 alone is heard late") {
		t.Errorf("the state is %q", got)
	}
}
