package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/listener"
)

func TestTriggerAttachNamesWhatIsWrong(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, "Odd" text, doc jsonb, docs json[], x xml);
		create type pair as (a int, b int); create domain dom as jsonb; alter table t add pair pair, add dom dom;
		create view v as select * from t; create materialized view m as select 1 as id; create sequence s;
		create foreign data wrapper w; create server s foreign data wrapper w; create foreign table f (id int) server s;
		create table p (id int) partition by list (id); create table p1 partition of p default; create index i on t (id);
		create table h (id int)`)
	for _, test := range []struct {
		args string
		want []string
	}{
		{`'t', array['t:{nope}']`, []string{`table public.t has no column "nope"`, `Its columns are: id, "Odd", doc, docs, x, pair, dom.`}},
		{`'t', array['t:{odd}']`, []string{`no column "odd"`, `"Odd"`}},
		{`'t', array['t:{ id}']`, []string{`no column " id"`}},
		{`'t', array['t'], audience => array['owner']`, []string{`no column "owner"`}},
		{`'t', array['t'], columns => array['ctid']`, []string{`no column "ctid"`}},
		{`'t', array['t'], payload => array['*']`, []string{`no column "*"`}},
		{`'t', array['t:{id']`, []string{`scope template "t:{id"`, "not closed", "{project_id}"}},
		{`'t', array['t:id}']`, []string{`scope template "t:id}"`}},
		{`'t', array['t:{}']`, []string{`no column name in the braces`}},
		{`'t', array[]::text[]`, []string{"at least one scope", "public.t"}},
		{`'t', null`, []string{"at least one scope"}},
		{`'t', array[['t'], ['u']]`, []string{"arrays of one dimension"}},
		{`'t', array[null]`, []string{"a scope is null"}},
		{`'t', array['t'], audience => array[null]`, []string{"a column name is null"}},
		{`'t', array['ready']`, []string{`scope "ready" is reserved`, "open, error, message, ready and close"}},
		{`'t', array['t', 'open']`, []string{`scope "open" is reserved`}},
		{`'t', array['']`, []string{"reserved"}},
		{`'t', array[repeat('x', 257)]`, []string{"longer than 256 bytes"}},
		{`'t', array[repeat('é', 50) || '{id}']`, []string{"longer than 256 bytes"}},
		{`'v', array['v']`, []string{"public.v is a view", "Attach the tables that it reads"}},
		{`'m', array['m']`, []string{"public.m is a materialized view"}},
		{`'f', array['f']`, []string{"public.f is a foreign table", "Attach the table on the server that holds it"}},
		{`'s', array['s']`, []string{"public.s is not a table"}},
		{`'i', array['s']`, []string{"public.i is not a table"}},
		{`'p1', array['p']`, []string{"public.p1 is a partition of public.p", "Attach public.p:"}},
		{`'pg_class', array['p']`, []string{"pg_catalog.pg_class is a system table"}},
		{`'pgbell.journal', array['p']`, []string{"pgbell.journal is a system table"}},
		{`123456789::regclass, array['p']`, []string{"there is no table with oid 123456789"}},
		{`'t', array['t'], audience => array['doc']`, []string{`column "doc" of public.t is of type jsonb`, "one user id"}},
		{`'t', array['t'], audience => array['docs']`, []string{"of type json[]"}},
		{`'t', array['t'], audience => array['x']`, []string{"of type xml"}},
		{`'t', array['t'], audience => array['dom']`, []string{"of type public.dom"}},
		{`'t', array['t'], audience => array['pair']`, []string{"of type public.pair"}},
		{`'t', array['t'], payload => array['id'], durable => false`, []string{"payload columns travel only through the journal"}},
	} {
		d.refuses(`select pgbell.attach(`+test.args+`)`, test.want...)
	}
	d.exec(`create temp table tmp (id int)`)
	d.refuses(`select pgbell.attach('tmp', array['t'])`, "is a temporary table")
	if got := d.ask(`select count(*) from pgbell.feeds`) + d.ask(`select count(*) from pg_trigger where tgname like 'pgbell%'`); got != "00" {
		t.Errorf("refused attaches left something: %s", got)
	}
}

func TestTriggerAttachWithoutPrimaryKeyWarns(t *testing.T) {
	d := newTriggerDB(t)
	var notice string
	config := d.writer.Config().Copy()
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notice = n.Message }
	conn := d.connectWith(config)
	d.execOn(conn, `create table t (id int); select pgbell.attach('t', array['t'])`)
	if notice != "public.t has no primary key: its events carry no key" {
		t.Errorf("got %q", notice)
	}
}

func TestTriggerAttachAgainReplacesTheFeed(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(tasks)
	const attached = `select concat(count(*), ' ', (select count(*) from pg_proc where proname ~ '^feed_\d'), ' ', (select count(*) from pgbell.feed)) from pg_trigger where tgname ~ '^pgbell_'`
	before := d.ask(attached)
	// The same feed: nobody missed anything.
	if got := d.hear(`select pgbell.attach('tasks', array['tasks', 'project:{project_id}'], audience => array['owner'])`); len(got) != 1 || !strings.Contains(got[0], "attached") {
		t.Errorf("got %q", got)
	}
	since := d.since()
	d.exec(`select pgbell.attach('public.tasks', array['n:{n}'])`)
	reset := d.records(since)[0].Reset
	for _, scope := range []string{"tasks", "project:1", "n:1"} {
		if !reset.Matches(scope) {
			t.Errorf("%s gets no reset", scope)
		}
	}
	if got := d.ask(attached); got != before {
		t.Errorf("left over: %s, want %s", got, before)
	}
	d.expect(`insert into tasks values (1, 7, 'ann')`, `insert n:0 public.tasks {"id":1}`)
	if got := d.ask(`select table_name || scopes::text || coalesce(audience::text, 'null') || coalesce(columns::text, 'null') || coalesce(payload::text, 'null') || durable || state from pgbell.feeds`); got != `public.tasks{n:{n}}nullnullnulltrueok` && got != `public.tasks{"n:{n}"}nullnullnulltrueok` {
		t.Error(got)
	}
}

func TestTriggerDetachedTableIsSilent(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(tasks)
	d.expect(`select pgbell.detach('tasks')`, `reset public.tasks detached`)
	d.expect(`insert into tasks values (1); update tasks set n = 3; truncate tasks`)
	if got := d.ask(`pgbell.detach('tasks')`); got != "false" {
		t.Errorf("detach again: got %s", got)
	}
	if got := d.ask(`select count(*) from pg_trigger where tgname ~ '^pgbell' union all select count(*) from pg_proc where proname ~ '^feed_\d' limit 1`); got != "0" {
		t.Errorf("left over: %s", got)
	}
	// What was written in between nobody heard.
	since := d.since()
	d.exec(`select pgbell.attach('tasks', array['tasks'])`)
	if !d.records(since)[0].Reset.Matches("tasks") {
		t.Error("no reset for what was missed")
	}
}

func TestTriggerDisabledTriggersShowInTheState(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(tasks, `create table p (id int primary key) partition by range (id); create table p1 partition of p default; select pgbell.attach('p', array['p'])`)
	for _, test := range []struct{ ddl, state string }{
		{`alter table tasks disable trigger pgbell_update_1`, "trigger pgbell_update_1 is disabled: attach the table again"},
		{`alter table tasks disable trigger all`, "trigger pgbell_delete_1 is disabled; pgbell_insert_1 is disabled"},
		{`alter table tasks disable trigger user`, "is disabled"},
		{`alter table tasks enable trigger pgbell_row_insert_1`, "trigger pgbell_row_insert_1 was enabled otherwise than attached: attach the table again"},
		{`drop trigger pgbell_truncate_1 on tasks`, "trigger pgbell_truncate_1 is missing: attach the table again"},
		{`drop function pgbell.feed_1_insert() cascade`, "pgbell_insert_1 is missing"},
	} {
		d.exec(test.ddl)
		if got := d.ask(`select state from pgbell.feeds where table_name = 'public.tasks'`); !strings.Contains(got, test.state) {
			t.Errorf("%s: got state %q, want %q", test.ddl, got, test.state)
		}
		d.exec(`insert into tasks values (1); update tasks set n = 1; delete from tasks; truncate tasks`)
		since := d.since()
		d.exec(`select pgbell.attach('tasks', array['tasks', 'project:{project_id}'], audience => array['owner'])`)
		if !d.records(since)[0].Reset.Matches("tasks") {
			t.Errorf("%s: no reset for what was missed", test.ddl)
		}
		if got := d.ask(`select state from pgbell.feeds where table_name = 'public.tasks'`); got != "ok" {
			t.Errorf("%s: state after attach is %q", test.ddl, got)
		}
		d.expect(`insert into tasks values (1)`, `insert tasks public.tasks {"id":1} for `)
		d.exec(`delete from tasks`)
	}
	d.exec(`alter table p1 disable trigger pgbell_row_insert_2`)
	if got := d.ask(`select state from pgbell.feeds where table_name = 'public.p'`); !strings.Contains(got, "pgbell_row_insert_2 is disabled on public.p1") {
		t.Errorf("partition: got %q", got)
	}
	d.exec(`select pgbell.attach('p', array['p'])`)
	if got := d.ask(`select string_agg(distinct state, '') from pgbell.feeds`); got != "ok" {
		t.Errorf("partition: state after attach is %q", got)
	}
	d.expect(`insert into p1 values (1)`, `insert p public.p {"id":1}`)
}

func TestTriggerDroppedTableMayComeBack(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(tasks, `drop table tasks`)
	if got := d.ask(`select table_name || ': ' || state from pgbell.feeds`); !strings.HasPrefix(got, "public.tasks: the table was dropped: select pgbell.detach(") {
		t.Error(got)
	}
	d.exec(tasks)
	d.expect(`insert into tasks values (1)`, `insert tasks public.tasks {"id":1} for `)
	if got := d.ask(`select string_agg(state, ',') from pgbell.feeds`); got != "ok" {
		t.Errorf("got %s", got)
	}
	d.exec(`drop table tasks`, `select pgbell.detach(target) from pgbell.feed`)
	if got := d.ask(`select count(*) from pgbell.feeds`); got != "0" {
		t.Errorf("got %s feeds", got)
	}
	d.exec(`create table again (id int primary key)`, `begin; select pgbell.attach('again', array['x']); rollback`)
	d.expect(`insert into again values (1)`)
}

func TestTriggerAttachWaitsFiveSecondsForALock(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(tasks)
	other := d.connect()
	d.execOn(other, `begin; update tasks set n = 1`)
	d.exec(`set lock_timeout = '50ms'`)
	for _, call := range []string{`attach('tasks', array['x'])`, `detach('tasks')`} {
		d.refuses(`select pgbell.`+call, "public.tasks is in use", "no lock on it within 50ms", "lock_timeout")
	}
	if got := d.ask(`current_setting('lock_timeout')`); got != "50ms" {
		t.Errorf("lock_timeout is %s now", got)
	}
	d.exec(`reset lock_timeout`)
	d.refuses(`select pgbell.attach('tasks', array['x'])`, "no lock on it within 5s")
	d.execOn(other, `commit`)
	d.exec(`begin; select pgbell.attach('tasks', array['x'])`)
	if got := d.ask(`current_setting('lock_timeout')`); got != "0" {
		t.Errorf("lock_timeout is %s now", got)
	}
	d.exec(`commit`)
}

// Two at once end one after the other, and leave one feed.
func TestTriggerAttachInTwoSessionsAtOnce(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key)`)
	const sessions = 4
	done := make(chan error, sessions)
	for range sessions {
		conn := d.connect()
		go func() { done <- tryExec(t.Context(), conn, `select pgbell.attach('t', array['t'])`) }()
	}
	for range sessions {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := d.ask(`select count(*) || string_agg(state, '') from pgbell.feeds`); got != "1ok" {
		t.Error(got)
	}
	d.expect(`insert into t values (1)`, `insert t public.t {"id":1}`)
}

// Writers that are at it all the time keep writing, and lose nothing after the attach.
func TestTriggerAttachIsSafeAmongWriters(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, n int); insert into t select i, 0 from generate_series(1, 4) i`)
	stop, done := make(chan struct{}), make(chan error)
	for i := range 4 {
		conn := d.connect()
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if _, err := conn.Exec(t.Context(), `update t set n = n + 1 where id = $1`, i+1); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range 5 {
		d.exec(`select pgbell.attach('t', array['t'], payload => array['n'])`, `select pgbell.detach('t')`)
	}
	d.exec(`select pgbell.attach('t', array['t'], payload => array['n'])`)
	close(stop)
	for range 4 {
		if err := <-done; err != nil {
			t.Errorf("a write failed: %v", err)
		}
	}
}

// As pg_restore --disable-triggers leaves them: the row trigger, made for replication,
// fires for writers, too.
func TestTriggerEnabledByHandTellsNothingTwice(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(tasks, `select pgbell.attach('tasks', array['tasks'])`, `alter table tasks disable trigger all`, `alter table tasks enable trigger all`)
	d.expect(`insert into tasks values (1), (2)`, `insert tasks public.tasks {"id":1}`, `insert tasks public.tasks {"id":2}`)
	d.expect(`update tasks set n = 5 where id = 1`, `update tasks public.tasks {"id":1} changed n`)
	d.expect(`delete from tasks where id = 1`, `delete tasks public.tasks {"id":1}`)
	if got, want := d.ask(`select state from pgbell.feeds`), "trigger pgbell_row_delete_1 was enabled otherwise than attached; pgbell_row_insert_1 was enabled otherwise than attached; pgbell_row_update_1 was enabled otherwise than attached; pgbell_truncate_1 was enabled otherwise than attached: attach the table again"; got != want {
		t.Errorf("state %q, want %q", got, want)
	}
}

// An app that builds its tables anew in one transaction: pages of before are told, although
// their table is gone.
func TestTriggerTableThatIsMadeAgainIsReset(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table items (id int primary key); select pgbell.attach('items', array['items', 'item:{id}']); insert into items values (1)`)
	e := d.listen("", listener.Config{}, "items", "item:1").ready()
	d.exec(`begin; drop table items; create table items (id int primary key); insert into items values (2);
		select pgbell.attach('items', array['items']); commit`)
	heard := e.heard()
	slices.Sort(heard) // the resets of one record come in no order
	if diff := cmp.Diff([]string{"reset item:1 public.items the table was dropped", "reset items public.items the table was dropped"}, heard); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	e.hears(d.writer, `insert into items values (3)`, `insert items public.items {"id":3}`)
}
