package copies

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

const again = "the table was restored from a dump: attach it again, or run pgbell migrate"

// A whole dump, restored: nothing of the original's journal is told, nothing of the copy's
// tables until it is migrated, and then all.
func TestDumpIsSilentUntilItIsMigrated(t *testing.T) {
	for _, served := range []string{"before it is restored", "before it is migrated", "at the end"} {
		t.Run(served, func(t *testing.T) {
			dump := open(t, original.Database(t)).dump()
			d := empty(t)
			if served == "before it is restored" {
				d.serve()
			}
			if errs := d.restore(dump); errs != nil {
				t.Fatalf("psql: %q", errs)
			}
			d.states("public.big: "+again, "public.notes: "+again, "public.parts: "+again, "public.posts: "+again)
			if served == "before it is migrated" {
				d.serve()
			}
			if served == "at the end" {
				d.exec(writes("posts"), writes("notes"), writes("big"), writes("parts"))
			} else {
				resets(d)
				d.silent("posts", "notes", "big", "parts")
			}
			d.migrate()
			d.allOK("big", "notes", "parts", "posts")
			if got := d.ask("select concat_ws(' ', audience, payload, regroup) from pgbell.feeds where table_name = 'public.notes'"); got != "{owner,team:{body}} {body} owner" && got != `{owner,"team:{body}"} {body} owner` {
				t.Errorf("notes is attached with %s", got)
			}
			if served == "at the end" {
				d.serve()
			} else {
				resets(d)
			}
			d.works("posts", "notes", "big", "parts")
		})
	}
}

// resets takes what was heard, which must be resets, of each scope one at most for a reason:
// a copy's feeds are not as they were.
func resets(d *database) {
	d.Helper()
	seen := map[string]bool{}
	for _, event := range d.heard() {
		words := strings.SplitN(event, " ", 4)
		if words[1] != "reset" || seen[event] {
			d.Errorf("heard %q", event)
		}
		seen[event] = true
	}
}

// A copy can be attached by hand, too, table by table, with another audience.
func TestDumpIsAttachedAgainByHand(t *testing.T) {
	d := restored(t, open(t, original.Database(t)).dump())
	d.exec(`select pgbell.attach('notes', array['notes'], audience => array['body'], payload => array['owner'])`)
	d.serve()
	resets(d)
	d.states("public.big: "+again, "public.notes: ok", "public.parts: "+again, "public.posts: "+again)
	d.expect(`insert into notes values (41, 'ann', 'bob'), (42, 'bob', 'ann')`, `ann: insert notes {"id":42} {"owner":"bob"}`)
	d.exec(`select pgbell.detach('posts')`)
	d.migrate()
	d.allOK("big", "notes", "parts")
	resets(d)
	d.works("big", "parts")
	d.silent("posts")
}

// Restored over itself, in one transaction: what listens hears a reset, and then all.
func TestDumpRestoredInPlace(t *testing.T) {
	d := open(t, original.Database(t))
	d.exec(`drop table parts; select pgbell.attach('big', array['big'])`) // pg_dump can't clean partitions' keys
	d.serve()
	d.works("posts")
	if errs := d.restore(d.dump("--clean", "--if-exists"), "-1"); errs != nil {
		t.Fatalf("psql: %q", errs)
	}
	d.await(": reset posts")
	d.wait("the journal to begin anew", `select (home = pgbell.home())::text from pgbell.journal_state`)
	d.migrate()
	d.allOK("big", "notes", "posts")
	resets(d)
	d.works("notes", "big")
}

// A copy of the structure, with or without the rows of the app's own tables: its feeds
// are known by their triggers.
func TestDumpWithoutPgbellsRows(t *testing.T) {
	for _, args := range [][]string{{"-s"}, {"--exclude-table-data=pgbell.*"}} {
		t.Run(args[0], func(t *testing.T) {
			d := restored(t, open(t, original.Database(t)).dump(args...))
			const gone = "its feed is not in this copy of the database: run pgbell migrate"
			d.states("public.big: "+gone, "public.notes: "+gone, "public.parts: "+gone, "public.posts: "+gone)
			d.serve()
			resets(d)
			d.silent("posts", "notes", "big", "parts")
			d.exec(`select pgbell.detach('big')`, `select pgbell.attach('parts', array['parts'])`) // it gets a number that is no other feed's
			d.migrate()
			d.allOK("notes", "parts", "posts")
			resets(d)
			d.works("posts", "notes", "parts")
			d.silent("big")
			d.exec(`select pgbell.attach('big', array['big'])`)
			d.works("big")
			d.migrate()
			d.allOK("big", "notes", "parts", "posts")
		})
	}
}

// A copy without one of the tables: the feeds of the others are there, its own goes.
func TestDumpWithoutOneTable(t *testing.T) {
	d := restored(t, open(t, original.Database(t)).dump("-T", "big"))
	d.states("public.big: the table is not in this copy of the database: run pgbell migrate", "public.notes: "+again, "public.parts: "+again, "public.posts: "+again)
	d.serve()
	resets(d)
	d.exec(`select pgbell.attach('posts', array['posts'], audience => array['title'])`) // tighter than before
	resets(d)
	d.expect(`insert into posts values (51, 'ann')`, `ann: insert posts {"id":51}`)
	d.migrate()
	d.allOK("notes", "parts", "posts")
	d.exec(`select pgbell.detach('posts')`)
	resets(d)
	d.silent("posts")
}

// The feed of a table that was dropped comes with its number, which may be another table's
// in the copy.
func TestDumpWithAFeedOfADroppedTable(t *testing.T) {
	original := open(t, original.Database(t))
	original.exec(`drop table big`)
	d := restored(t, original.dump())
	d.exec(`update pgbell.feed set target = 'posts'::regclass where tbl = 'public.big'`)
	d.states("public.big: the table is not in this copy of the database", "public.notes: "+again, "public.parts: "+again, "public.posts: "+again)
	d.migrate()
	d.allOK("notes", "parts", "posts")
	d.serve()
	d.works("posts")
}

// One table, copied into a database that has pgbell of its own, whose feeds have the same
// numbers: its triggers call another table's functions.
func TestDumpOfOneTable(t *testing.T) {
	from := open(t, original.Database(t))
	number := from.ask(`select id::text from pgbell.feed where tbl = 'public.notes'`)
	d := empty(t)
	d.migrate()
	for i := range 4 { // so that each number is some table's
		d.exec(fmt.Sprintf(`create table t%d (id int primary key, owner text, body text);
			select pgbell.attach('t%[1]d', array['posts', 'notes'])`, i))
	}
	d.serve()
	if errs := d.restore(from.dump("-t", "notes")); errs != nil {
		t.Fatalf("psql: %q", errs)
	}
	d.silent("notes")
	state := d.ask(`select string_agg(state, ' ') from pgbell.feeds where table_name in ('public.notes', (
		select tbl from pgbell.feed where id = ` + number + `))`)
	for _, want := range []string{"it has triggers of another table's feed", "public.notes has its triggers, too"} {
		if !strings.Contains(state, want) {
			t.Errorf("the states are %q, want one with %q", state, want)
		}
	}
	d.exec(`select pgbell.attach('notes', array['notes'], audience => array['owner'], payload => array['body'])`)
	resets(d)
	d.works("notes")
	d.allOK("notes", "t0", "t1", "t2", "t3")

	// Dropped, and copied once more: detach takes the triggers away.
	d.exec(`select pgbell.detach('notes'); drop table notes`)
	resets(d)
	d.restore(from.dump("-t", "notes"))
	if got := d.ask(`select pgbell.detach('notes')::text || ', ' || pgbell.detach('notes')`); got != "true, false" {
		t.Errorf("detach says %s", got)
	}
	d.allOK("t0", "t1", "t2", "t3")
	d.silent("notes")
}

// Data alone, all of it, into a database that is in use: pgbell's own is refused or left
// aside, the app's is told as any write is.
func TestDumpOfDataAlone(t *testing.T) {
	from := open(t, original.Database(t))
	from.exec(`insert into notes select g, 'ann', 'of the original' from generate_series(100, 600) g`)
	d := empty(t)
	d.migrate()
	structure, _, _ := strings.Cut(tables, "insert into")
	d.exec(structure)
	d.serve()
	d.heard()
	d.restore(from.dump("-a"))
	told := map[string]int{}
	for _, event := range d.heard() {
		if strings.HasPrefix(event, "ann: insert notes") {
			told[event]++
		} else if !strings.HasPrefix(event, "ann: insert") && !strings.HasPrefix(event, ": insert") {
			t.Errorf("heard %q", event)
		}
	}
	if len(told) != 502 {
		t.Errorf("%d of ann's notes were told", len(told))
	}
	for event, times := range told {
		if times > 1 {
			t.Errorf("told %d times: %s", times, event)
		}
	}
	d.allOK("big", "notes", "parts", "posts")
	d.works("posts", "notes", "big", "parts")
}

// A database made with another as its template, on the same server: its tables have the
// same numbers.
func TestTemplateCopyWorksAtOnce(t *testing.T) {
	from := open(t, original.Database(t))
	name := from.ask(`select current_database() || '_b'`)
	admin := open(t, named(t, from.url, "postgres"))
	from.conn.Close(t.Context())
	admin.exec(fmt.Sprintf(`create database %s template %s`, name, strings.TrimSuffix(name, "_b")))
	t.Cleanup(func() {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, admin.url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "drop database "+name+" with (force)"); err != nil {
			t.Error(err)
		}
	})
	d := open(t, named(t, from.url, name))
	d.serve()
	d.allOK("big", "notes", "parts", "posts")
	resets(d)
	d.works("posts", "notes", "big", "parts")
	d.migrate()
	d.allOK("big", "notes", "parts", "posts")
}

// What another cluster's journal brings is not told: not now, and not when this server comes
// to give out the ids that it has.
func TestRecordsOfAnotherClusterAreNeverTold(t *testing.T) {
	d := open(t, original.Database(t))
	d.serve()
	d.ready()
	d.exec(`insert into pgbell.journal_0 (xid, definition, tbl, op, facts)
		select (pg_current_xact_id()::text::bigint + g)::text::xid8, 1, 'public.posts', 'insert', '{77}' from generate_series(1, 400) g`,
		`do $$ begin for i in 1..500 loop perform pg_current_xact_id(); commit; end loop; end $$`)
	d.works("posts")
	for _, step := range []string{"update pgbell.journal_state set quiet_at = '-infinity'", "select pgbell.rotate('0')"} {
		d.exec(`insert into pgbell.journal_1 (xid, definition, tbl, op, facts) values ('99999999999', 1, 'public.posts', 'insert', '{77}')`, step)
		if got := d.heard(); got != nil {
			t.Errorf("%s: heard %q", step, got)
		}
	}
	if floor := d.ask(`select (floor <= pg_snapshot_xmax(pg_current_snapshot()))::text from pgbell.journal_state`); floor != "true" {
		t.Error("the journal's floor is ahead of what this server has given out")
	}
}
