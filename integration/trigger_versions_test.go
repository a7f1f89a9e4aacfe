package integration

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/migrations"
)

// version says that the schema is of another version.
const version = `create or replace function pgbell.schema_version() returns integer language sql immutable return %d`

func TestTriggerListenerDoesNotReadAnotherVersion(t *testing.T) {
	for found, remedy := range map[int]string{0: "run pgbell migrate", 2: "upgrade pgbell"} {
		d := newTriggerDB(t)
		d.exec(`create table fence (id int primary key); create table t (id int primary key);
			select pgbell.attach('fence', array['end'], durable => false), pgbell.attach('t', array['t'])`, fmt.Sprintf(version, found))
		e := d.listen("", listener.Config{}, "t")
		words := []string{fmt.Sprintf("schema pgbell is of version %d", found), "this pgbell reads version 1: " + remedy}
		e.unready(words...)
		d.exec(`insert into t values (1)`, `insert into fence values (0)`)
		tried := e.queries.count("listen pgbell")
		e.until("it tried again", func() bool { return e.queries.count("listen pgbell") > tried+1 })
		e.unready(words...)
		if event, ok := e.sub.TryNext(); ok {
			t.Errorf("it told %s", line(event))
		}
		d.exec(fmt.Sprintf(version, 1))
		e.ready().hears(d.writer, `insert into t values (2)`, `insert t public.t {"id":2}`)
	}
}

// What a newer version records may look like what this one does, and mean something else.
func TestTriggerListenerStopsAtANewerVersion(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key); select pgbell.attach('t', array['t'])`)
	e := d.listen("", listener.Config{}, "t").ready()
	e.hears(d.writer, `insert into t values (1)`, `insert t public.t {"id":1}`)
	d.exec(`begin`, fmt.Sprintf(version, 2), `select pgbell.attach('t', array['t'])`, `insert into t values (2)`, `commit`)
	e.unready("schema pgbell is of version 2", "upgrade pgbell")
	d.exec(`insert into t values (3)`)
	resets := 0
	for event, ok := e.sub.TryNext(); ok; event, ok = e.sub.TryNext() {
		if event.Op != bus.OpReset {
			t.Errorf("it told %s", line(event))
		}
		resets++
	}
	if resets == 0 {
		t.Errorf("those who listen are not told to fetch again")
	}
}

func TestTriggerMigrateLeavesANewerVersionAlone(t *testing.T) {
	for _, newer := range []struct{ made, want string }{
		{fmt.Sprintf(version, 2), "schema pgbell is of version 2, and this pgbell makes version 1: upgrade pgbell"},
		{`insert into pgbell.goose_db_version (version_id, is_applied) values (2, true)`, "schema pgbell has migration 2, and this pgbell knows none after 1: upgrade pgbell"},
	} {
		d := newTriggerDB(t)
		d.exec(newer.made)
		before := d.column(catalog)
		db, err := sql.Open("pgx", d.url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		_, up := migrations.Up(t.Context(), db)
		_, down := migrations.Down(t.Context(), db)
		for step, err := range map[string]error{"up": up, "down": down} {
			if err == nil || err.Error() != newer.want {
				t.Errorf("%s: got %v, want %s", step, err, newer.want)
			}
		}
		d.same(d.column(catalog), before...)
	}
}

func TestTriggerMigrateMakesTriggersAnewUnderWriters(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key); create table q (id int primary key) partition by list (id); create table q1 partition of q default;
		select pgbell.attach(x, array[x::text]) from unnest('{t,q}'::regclass[]) x`)
	e := d.listen("", listener.Config{}, "t", "q").ready()
	// All but the numbers of definitions.
	texts := `select proname || md5(regexp_replace(prosrc, '\d+', '', 'g')) from pg_proc where pronamespace = 'pgbell'::regnamespace order by oid::regprocedure::text`
	ours := d.column(texts)

	var (
		done    atomic.Bool
		written atomic.Int64
		writer  sync.WaitGroup
	)
	conn := d.connect()
	writer.Go(func() {
		for !done.Load() {
			i := written.Load() + 1
			if err := tryExec(context.Background(), conn, fmt.Sprintf(`insert into t values (%d); insert into q values (%[1]d)`, i)); err != nil {
				t.Errorf("a write failed: %v", err)
				return
			}
			written.Store(i)
		}
	})
	defer writer.Wait()
	defer done.Store(true)
	progress := func() {
		until := written.Load() + 10
		e.until("the writer gets on", func() bool { return t.Failed() || written.Load() >= until })
	}
	progress()
	d.exec(`do $$ begin execute replace(pg_get_functiondef('pgbell.generate'::regproc), 'Made by pgbell.attach', 'Made by the next version'); end $$`)
	d.same(d.column(`select x from pgbell.remake() x order by 1`), "public.fence", "public.q", "public.t")
	progress()
	if now := d.column(texts); len(now) != len(ours) || strings.Join(now, " ") == strings.Join(ours, " ") {
		t.Errorf("the triggers are still the same")
	}
	// And this one its own, as an upgrade would.
	if done, _, err := d.up("0"); err != nil || done != 0 {
		t.Fatalf("up did %d migrations: %v", done, err)
	}
	d.same(d.column(texts), ours...)
	if again := d.column(`select pgbell.remake()`); len(again) > 0 {
		t.Errorf("made once more: %s", again)
	}
	progress()
	done.Store(true)
	writer.Wait()

	next := map[string]int{"t": 1, "q": 1}
	for _, event := range e.events() {
		if want := fmt.Sprintf(`{"id":%d}`, next[event.Scope]); event.Op != bus.OpInsert || string(event.Key) != want {
			t.Fatalf("got %s, want the insert of %s", line(event), want)
		}
		next[event.Scope]++
	}
	for scope, n := range next {
		if int64(n-1) != written.Load() {
			t.Errorf("%s: %d changes were told, %d were made", scope, n-1, written.Load())
		}
	}
	d.same(d.column(`select distinct state from pgbell.feeds`), "ok")
}
