package listener

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/internal/pgtemp"
	"github.com/pgbell/pgbell/internal/pgtest"
)

// quick notices trouble soon.
var quick = Config{Tick: 50 * time.Millisecond, Timeout: 2 * time.Second}

// terminate ends the connections of all listeners of the database.
func terminate(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	execOn(t, conn, `select pg_terminate_backend(pid) from pg_stat_activity
		where application_name = 'pgbell' and datname = current_database()`)
}

// The connection is cut over and over while writers write: a durable feed loses
// and repeats nothing, one that isn't gets a reset after each cut.
func TestCutConnectionLosesAndRepeatsNothing(t *testing.T) {
	rows, cuts, transactions := 12, 15, 300
	if testing.Short() {
		cuts, transactions = 4, 80
	}
	w := start(t, example.Database(t), options{Config: quick})
	r, notes := w.subscribe(append(taskScopes(rows), "written")...), w.subscribe("notes", "note:7")
	all := w.write(4, rows, transactions)
	got := counts{}
	go all.tell(w.bus)

	written, events, next := false, 0, 50
	for cut := 0; cut < cuts || !written; {
		if written || events >= next && cut < cuts {
			before := w.l.Stats().Connections
			terminate(t, w.db)
			await(t, "it connected again", func() bool { return w.l.Stats().Connections > before && w.l.Ready() == nil })
			var got []string // one reset each, no more
			for len(got) < 2 {
				if e := notes.next(); e.Scope != "end" {
					got = append(got, brief(e))
				}
			}
			slices.Sort(got)
			if want := []string{"reset note:7 the connection to the database was down", "reset notes the connection to the database was down"}; !slices.Equal(got, want) {
				t.Errorf("cut %d: got %v", cut, got)
			}
			cut++
			next = events + 50
			continue
		}
		switch e := r.next(); {
		case e.Scope == "written":
			written = true
		case e.Op != bus.OpInsert:
			events++
			got.add(t, e)
		}
	}
	for _, e := range r.rest() {
		got.add(t, e)
	}
	if total := got.complete(t, w.db); total != all.committed.Load() {
		t.Errorf("%d updates in the table, %d committed", total, all.committed.Load())
	}
	if rest := notes.rest(); len(rest) > 0 {
		t.Errorf("and more resets: %v", briefs(rest))
	}
	if errs := w.log.with("ERROR"); len(errs) > 0 {
		t.Error(errs)
	}
}

// What a volatile feed did while nobody listened is covered by the reset, what it
// does from then on arrives.
func TestVolatileChangeIsFollowedByItselfOrAReset(t *testing.T) {
	w := start(t, example.Database(t), options{Config: quick})
	for i := range 10 {
		scope := fmt.Sprint("note:", i)
		r := w.subscribe(scope)
		w.ready()
		terminate(t, w.db)
		w.exec("insert into notes (id) values ($1)", i)
		if e := r.next(); e.Scope != scope {
			t.Errorf("got %s", brief(e))
		}
	}
}

// long skips a test with -short, which leaves one of those that harm a server of their own.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short")
	}
}

// server starts a server of the test's own, with the example in it.
func server(t *testing.T) *pgtemp.Server {
	t.Helper()
	s := pgtest.OwnServer(t, nil)
	if err := setUp(t.Context(), s.URL()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRestartResetsEveryScope(t *testing.T) {
	s := server(t)
	w := start(t, s.URL(), options{Config: quick})
	r := w.subscribe("tasks", "task:1", "notes", "whatever")
	for _, stop := range []func(){s.StopFast, s.StopImmediate, s.Kill} {
		before := w.cursor()
		stop()
		w.notReady()
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.db = connect(t, s.URL())
		w.resets(r, "the database server was restarted", "tasks", "task:1", "notes", "whatever")
		w.goesOn(r)
		p, err := w.l.Replay(t.Context(), before)
		if err != nil || p.Reset != "the database server was restarted" {
			t.Errorf("replay across it: %+v, %v", p, err)
		}
	}
}

// A backend that is killed takes the others down with it; Postgres recovers as after
// a crash, though the postmaster lives on. Transaction ids may come again.
func TestCrashOfABackendIsAnotherIncarnation(t *testing.T) {
	long(t)
	s := server(t)
	w := start(t, s.URL(), options{Config: quick})
	r := w.subscribe("tasks", "whatever")
	w.goesOn(r)
	started := ask[time.Time](t, w.db, "select pg_postmaster_start_time()")
	seen := map[string]bool{w.cursor().Incarnation: true}
	for range 2 { // the second is not the same as the first
		victim := connect(t, s.URL())
		if err := syscall.Kill(int(victim.PgConn().PID()), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.resets(r, "the database server was restarted", "tasks", "whatever")
		w.db = connect(t, s.URL())
		if again := ask[time.Time](t, w.db, "select pg_postmaster_start_time()"); !again.Equal(started) {
			t.Errorf("the postmaster was started again, at %v", again)
		}
		if now := w.cursor().Incarnation; seen[now] {
			t.Errorf("incarnation %s again", now)
		} else {
			seen[now] = true
		}
		w.goesOn(r)
	}
}

// A server that stops to answer is found out within the timeout, though the
// connection looks fine.
func TestSilentServerIsFoundOut(t *testing.T) {
	long(t)
	s := server(t)
	config := Config{Tick: 20 * time.Millisecond, Timeout: 500 * time.Millisecond}
	w := start(t, s.URL(), options{Config: config})
	r := w.subscribe("tasks")
	w.goesOn(r)
	s.Pause()
	w.notReady("no answer from Postgres")
	s.Resume()
	w.ready()
	w.goesOn(r)
	w.stop()
}

func TestListenerWaitsForPostgres(t *testing.T) {
	long(t)
	s := server(t)
	s.StopFast()
	dials := make(chan struct{}, 100)
	w := start(t, s.URL(), options{Config: quick, apart: true, conf: func(conf *pgx.ConnConfig) {
		dial := conf.DialFunc
		conf.DialFunc = func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			dials <- struct{}{}
			return dial(ctx, network, addr)
		}
	}})
	for range 5 {
		<-dials
	}
	w.notReady("connection refused")
	if warnings := w.log.with("WARN"); len(warnings) != 1 {
		t.Errorf("%d warnings of the same trouble: %q", len(warnings), warnings)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.ready()
	w.db = connect(t, s.URL())
	r := w.subscribe("tasks")
	w.goesOn(r)
	if rest := r.rest(); len(rest) > 0 { // nothing was missed: nothing had begun
		t.Errorf("got %v", briefs(rest))
	}
}

func TestDatabaseWithoutPgbellIsWaitedFor(t *testing.T) {
	url := pgtest.Database(t)
	w := start(t, url, options{Config: quick, apart: true})
	w.notReady("run pgbell migrate")
	if err := setUp(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	w.ready()
	w.db = connect(t, url)
	w.goesOn(w.subscribe("tasks"))
}

// A standby can't listen. Once it is promoted, it is another incarnation.
func TestStandbyIsNamedAndItsPromotionResets(t *testing.T) {
	long(t)
	s := server(t)
	w := start(t, s.URL(), options{Config: quick})
	r := w.subscribe("tasks", "whatever")
	s.StopFast()
	if err := os.WriteFile(filepath.Join(s.SocketDir(), "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	restarted := make(chan error)
	go func() { restarted <- s.Restart(context.Background()) }() // returns once it is a primary
	w.notReady("this server is a standby", "connect to the primary")
	w.db = connect(t, s.URL())
	w.exec("select pg_promote()")
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	w.resets(r, "the database server was restarted", "tasks", "whatever")
	w.goesOn(r)
}
