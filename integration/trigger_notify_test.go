package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/journal"
)

// rings listens while statements run and returns the payloads that came.
func (d *triggerDB) rings(statements ...string) []string {
	d.Helper()
	listener := d.connect()
	d.execOn(listener, `listen pgbell`, `select pgbell.arm('a test', '1 minute')`)
	d.exec(statements...)
	d.exec(`notify pgbell, 'the end'`)
	var payloads []string
	for {
		ctx, cancel := context.WithTimeout(d.Context(), 10*time.Minute)
		n, err := listener.WaitForNotification(ctx)
		cancel()
		if err != nil {
			d.Fatal(err)
		}
		if n.Payload == "the end" {
			return payloads
		}
		if len(n.Payload) > 7900 {
			d.Errorf("a payload of %d bytes", len(n.Payload))
		}
		if _, err := journal.ParseNotification(n.Payload, d.definitions()); err != nil {
			d.Errorf("%s: %v", n.Payload, err)
		}
		payloads = append(payloads, n.Payload)
	}
}

func TestTriggerDurableFeedRingsOncePerStatement(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(tasks)
	for _, test := range []struct {
		sql  string
		want []string
	}{
		{`insert into tasks values (1, 7, 'ann'), (2, 8, 'bob')`,
			[]string{`{"v":1,"table":"public.tasks","op":"insert","scopes":["project:7","project:8","tasks"]}`}},
		{`update tasks set project_id = 9 where id = 2`,
			[]string{`{"v":1,"table":"public.tasks","op":"update","scopes":["project:8","project:9","tasks"]}`}},
		{`begin; update tasks set n = 1 where id = 1; update tasks set n = 2 where id = 1; commit`, // folded
			[]string{`{"v":1,"table":"public.tasks","op":"update","scopes":["project:7","tasks"]}`}},
		{`begin; update tasks set n = 3 where id = 1; update tasks set n = 3 where id = 2; commit`,
			[]string{`{"v":1,"table":"public.tasks","op":"update","scopes":["project:7","tasks"]}`, `{"v":1,"table":"public.tasks","op":"update","scopes":["project:9","tasks"]}`}},
		{`delete from tasks where id = 2`, []string{`{"v":1,"table":"public.tasks","op":"delete","scopes":["project:9","tasks"]}`}},
		{`truncate tasks`, []string{`{"v":1,"table":"public.tasks","op":"reset","scopes":null}`}},
		{`select pgbell.publish('a b', '{"x":1}', '{ann}')`, []string{`{"v":1,"table":null,"op":"publish","scopes":["a%20b"]}`}},
		{`update tasks set n = 1 where false; begin; insert into tasks values (1); rollback`, nil},
	} {
		if diff := cmp.Diff(test.want, sortedScopes(t, d.rings(test.sql))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.sql, diff)
		}
	}
}

// sortedScopes sorts the scopes within each payload.
func sortedScopes(t *testing.T, payloads []string) []string {
	for i, p := range payloads {
		var scopes struct{ Scopes []string }
		if err := json.Unmarshal([]byte(p), &scopes); err != nil {
			t.Fatal(err)
		}
		if len(scopes.Scopes) > 1 {
			head, _, _ := strings.Cut(p, `"scopes":`)
			slices.Sort(scopes.Scopes)
			b, err := json.Marshal(scopes.Scopes)
			if err != nil {
				t.Fatal(err)
			}
			payloads[i] = head + `"scopes":` + string(b) + "}"
		}
	}
	return payloads
}

// The payload's limit is in bytes; what doesn't fit is left out, to the byte.
func TestTriggerNotificationIsAtMost7900Bytes(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (v text); select pgbell.attach('t', array['{v}'])`)
	const around = len(`{"v":1,"table":"public.t","op":"insert","scopes":[""]}`)
	// 30 scopes of 256 bytes and one that fills up: 256*30 + 3*30 + n.
	fill := 7900 - around - 30*(256+3)
	for n, want := range map[int]int{fill: 7900, fill + 1: around - len(`[""]`) + len(`null`)} {
		got := d.rings(fmt.Sprintf(`insert into t select lpad(i::text, 256, 'x') from generate_series(10, 39) i union all select repeat('y', %d)`, n))
		if len(got) != 1 || len(got[0]) != want {
			t.Errorf("fill of %d: got %d notifications, the first of %d bytes, want %d", n, len(got), len(got[0]), want)
		}
	}
	got := d.rings(`insert into t select i::text || repeat('é', 20) from generate_series(1, 1000) i`)
	if len(got) != 1 || !strings.Contains(got[0], `"scopes":null`) {
		t.Errorf("got %q", got)
	}
}

// For a feed that is not durable the notification is all there is.
func TestTriggerVolatileFeedRingsForEachChange(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, p text, owner text);
		select pgbell.attach('t', array['t', 'p:{p}'], audience => array['owner'], durable => false)`)
	hear := func(statements ...string) (got []string) {
		t.Helper()
		for _, p := range d.rings(statements...) {
			n, err := journal.ParseNotification(p, d.definitions())
			if err != nil || !n.Volatile {
				t.Fatalf("%s: %v", p, err)
			}
			got = append(got, lines([]*journal.Record{&n.Record})...)
		}
		return got
	}
	d.same(hear(`insert into t values (1, 'a', 'ann'), (2, 'b', null)`),
		`insert t public.t {"id":1} for ann`, `insert p:a public.t {"id":1} for ann`,
		`insert t public.t {"id":2} for `, `insert p:b public.t {"id":2} for `)
	// Equal ones are not folded: of out, in, out the last must not be missing.
	out, in := `update moved out p:a public.t {"id":1} for ann origin x`, `update moved in p:c public.t {"id":1} for ann changed p origin x`
	back := strings.NewReplacer("p:a", "p:c", "p:c", "p:a")
	stay := `update t public.t {"id":1} for ann changed p origin x`
	d.same(hear(`begin; set local pgbell.origin = 'x'; update t set p = 'c' where id = 1; update t set p = 'a' where id = 1; update t set p = 'c' where id = 1;
		update t set p = 'a' where id = 1; commit`),
		out, stay, in, back.Replace(out), stay, back.Replace(in), out, stay, in, back.Replace(out), stay, back.Replace(in))
	d.same(hear(`update t set owner = 'bob' where id = 1`),
		`update moved out t public.t {"id":1} for ann`, `update moved out p:a public.t {"id":1} for ann`,
		`update moved in t public.t {"id":1} for bob changed owner`, `update moved in p:a public.t {"id":1} for bob changed owner`)
	d.same(hear(`delete from t where id = 1`), `delete t public.t {"id":1} for bob`, `delete p:a public.t {"id":1} for bob`)
	d.same(hear(`truncate t`), `reset public.t truncate`)
	if got := d.ask(`select count(*) from pgbell.journal where op not in ('attach', 'detach')`); got != "0" {
		t.Errorf("%s records in the journal", got)
	}
	// Too large to send: a reset.
	d.exec(`drop table t; create table t (id text primary key); select pgbell.attach('t', array['t:{id}'], durable => false)`)
	d.same(hear(`insert into t values ('x'), (repeat('y', 8000))`), `insert t:x public.t {"id":"x"}`) // no scope, nothing to say
	d.exec(`select pgbell.attach('t', array['t', 't:{id}'], durable => false)`)
	d.same(hear(`update t set id = 'z' || id`), `update moved out t public.t {"id":"x"}`, `update moved out t:x public.t {"id":"x"}`,
		`update moved in t public.t {"id":"zx"} changed id`, `update moved in t:zx public.t {"id":"zx"} changed id`, `reset public.t too large`)
}

// With a full notification queue commits of those who notify fail: a durable feed
// stops before that.
func TestTriggerFullNotificationQueueDoesNotHarmDurableFeeds(t *testing.T) {
	server := pgtest.OwnServer(t, nil)
	d := newTriggerDBAt(t, server.URL())
	d.needs(170000, "setting for the queue's size, which is 8 GB")
	d.exec(`alter system set max_notify_queue_pages = 64`)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.writer, d.reader = d.connect(), d.connect()
	d.exec(`create table t (id int primary key); select pgbell.attach('t', array['t:{id}'])`)
	stuck := d.connect()
	d.execOn(stuck, `select pgbell.arm('a test', '1 minute')`, `listen pgbell`, `begin`, `select 1`)
	var pgErr *pgconn.PgError
	filler := d.connect()
	for i := 0; ; i++ {
		err := tryExec(t.Context(), filler, fmt.Sprintf(`select pg_notify('other', repeat('x', 7000) || %d || '/' || i) from generate_series(1, 20) i`, i))
		if errors.As(err, &pgErr) {
			if pgErr.Code != "54000" || !strings.Contains(pgErr.Message, "too many notifications in the NOTIFY queue") {
				t.Fatal(err)
			}
			break
		} else if err != nil || i > 10000 {
			t.Fatalf("the queue doesn't fill: %v, used %s", err, d.ask("pg_notification_queue_usage()"))
		}
	}
	d.expect(`insert into t values (1)`, `insert t:1 public.t {"id":1}`)
	d.expect(`update t set id = 2`, `update moved out t:1 public.t {"id":1}`, `update moved in t:2 public.t {"id":2} changed id`)
	d.expect(`truncate t`, `reset public.t truncate`)
	d.expect(`select pgbell.publish('x')`, `publish x`)
	d.exec(`select pgbell.attach('t', array['t'])`, `select pgbell.detach('t')`)
}

// PREPARE TRANSACTION refuses whoever sent a notification: Postgres' own limit.
func TestTriggerPrepareTransactionFailsAfterNotify(t *testing.T) {
	d := newTriggerDB(t)
	if d.ask("current_setting('max_prepared_transactions')") == "0" {
		t.Skip("the server takes no prepared transactions")
	}
	d.exec(`create table t (id int primary key); select pgbell.attach('t', array['t']); select pgbell.arm('a test', '1 minute')`)
	err := tryExec(t.Context(), d.writer, `begin; insert into t values (1); prepare transaction 'x'`)
	if err == nil || !strings.Contains(err.Error(), "cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY") {
		t.Errorf("got %v", err)
	}
}
