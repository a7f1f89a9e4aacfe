package listener

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// ears listens on the channel as anybody may, and counts the rings of tasks.
func ears(t *testing.T, url string) (rings func() int) {
	conn := connect(t, url)
	execOn(t, conn, "listen pgbell")
	n, bell := 0, connect(t, url)
	return func() int {
		t.Helper()
		execOn(t, bell, "notify pgbell, 'so far'")
		for {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			note, err := conn.WaitForNotification(ctx)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if note.Payload == "so far" {
				return n
			}
			if note.PID != bell.PgConn().PID() {
				n++
			}
		}
	}
}

func armed(t *testing.T, conn *pgx.Conn) bool {
	t.Helper()
	return ask[bool](t, conn, "select coalesce(pgbell.armed(), false)")
}

// quiet waits until the listener only waits to be rung: who began before it asked for
// that must be over, and it must have seen that.
func (w *world) quiet() {
	w.t.Helper()
	tx := ask[string](w.t, w.db, "select pg_current_xact_id()::text")
	await(w.t, "all of before are over", func() bool {
		return ask[bool](w.t, w.db, "select pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8", tx)
	})
	r := w.subscribe("task:-5")
	w.exec("insert into tasks (id) values (-5)")
	r.next()
}

// Where no pgbell runs, none of its notifications is sent.
func TestNobodyRingsWhereNobodyListens(t *testing.T) {
	url := example.Database(t)
	conn, rings := connect(t, url), ears(t, url)
	execOn(t, conn, "insert into tasks (id) values (1); update tasks set n = 2; truncate tasks; select pgbell.publish('x'); select pgbell.attach('tasks', array['tasks'])")
	if n := rings(); n != 0 {
		t.Errorf("%d notifications", n)
	}
	execOn(t, conn, "insert into notes (id) values (1)")
	if n := rings(); n != 1 {
		t.Errorf("%d notifications of a feed that isn't durable", n)
	}
}

// A listener that ends says so; one that was killed is forgotten after its lease.
func TestNobodyRingsOnceListenersAreGone(t *testing.T) {
	url := example.Database(t)
	w := start(t, url, options{})
	if !armed(t, w.db) {
		t.Error("not armed while a listener waits")
	}
	w.stop()
	if armed(t, w.db) {
		t.Error("still armed after its end")
	}
	if trouble := w.log.with("DEBUG "); len(trouble) > 0 { // it had an answer, and said goodbye to Postgres
		t.Errorf("at its end: %q", trouble)
	}
	w.exec("select pgbell.arm('killed', '50 ms')")
	await(t, "the lease is over", func() bool { return !armed(t, w.db) })
	w.exec("select pgbell.arm('one', '1 minute'); select pgbell.arm('other', '1 minute'); select pgbell.arm('one', '0')")
	if !armed(t, w.db) {
		t.Error("one that waits no more took the other's bell away")
	}
	w.exec("select pgbell.arm('other', '0')")
	if armed(t, w.db) || ask[int](t, w.db, "select count(*) from pgbell.waiting") != 0 {
		t.Error("armed for nobody")
	}
}

// Under load nobody rings, and all comes; when it is quiet again, one rings.
func TestBusyListenerPolls(t *testing.T) {
	url := example.Database(t)
	w := start(t, url, options{Config: Config{Tick: time.Hour}})
	rings, r := ears(t, url), w.subscribe("tasks")
	id := 0
	insert := func() {
		id++
		w.exec(fmt.Sprintf("insert into tasks (id, n) values (%d, %[1]d)", id))
	}
	await(t, "the listener polls", func() bool { insert(); return w.l.Stats().Polling })
	await(t, "nobody is asked to ring", func() bool { insert(); return !armed(t, w.db) })
	before := rings()
	for range 200 {
		insert()
	}
	if after := rings(); after != before {
		t.Errorf("%d notifications while it polls", after-before)
	}
	for i := range id {
		if got := n(t, r.next()); got != int64(i+1) {
			t.Fatalf("got %d, want %d", got, i+1)
		}
	}
	await(t, "it is quiet again", func() bool { return !w.l.Stats().Polling && armed(t, w.db) })
	before = rings()
	insert()
	r.next()
	if after := rings(); after != before+1 {
		t.Errorf("%d notifications once it is quiet", after-before)
	}
}

// Who wrote while nobody was to ring, and commits when all wait to be rung, is heard
// all the same, without the tick.
func TestWriterWhoWasNotAskedToRingIsHeard(t *testing.T) {
	url := example.Database(t)
	w := start(t, url, options{Config: Config{Tick: time.Hour}})
	r := w.subscribe("project:2")
	id, slow := 0, connect(t, url)
	await(t, "it has written while nobody was asked", func() bool {
		id++
		w.exec(fmt.Sprintf("insert into tasks (id) values (%d)", id))
		if !w.l.Stats().Polling || armed(t, w.db) {
			return false
		}
		execOn(t, slow, "begin; insert into tasks (id, project, n) values (-1, 2, 7)")
		if armed(t, w.db) { // perhaps before it wrote
			execOn(t, slow, "rollback")
			return false
		}
		return true
	})
	await(t, "it is quiet again", func() bool { return armed(t, w.db) })
	execOn(t, slow, "commit")
	if got := n(t, r.next()); got != 7 {
		t.Errorf("got %d", got)
	}
}

// Of two writers within a few milliseconds one rings. The other is heard whenever it
// commits, without the tick.
func TestWriterThatDidNotRingIsHeard(t *testing.T) {
	url := example.Database(t)
	w := start(t, url, options{Config: Config{Tick: time.Hour}})
	await(t, "the listener waits to be rung", func() bool { return armed(t, w.db) })
	w.quiet()
	r, slow := w.subscribe("project:2"), connect(t, url)
	for id := range 1000 {
		w.exec(fmt.Sprintf("insert into tasks (id) values (%d)", id))
		execOn(t, slow, fmt.Sprintf("begin; insert into tasks (id, project, n) values (%d, 2, 7)", -100-id))
		if ask[bool](t, slow, "select last_value % 1000 = pg_backend_pid() % 1000 from pgbell.rung") {
			execOn(t, slow, "rollback")                                                      // it is to ring
			await(t, "the listener waits to be rung", func() bool { return armed(t, w.db) }) // else nobody rings again
			continue
		}
		read := w.l.Stats().Readings
		await(t, "the listener reads on", func() bool { return w.l.Stats().Readings > read+2 })
		execOn(t, slow, "commit")
		if got := n(t, r.next()); got != 7 {
			t.Errorf("got %d", got)
		}
		return
	}
	t.Error("both always rang")
}

// A listener that is never rung is no reason to ring, and one that is hears of all,
// whatever the other does.
func TestListenersOfBothKinds(t *testing.T) {
	url := example.Database(t)
	never := start(t, url, options{Config: Config{Tick: time.Hour, Poll: true}})
	if armed(t, never.db) || !never.l.Stats().Polling {
		t.Error("armed by one that polls")
	}
	rung := start(t, url, options{Config: Config{Tick: time.Hour}})
	a, b := never.subscribe("tasks"), rung.subscribe("tasks")
	for i := range 20 {
		never.exec(fmt.Sprintf("insert into tasks (id, n) values (%d, %[1]d)", i))
		for _, r := range []*reader{a, b} {
			if got := n(t, r.next()); got != int64(i) {
				t.Fatalf("got %d, want %d", got, i)
			}
		}
	}
	if !armed(t, never.db) {
		t.Error("not armed though one waits")
	}
}

// Postgres refuses to prepare a transaction that notified: where all listeners poll,
// none does.
func TestPreparedTransactionIsHeardWherePolled(t *testing.T) {
	url := example.Database(t)
	w := start(t, url, options{Config: Config{Tick: time.Hour, Poll: true}})
	if ask[string](t, w.db, "show max_prepared_transactions") == "0" {
		t.Skip("the server takes no prepared transactions")
	}
	r := w.subscribe("tasks")
	w.exec("begin; insert into tasks (id, n) values (1, 5); prepare transaction 'pgbell_wake_test'")
	w.exec("insert into tasks (id, n) values (2, 6)")
	if got := n(t, r.next()); got != 6 {
		t.Errorf("got %d before the commit", got)
	}
	w.exec("commit prepared 'pgbell_wake_test'")
	if got := n(t, r.next()); got != 5 {
		t.Errorf("got %d", got)
	}
}
