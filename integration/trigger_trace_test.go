package integration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// The writer's session must not see that pgbell was there: lastval() is the app's own
// sequence, GET DIAGNOSTICS and FOUND are its own statement's, no setting is left.
func TestTriggerLeavesNoTraceInTheWritersSession(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table ord (id serial primary key, v int); create table lin (id int, ord bigint);
		select pgbell.attach('ord', array['o:{id}']), pgbell.attach('lin', array['l:{ord}'])`, `select pgbell.arm('a server', '1 minute')`)
	for _, role := range []string{"", d.role("writer")} {
		conn := d.connect()
		if role != "" {
			d.exec(fmt.Sprintf(`grant usage on schema public to %[1]s; grant all on ord, lin to %[1]s; grant all on sequence ord_id_seq to %[1]s`, role))
			conn = d.connectAs(role)
		}
		d.execOn(conn, `do $$ begin end $$`) // loads plpgsql, which has settings
		before := d.askOn(conn, `select string_agg(name || '=' || setting, ' ' order by name) from pg_settings where name !~ '^(transaction|application)'`)
		d.execOn(conn, `insert into ord (v) values (1), (2); insert into lin values (1, lastval())`)
		if got, want := d.askOn(conn, `select ord from lin order by ord desc limit 1`), d.askOn(conn, `select max(id) from ord`); got != want {
			t.Errorf("as %q: lastval() gave %s, want %s", role, got, want)
		}
		d.execOn(conn, `do $$ declare n int; begin
			update ord set v = 9 where v = 1; get diagnostics n = row_count;
			if not found or n < 1 then raise exception 'found %, % rows', found, n; end if;
			update ord set v = 9 where v = -1; if found then raise exception 'found'; end if;
			if lastval() <> currval('ord_id_seq') then raise exception 'lastval'; end if;
			end $$`)
		if after := d.askOn(conn, `select string_agg(name || '=' || setting, ' ' order by name) from pg_settings where name !~ '^(transaction|application)'`); after != before {
			t.Errorf("as %q: the settings are others", role)
		}
	}
}

// Writers of serializable transactions have no conflict with each other by pgbell: its
// triggers read nothing that others write.
func TestTriggerSerializableWritersHaveNoConflict(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table other (id int primary key, n int); create table t (id int primary key, n int, gone int);
		create function also() returns trigger language plpgsql as $$ begin update other set n = n + 1 where id = new.id; return null; end $$;
		create trigger also after insert or update on t for each row execute function also();
		insert into other select g, 0 from generate_series(1, 2000) g; insert into t select g, 0 from generate_series(1, 2000) g; analyze t; analyze other;
		select pgbell.attach('t', array['t:{id}']), pgbell.attach('other', array['o:{id}']); alter table t drop column gone`)
	run := func() (failed int) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for writer := range 3 {
			conn := d.connect()
			d.execOn(conn, `set default_transaction_isolation = 'serializable'; set enable_seqscan = off; set enable_bitmapscan = off`)
			all.Go(func() {
				for i := range 40 {
					id := 100 + 600*writer + 7*i // far from the others' pages, mostly
					err := tryExec(context.Background(), conn, fmt.Sprintf(`begin; update t set n = n + 1 where id = %d; update t set n = n + 1 where id = %[1]d; commit`, id))
					if err != nil {
						_ = tryExec(context.Background(), conn, `rollback`) // it may have ended
						if !strings.Contains(err.Error(), "40001") {
							t.Error(err)
						}
						mu.Lock()
						failed++
						mu.Unlock()
					}
				}
			})
		}
		all.Wait()
		return failed
	}
	attached := run()
	d.exec(`select pgbell.detach('t'), pgbell.detach('other')`)
	if bare := run(); attached > bare+2 {
		t.Errorf("%d of 120 transactions failed, %d without pgbell", attached, bare)
	}
}

// A key that cascades to its own table gives each row two changes in one statement, which
// fills more than one record.
func TestTriggerBulkCascadeWithinTheTable(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table tree (id int primary key, parent int not null references tree on update cascade deferrable initially deferred);
		begin; insert into tree select g, g from generate_series(1, 600) g; commit; select pgbell.attach('tree', array['node:{id}'], payload => array['parent'])`)
	client := map[string]bool{}
	for i := range 600 {
		client[fmt.Sprintf("node:%d", i+1)] = true
	}
	since := d.since()
	d.exec(`update tree set id = id + 100000`)
	for _, r := range d.records(since) {
		if r.Reset != nil {
			t.Fatalf("a reset: %s", r.Reset.Reason)
		}
		for _, e := range r.Events() {
			if e.Moved == "out" {
				delete(client, e.Scope)
			} else {
				client[e.Scope] = true
			}
		}
	}
	if len(client) != 600 || client["node:1"] || !client["node:100001"] {
		t.Errorf("a client ends with %d rows; the old key is there: %v, the new one: %v", len(client), client["node:1"], client["node:100001"])
	}
}
