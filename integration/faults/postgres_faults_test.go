package faults

import (
	"context"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// restart ends the database at once and starts it again.
func (w *world) restart(ctx context.Context) {
	w.t.Helper()
	w.server.StopImmediate()
	if err := w.server.Restart(ctx); err != nil {
		w.t.Errorf("restart: %v", err)
	}
}

// killBackend kills one process of the database, which makes all others start anew
// while the postmaster stays. It does nothing where the database is down.
func (w *world) killBackend() {
	w.t.Helper()
	_ = w.connected(func(ctx context.Context, conn *pgx.Conn) error {
		var pid int
		err := conn.QueryRow(ctx, `select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()
			order by random() limit 1`).Scan(&pid)
		if err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	})
}

func TestFaultPostgresStoppedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config{own: true, settings: settings})
	w.run(func(ctx context.Context) {
		every(ctx, 1500*time.Millisecond, 3, func() { w.restart(ctx) })
	})
}

func TestFaultBackendKilled(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{own: true, settings: settings})
	w.run(func(ctx context.Context) {
		every(ctx, 1500*time.Millisecond, 3, w.killBackend)
	})
}

// What was committed, and shown, is gone after the crash.
func TestFaultCrashUndoesCommits(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{own: true, mayForget: true, settings: with(settings, map[string]string{
		"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_writer_flush_after": "0", "wal_buffers": "64MB",
	})})
	w.run(func(ctx context.Context) {
		for n := 0; n < 2 || n < 20 && w.undone() == 0; n++ {
			w.work(ctx, 100)
			w.killBackend()
			w.work(ctx, 100)
			w.restart(ctx)
		}
	})
	undone := w.undone()
	t.Logf("%d of %d changes were undone", undone, len(w.history.ops))
	if undone == 0 {
		t.Error("no crash undid anything")
	}
}

// undone is how many changes of which COMMIT was answered the database does not hold.
func (w *world) undone() (n int) {
	w.t.Helper()
	answered := w.history.committed() // before the ledger is read: it grows
	held := map[int64]bool{}
	for _, e := range w.ledger() {
		held[e.op] = true
	}
	for _, id := range answered {
		if !held[id] {
			n++
		}
	}
	return n
}

// The server is there, takes connections, and does nothing.
func TestFaultPostgresStandsStill(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{own: true, settings: settings, pause: 500 * time.Millisecond})
	w.run(func(ctx context.Context) {
		w.server.Pause()
		took, words := w.bells[0].awaitReady(ctx, false, foundOut)
		w.server.Resume()
		t.Logf("after %v: %v", took, words)
		if words == nil || !strings.Contains(words.Error(), "answer") {
			t.Errorf("/readyz says %v, which does not tell that Postgres does not answer", words)
		}
	})
}

// pgbell starts first and waits for the database, alive and saying why.
func TestFaultPostgresComesUpLater(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{own: true, settings: settings})
	w.run(func(ctx context.Context) {
		w.bells[0].kill()
		w.server.StopFast()
		w.bells[0].start()
		w.bells[0].awaitAlive(ctx)
		if words := w.bells[0].ready(ctx); words == nil || !strings.Contains(words.Error(), "503: ") || len(words.Error()) < 20 {
			t.Errorf("/readyz says %v: no words for an operator", words)
		}
		if err := w.server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func with(base, more map[string]string) map[string]string {
	all := maps.Clone(base)
	maps.Copy(all, more)
	return all
}
