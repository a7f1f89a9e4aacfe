package integration

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/migrations"
)

// audit is a DBA's log of all that is made and dropped. Its function finds the log by the
// search_path.
const audit = `create table ddl_log (tag text, what text);
	create function log_ddl() returns event_trigger language plpgsql as $$ begin
		insert into ddl_log select command_tag, object_identity from pg_event_trigger_ddl_commands(); end $$;
	create function log_drop() returns event_trigger language plpgsql as $$ begin
		insert into ddl_log select tg_tag, object_identity from pg_event_trigger_dropped_objects(); end $$;
	create event trigger audit on ddl_command_end execute function log_ddl();
	create event trigger audit_drop on sql_drop execute function log_drop()`

func TestTriggerAttachUnderAnAuditOfDDL(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, v text); create table q (id int primary key) partition by list (id); create table q1 partition of q default;
		create table i (id int primary key); create table i1 () inherits (i)`)
	d.exec(audit)
	d.exec(`set search_path = pg_temp, public`) // of one that is the session's alone, the log goes on as before
	for _, call := range []string{
		`select pgbell.attach(x::regclass, array[x]) from unnest('{t,q,i}'::text[]) x`,
		`select pgbell.attach('i', array['i'], durable => false)`,
		`drop table i1`,
		`select pgbell.attach('i', array['i'])`, // its triggers are others now
		`select pgbell.grant_listener('` + d.role("ear") + `')`,
	} {
		before := d.ask(`select count(*) from ddl_log`)
		d.exec(call)
		if d.ask(`select count(*) from ddl_log`) == before {
			t.Errorf("%s: nothing is in the log", call)
		}
	}
	if got := d.ask(`current_setting('search_path')`); got != "pg_temp, public" {
		t.Errorf("search_path is %s", got)
	}
	d.same(d.column(`select table_name || ' ' || state from pgbell.feeds`), "public.i ok", "public.q ok", "public.t ok")
	d.expect(`insert into t values (1)`, `insert t public.t {"id":1}`)
	d.exec(`select pgbell.detach('q'), pgbell.detach('t')`)
	if got := d.ask(`select count(*) from pg_trigger where tgrelid in ('t'::regclass, 'q'::regclass)`); got != "0" {
		t.Errorf("%s triggers are left", got)
	}
	for _, tag := range []string{"CREATE TRIGGER", "CREATE FUNCTION", "ALTER FUNCTION", "ALTER TABLE", "REVOKE", "GRANT", "DROP TRIGGER", "DROP FUNCTION"} {
		if d.ask(`select exists (select from ddl_log where tag = $1)`, tag) != "true" {
			t.Errorf("%s is not in the log", tag)
		}
	}
}

// The system's types come before those of the session's path, even where that names its
// schema behind others.
func TestTriggerAttachTakesTypesFromTheSystem(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, at timestamptz); create type public.trigger as (x int); create domain public.text as int; create domain public.oid as int`)
	config := d.writer.Config().Copy()
	config.RuntimeParams["search_path"] = "public, pg_catalog"
	conn := d.connectWith(config)
	d.execOn(conn, `select pgbell.attach('t', array['t:{id}'], payload => array['at'])`, `select pgbell.grant_listener('`+d.role("ear")+`')`)
	d.expectOn(conn, `insert into t (id) values (1)`, `insert t:1 public.t {"id":1} data {"at":null}`)
}

// All that a migration makes is bound by its search_path, which is the system's: there the
// DBA is told which function to change, and how.
func TestTriggerMigrateUnderAnAuditOfDDL(t *testing.T) {
	d := &triggerDB{TB: t, url: pgtest.Database(t)}
	d.writer = d.connect()
	d.exec(audit)
	db, err := sql.Open("pgx", d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	up := func() (err error) { _, err = migrations.Up(t.Context(), db); return err }
	down := func() (err error) { _, err = migrations.Down(t.Context(), db); return err }
	remedy := func(err error, trigger string) string {
		t.Helper()
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Message != `relation "ddl_log" does not exist` || !strings.Contains(pgErr.Hint, "event trigger "+trigger+" ") {
			t.Fatalf("got error %#v", err)
		}
		_, remedy, _ := strings.Cut(pgErr.Hint, "pg_catalog, pg_temp: ")
		return remedy
	}
	d.exec(remedy(up(), "audit"))
	if err := up(); err != nil {
		t.Fatal(err)
	}
	d.exec(remedy(down(), "audit_drop"))
	if err := down(); err != nil {
		t.Fatal(err)
	}
	// An event trigger that refuses has its own words.
	d.exec(`create function no() returns event_trigger language plpgsql as $$ begin raise 'not now'; end $$; create event trigger no on ddl_command_start execute function no()`)
	if err := up(); err == nil || strings.Contains(err.Error(), "search_path") || !strings.Contains(err.Error(), "not now") {
		t.Errorf("got error %v", err)
	}
}

// Where a transaction has yet to check a deferred constraint, attach says why it can't be,
// and what to do. Detach can.
func TestTriggerAttachBeforeDeferredConstraintsAreChecked(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table parent (id int primary key); create table child (id int primary key, p int references parent deferrable initially deferred)`)
	const write = `insert into child values (1, 1); insert into parent values (1)`
	d.exec(`begin`, write)
	d.refuses(`select pgbell.attach('child', array['child'])`, `"child" because it has pending trigger events`, "constraints that are deferred", "SET CONSTRAINTS ALL IMMEDIATE", "a transaction of its own")
	d.exec(`rollback`, `begin`, write, `set constraints all immediate`, `select pgbell.attach('child', array['child'])`, `commit`)
	d.expect(`truncate parent, child`, `reset public.child truncate`)
	d.exec(`begin`, write, `select pgbell.detach('child')`, `commit`)
	d.expect(`update child set id = 2`)
}
