package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/migrations"
)

// newFormerDB is a database with the schema of before the first release.
func newFormerDB(t testing.TB) *triggerDB {
	t.Helper()
	d := &triggerDB{TB: t, url: pgtest.Former.Database(t)}
	d.writer, d.reader = d.connect(), d.connect()
	return d
}

// up migrates, and returns what it did and which warnings it gave.
func (d *triggerDB) up(lockTimeout string) (done int, warnings []string, err error) {
	config, err := pgx.ParseConfig(d.url)
	if err != nil {
		return 0, nil, err
	}
	config.RuntimeParams["application_name"] = "migrate"
	config.RuntimeParams["lock_timeout"] = lockTimeout
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Severity == "WARNING" {
			warnings = append(warnings, n.Message)
		}
	}
	db := stdlib.OpenDB(*config)
	defer db.Close()
	results, err := migrations.Up(context.Background(), db)
	return len(results), warnings, err
}

// upgrade is up for what has to succeed.
func (d *triggerDB) upgrade(warnings ...string) {
	d.Helper()
	done, got, err := d.up("10min") // writers whose transactions wait for each other's tables leave it a moment now and then
	if err != nil || done != 1 {
		d.Fatalf("the upgrade did %d migrations: %v", done, err)
	}
	d.same(got, warnings...)
}

// waitFor waits until a query says true.
func (d *triggerDB) waitFor(query string) {
	d.Helper()
	d.exec(`do $$ begin for i in 1..100000 loop
		if (` + query + `) then return; end if;
		perform pg_sleep(0.001), pg_stat_clear_snapshot(); end loop; raise 'waited in vain'; end $$`)
}

// feedsNow says what is attached, and its state.
const feedsNow = `select concat_ws(' ', table_name, scopes, coalesce(audience::text, 'all'), columns, payload, durable, state) from pgbell.feeds order by table_name collate "C"`

func TestTriggerUpgradeUnderWritersLosesNothing(t *testing.T) {
	d := newFormerDB(t)
	ear, teller := d.role("ear"), d.role("teller")
	d.exec(strings.NewReplacer("EAR", ear, "TELLER", teller).Replace(`
		grant select on pgbell.journal, pgbell.journal_state, pgbell.feeds, pgbell.journal_0, pgbell.journal_1, pgbell.journal_turn to EAR;
		grant execute on function pgbell.mark_incarnation(), pgbell.arm(text, interval), pgbell.rotate(interval), pgbell.table_name(oid), pgbell.state(pgbell.feed) to EAR;
		grant execute on function pgbell.publish(text, jsonb, text[]), pgbell.disconnect(text, text) to TELLER`))
	d.exec(`create table plain (id int primary key, p int, owner text, title text);
		create schema "O'dd"; create table "O'dd"."ta""b.le" (id int primary key, "loop" text);
		create table parts (id int primary key) partition by range (id); create table parts_0 partition of parts for values from (0) to (1000);
		create table parts_1 partition of parts default;
		create table kin (id int primary key); create table kin_1 (primary key (id)) inherits (kin);
		create table volatile (id int primary key);
		create view seen as select pgbell.cursor();
		select pgbell.attach('plain', array['plain', 'p:{p}'], audience => array['owner'], columns => array['p', 'title'], payload => array['title']),
			pgbell.attach('"O''dd"."ta""b.le"', array['odd', 'odd:{loop}'], audience => '{}'), pgbell.attach('parts', array['parts']), pgbell.attach('kin', array['kin']),
			pgbell.attach('volatile', array['volatile'], durable => false)`)
	e := d.listen(ear, listener.Config{}, "plain", "parts", "kin", "volatile")
	e.unready("schema pgbell is missing or of another version", "run pgbell migrate")
	before, since := d.column(feedsNow), d.since()

	// Each writes rows of its own, in transactions that lock two tables each, in another order than the next ones.
	var (
		writers     sync.WaitGroup
		ready, done atomic.Bool
		written     [4]atomic.Int64
		after       [4][]string // keys of what was written after the listener was ready
	)
	tables := []string{`plain values (%[1]d, 1, 'x', 'y')`, `"O'dd"."ta""b.le" values (%[1]d, 'l')`, `parts values (%[1]d)`, `parts_1 values (-%[1]d)`,
		`kin values (%[1]d)`, `kin_1 values (-%[1]d)`, `volatile values (%[1]d)`}
	for w := range written {
		conn := d.connect()
		writers.Go(func() {
			for i := 0; !done.Load(); i++ {
				tell, id := ready.Load(), (i*len(written)+w)+1
				var text strings.Builder
				for j := range tables {
					text.WriteString(fmt.Sprintf("insert into "+tables[(j*(w+1)+i)%len(tables)]+";", id))
					if j%2 == 1 {
						text.WriteString("commit;begin;")
					}
				}
				if err := tryExec(context.Background(), conn, "begin;"+text.String()+fmt.Sprintf("update plain set title = 'z' where id = %d;commit", id)); err != nil {
					t.Errorf("a write failed: %v", err)
					return
				}
				if tell {
					after[w] = append(after[w], fmt.Sprint(id))
				}
				written[w].Add(1)
			}
		})
	}
	defer writers.Wait()
	defer done.Store(true)
	progress := func() {
		for w := range written {
			until := written[w].Load() + 10
			e.until("a writer gets on", func() bool { return t.Failed() || written[w].Load() >= until })
		}
	}
	progress()
	d.upgrade()
	e.ready()
	ready.Store(true)
	progress()
	done.Store(true)
	writers.Wait()

	heard := map[string]bool{}
	for _, event := range e.events() {
		heard[fmt.Sprint(event.Op, " ", event.Table, " ", string(event.Key))] = true
	}
	for w := range after {
		if len(after[w]) == 0 {
			t.Errorf("writer %d wrote nothing after the listener was ready", w)
		}
		for _, id := range after[w] {
			for _, want := range []string{`insert public.parts {"id":%s}`, `insert public.parts {"id":-%s}`, `insert public.kin {"id":%s}`, `insert public.kin {"id":-%s}`,
				`insert public.volatile {"id":%s}`} {
				if want = fmt.Sprintf(want, id); !heard[want] {
					t.Errorf("the listener didn't tell %s", want)
				}
			}
		}
	}
	// All that was written after the upgrade is in its journal, whether the listener was ready or not.
	if missing := d.column(`
		with upgrade as (select xmin::text::bigint as tx from pgbell.definition order by id limit 1),
			written (tbl, id, tx) as (
				select 'public.plain', id, xmin from plain union all select '"O''dd"."ta""b.le"', id, xmin from "O'dd"."ta""b.le"
				union all select 'public.parts', id, xmin from parts union all select 'public.kin', id, xmin from kin)
		select format('%s %s is not in the journal', w.tbl, w.id) from upgrade u join written w on w.tx::text::bigint > u.tx
		where not exists (select from pgbell.journal j where j.xid::text = w.tx::text and j.tbl = w.tbl and j.op in ('insert', 'update'))
		union all select 'nothing was written after the upgrade' from upgrade u where not exists (select from written w where w.tx::text::bigint > u.tx)`); len(missing) > 0 {
		t.Errorf("%d: %s, ...", len(missing), missing[0])
	}

	d.same(d.column(feedsNow), before...)
	if _, _, err := journal.Read(t.Context(), d.reader, since, func(*journal.Record) error { return nil }); !errors.Is(err, journal.GapIncarnation) {
		t.Errorf("a cursor from before the upgrade gives %v, want a gap", err)
	}
	d.execOn(d.connectAs(teller), `select pgbell.publish('x'), pgbell.disconnect('nobody')`)
	d.exec(`select * from seen; drop view seen`)

	if done, _, err := d.up("0"); err != nil || done != 0 {
		t.Errorf("up again did %d migrations: %v", done, err)
	}
	d.same(d.column(`select version_id::text from pgbell.goose_db_version order by id`), "0", "1")
	db, err := sql.Open("pgx", d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := migrations.Down(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if got := d.ask(`select count(*) filter (where tgname like 'pgbell%') || ' triggers, schema ' || coalesce(to_regnamespace('pgbell')::text, 'gone') from pg_trigger`); got != "0 triggers, schema gone" {
		t.Errorf("down left %s", got)
	}
}

func TestTriggerUpgradeMakesWhatAnInstallationMakes(t *testing.T) {
	d, fresh := newFormerDB(t), newTriggerDB(t)
	d.upgrade()
	if diff := cmp.Diff(fresh.column(catalog), d.column(catalog)); diff != "" {
		t.Errorf("(-installed +upgraded):\n%s", diff)
	}
}

// Postgres ends one of two transactions that wait for each other.
func TestTriggerUpgradeIsNoWritersDeadlock(t *testing.T) {
	d := newFormerDB(t)
	d.exec(`create table a (id int primary key); create table b (id int primary key); select pgbell.attach('a', array['a']), pgbell.attach('b', array['b'])`)
	writer := d.connect()
	d.execOn(writer, `set deadlock_timeout = '600ms'`, `begin`, `insert into b values (1)`) // it looks for one before the upgrade does
	upgraded := make(chan error, 1)
	go func() {
		_, _, err := d.up("0")
		upgraded <- err
	}()
	d.waitFor(`exists (select from pg_locks l join pg_stat_activity a using (pid)
		where a.application_name = 'migrate' and a.datname = current_database() and not l.granted and l.relation = 'b'::regclass)`)
	d.execOn(writer, `insert into a values (1)`, `insert into b values (2)`, `commit`)
	if err := <-upgraded; err != nil {
		t.Fatal(err)
	}
	d.expect(`insert into a values (3); insert into b values (3)`, `insert a public.a {"id":3}`, `insert b public.b {"id":3}`)
}

func TestTriggerUpgradeDoesNotWaitForLong(t *testing.T) {
	d := newFormerDB(t)
	d.exec(`create table a (id int primary key); create table b (id int primary key); select pgbell.attach('a', array['a']), pgbell.attach('b', array['b'])`)
	reader := d.connect()
	d.execOn(reader, `begin`, `select from b`)
	_, _, err := d.up("100ms")
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Message != "public.b is in use: no lock on it within 0.1 s" || !strings.Contains(pgErr.Hint, "pg_locks") {
		t.Errorf("got %v", err)
	}
	d.same(d.column(feedsNow), "public.a {a} all t ok", "public.b {b} all t ok")
	d.execOn(reader, `commit`)
	d.upgrade()
	d.same(d.column(feedsNow), "public.a {a} all t ok", "public.b {b} all t ok")
}

func TestTriggerUpgradeLeavesBehindWhatCannotBeAttached(t *testing.T) {
	d := newFormerDB(t)
	d.exec(`create table good (id int primary key); create table gone (id int primary key); create table changed (id int primary key, p int); create table former (id int primary key);
		select pgbell.attach(x, array[x::text]) from unnest('{gone,good,former}'::regclass[]) x; select pgbell.attach('changed', array['p:{p}']), pgbell.detach('former')`,
		`drop table gone`, `alter table changed drop p`)
	gone := d.ask(`(select target::oid from pgbell.feed where tbl = 'public.gone')`)
	d.upgrade("public.gone is not attached any more: there is no table with oid "+gone, `public.changed is not attached any more: table public.changed has no column "p"`)
	d.same(d.column(feedsNow), "public.good {good} all t ok")
	d.expect(`insert into changed values (1); insert into good values (1)`, `insert good public.good {"id":1}`)
	d.expect(`select pgbell.attach('former', array['former'])`, `reset public.former attached again`)
	d.expect(`alter table changed add p int; select pgbell.attach('changed', array['p:{p}'])`, `reset public.changed attached again`)
}

// The triggers run as the schema's owner, whoever migrates.
func TestTriggerUpgradeBySuperuserLeavesTheOwner(t *testing.T) {
	d := &triggerDB{TB: t, url: pgtest.Database(t)}
	d.writer, d.reader = d.connect(), d.connect()
	bell, app, clerk := d.role("bell"), d.role("app"), d.role("clerk")
	d.exec(fmt.Sprintf(`do $$ begin execute format('grant create on database %%I to %s', current_database()); end $$`, bell))
	conf := d.writer.Config()
	if err := pgtest.MigrateFormer(t.Context(), fmt.Sprintf("host=%s port=%d user=%s password=%[3]s dbname=%s", conf.Host, conf.Port, bell, conf.Database)); err != nil {
		t.Fatal(err)
	}
	d.exec(fmt.Sprintf(`create schema app authorization %s; grant usage on schema app to public; grant %s to %[1]s`, app, bell))
	d.execOn(d.connectAs(app), `create table app.t (id int primary key); select pgbell.attach('app.t', array['t']); grant insert on app.t to `+clerk)
	d.upgrade()
	d.same(d.column(`select distinct pg_get_userbyid(x.o)::text from (select relowner from pg_class where relnamespace = 'pgbell'::regnamespace
		union all select proowner from pg_proc where pronamespace = 'pgbell'::regnamespace) x (o)`), bell)
	d.expectOn(d.connectAs(clerk), `insert into app.t values (1)`, `insert t app.t {"id":1}`)
}
