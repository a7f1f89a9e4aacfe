package integration

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/migrations"
)

// catalog lists all that a database has beyond the system's own.
const catalog = `select (pg_describe_object(classid, objid, 0) || coalesce(' ' || acl, '')) collate "C" as what from (
	select 'pg_namespace'::regclass, oid, nspacl::text from pg_namespace where nspname !~ '^pg_(toast_)?temp'
	union all select 'pg_class'::regclass, oid, relacl::text from pg_class where relnamespace <> 'pg_toast'::regnamespace
	union all select 'pg_proc'::regclass, oid, proacl::text || proconfig::text from pg_proc
	union all select 'pg_type'::regclass, oid, typacl::text from pg_type
	union all select 'pg_constraint'::regclass, oid, null from pg_constraint
	union all select 'pg_trigger'::regclass, oid, tgenabled::text from pg_trigger
	union all select 'pg_attrdef'::regclass, oid, null from pg_attrdef
	union all select 'pg_rewrite'::regclass, oid, null from pg_rewrite
	union all select 'pg_operator'::regclass, oid, null from pg_operator
	union all select 'pg_cast'::regclass, oid, null from pg_cast
	union all select 'pg_event_trigger'::regclass, oid, null from pg_event_trigger
	union all select 'pg_extension'::regclass, oid, null from pg_extension
	union all select 'pg_default_acl'::regclass, oid, defaclacl::text from pg_default_acl
	union all select 'pg_publication'::regclass, oid, null from pg_publication
) x (classid, objid, acl) where objid >= 16384 order by what`

func TestTriggerMigrationsLeaveNothingBehind(t *testing.T) {
	d := &triggerDB{TB: t, url: pgtest.Database(t)}
	d.writer, d.reader = d.connect(), d.connect()
	d.exec(`create table t (id int primary key, v text); create table q (id int primary key) partition by list (id); create table q1 partition of q default;
		create table i (id int primary key); create table i1 () inherits (i); create table gone (id int primary key)`)
	db, err := sql.Open("pgx", d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	before := d.column(catalog)
	var installed []string
	for range 2 {
		if _, err := migrations.Up(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		now := d.column(catalog)
		if installed == nil {
			installed = now
		}
		if diff := cmp.Diff(installed, now); diff != "" {
			t.Errorf("the second time (-first +second):\n%s", diff)
		}
		if len(now) < len(before)+30 {
			t.Errorf("only %d objects more", len(now)-len(before))
		}
		d.exec(`select pgbell.attach(x::regclass, array['x'], durable => x <> 'i') from unnest('{t,q,i,gone}'::text[]) x`, `select pgbell.detach('i')`,
			`insert into t values (1); insert into q values (1); insert into i1 values (1)`,
			`drop table gone`, `select pgbell.publish('x')`)
		if _, err := migrations.Down(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		d.exec(`create table gone (id int primary key)`, `insert into t values (2); truncate t, q, i`)
		if diff := cmp.Diff(before, d.column(catalog)); diff != "" {
			t.Errorf("left behind (-before +after):\n%s", diff)
		}
		if got := d.ask(`to_regnamespace('pgbell')`); got != "<null>" {
			t.Errorf("the schema is left")
		}
	}
}

func TestTriggerMigrationsOfSeveralAtOnce(t *testing.T) {
	d := &triggerDB{TB: t, url: pgtest.Database(t)}
	d.writer = d.connect()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := pgtest.Migrate(context.Background(), d.url); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := strings.Join(d.column(`select version_id::text from pgbell.goose_db_version order by id`), " "); got != "0 1" {
		t.Errorf("versions %s", got)
	}
	if got := d.ask(`select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`); got != "0" {
		t.Errorf("%s locks are left", got)
	}
}
