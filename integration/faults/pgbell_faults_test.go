package faults

import (
	"context"
	"testing"
	"time"
)

func TestFaultPgbellKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config{})
	w.run(func(ctx context.Context) {
		every(ctx, time.Second, 4, func() {
			w.bells[0].kill()
			w.bells[0].start()
		})
	})
}

func TestFaultOneOfTwoPgbellsKilled(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{bells: 2})
	w.run(func(ctx context.Context) {
		i := 0
		every(ctx, 700*time.Millisecond, 4, func() {
			i++
			b := w.bells[i%2]
			b.kill()
			pause(ctx, 300*time.Millisecond) // clients are at the other
			b.start()
		})
	})
}

// Clients go to and fro between two that read the journal at different times.
func TestFaultClientsHopBetweenPgbells(t *testing.T) {
	long(t)
	t.Parallel()
	var hoppers []manner
	for i := range 24 {
		hoppers = append(hoppers, manner{page: i%2 == 0, stays: 150 * time.Millisecond})
	}
	w := newWorld(t, config{bells: 2, clients: hoppers})
	w.run(func(ctx context.Context) { w.work(ctx, 300) })
}

func TestFaultPgbellDrained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config{})
	w.run(func(ctx context.Context) {
		every(ctx, time.Second, 3, func() {
			w.bells[0].awaitAlive(ctx) // before it listens, a signal just ends it
			if code := w.bells[0].terminate(); code != 0 {
				t.Errorf("exit code %d after SIGTERM", code)
			}
			w.bells[0].start()
		})
	})
}

// What a client missed may be gone from the journal, which two pgbells rotate.
func TestFaultJournalRotatesWhileClientsAreAway(t *testing.T) {
	long(t)
	t.Parallel()
	var all []manner
	for i := range 24 {
		away := time.Duration(i) * 150 * time.Millisecond
		if i >= 20 {
			away = 10 * time.Second << (i - 20) // on a busy machine the journal takes longer to rotate, too
		}
		all = append(all, manner{page: i%2 == 0, stays: 300 * time.Millisecond, away: away})
	}
	w := newWorld(t, config{bells: 2, clients: all, flags: []string{"--retention", "1s"}})
	const gone = "reach back"
	w.run(func(ctx context.Context) {
		every(ctx, time.Second, 3, func() {
			commit, err := w.longTransaction(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			w.long.Go(func() { pause(ctx, 1500*time.Millisecond); commit() })
			w.terminateListener()
		})
		w.workUntil(ctx, func() bool { return w.resets(gone) > 0 })
	})
	rotated := w.resets(gone)
	t.Logf("%d resets since the journal did not reach back", rotated)
	if rotated == 0 {
		t.Error("no client was away for longer than the journal: this test tests nothing")
	}
}

// Transactions that began before pgbell was there end after it was killed.
func TestFaultLongTransactionsStayOpen(t *testing.T) {
	long(t)
	t.Parallel()
	w := newWorld(t, config{})
	w.run(func(ctx context.Context) {
		var finish []func()
		begin := func() {
			commit, err := w.longTransaction(ctx)
			if err != nil {
				t.Fatal(err)
			}
			finish = append(finish, commit)
		}
		every(ctx, 300*time.Millisecond, 5, begin)
		w.terminateListener()
		pause(ctx, 300*time.Millisecond)
		finish[0]()
		w.bells[0].kill()
		finish[1]()
		w.bells[0].start()
		finish = finish[2:]
		begin()
		w.awaitBells()
		pause(ctx, 500*time.Millisecond)
		w.terminateListener()
		for _, f := range finish {
			f()
			pause(ctx, 100*time.Millisecond)
		}
	})
}

// longTransaction writes a few things and returns what commits them.
func (w *world) longTransaction(ctx context.Context) (commit func(), err error) {
	wr := &writer{w: w, rnd: w.fork(0)}
	if err := wr.connect(ctx); err != nil {
		return nil, err
	}
	tx, err := wr.conn.Begin(ctx)
	if err != nil {
		wr.disconnect()
		return nil, err
	}
	var rows []row
	var ops []*op
	for _, write := range []func(*change) error{(*change).insertTask, (*change).insertNote, (*change).insertMood, (*change).publish, (*change).insertBulk} {
		c := change{writer: wr, ctx: ctx, tx: tx, rows: &rows, op: w.history.begin()}
		ops = append(ops, c.op)
		if err := write(&c); err != nil {
			w.history.end(ops, rolledBack, time.Time{}, time.Time{})
			wr.disconnect()
			return nil, err
		}
	}
	return func() {
		_ = w.commit(context.WithoutCancel(ctx), tx, ops) // it may be broken
		wr.disconnect()
	}, nil
}
