package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// writer makes transactions, one after the other, on a connection of its own.
type writer struct {
	w    *world
	rnd  *rand.Rand
	conn *pgx.Conn
	rows []row // of its own, as committed
}

// row is a row that only this writer touches.
type row struct {
	table   string
	id      int64
	project int
	owners  []string
	moved   bool // before: it moves but once, so that its leaving has an ident of its own
}

// run writes until stop is closed, and ends with a whole transaction.
func (wr *writer) run(ctx context.Context, stop <-chan struct{}) {
	defer wr.disconnect()
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		default:
		}
		if err := wr.connect(ctx); err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		wr.transaction(ctx)
		pause(ctx, time.Duration(wr.rnd.ExpFloat64()*float64(wr.w.cfg.pause)))
	}
}

func (wr *writer) connect(ctx context.Context) error {
	if wr.conn != nil && !wr.conn.IsClosed() {
		return nil
	}
	// What was not answered may or may not have happened, and what was answered may
	// be gone: the rows are no longer known.
	wr.disconnect()
	wr.rows = nil
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var err error
	wr.conn, err = pgx.Connect(ctx, *wr.w.url.Load())
	return err
}

func (wr *writer) disconnect() {
	if wr.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		wr.conn.Close(ctx)
		wr.conn = nil
	}
}

// transaction makes a random one: some statements, some in savepoints, of which
// some are rolled back; then it waits a while, so that transactions commit in
// another order than they wrote, and commits, or doesn't.
func (wr *writer) transaction(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var all []*op
	undo := func() { wr.w.history.end(all, rolledBack, time.Time{}, time.Time{}) }

	tx, err := wr.conn.Begin(ctx)
	if err != nil {
		return
	}
	rows := slices.Clone(wr.rows)
	var kept []*op
	for range 1 + wr.rnd.IntN(3) {
		if wr.rnd.IntN(6) > 0 {
			err = wr.write(ctx, tx, &rows, &kept, &all)
		} else {
			err = wr.savepoint(ctx, tx, &rows, &kept, &all)
		}
		if err != nil {
			undo()
			_ = tx.Rollback(ctx) // broken or not, it is over
			return
		}
	}
	pause(ctx, wr.hold())
	if wr.rnd.IntN(10) == 0 {
		undo()
		_ = tx.Rollback(ctx)
		return
	}
	wr.w.history.end(all, rolledBack, time.Time{}, time.Time{}) // but for those that are kept
	switch err := wr.w.commit(ctx, tx, kept); {
	case err == nil:
		wr.rows = rows
	case !errors.Is(err, pgx.ErrTxCommitRollback):
		wr.disconnect()
	}
}

// hold is how long a transaction stays open after its last statement.
func (wr *writer) hold() time.Duration {
	switch n := wr.rnd.IntN(100); {
	case n < 1:
		return time.Duration(wr.rnd.Int64N(int64(2 * time.Second)))
	case n < 30:
		return time.Duration(wr.rnd.Int64N(int64(60 * time.Millisecond)))
	}
	return 0
}

// commit ends a transaction and notes what became of its changes.
func (w *world) commit(ctx context.Context, tx pgx.Tx, ops []*op) error {
	before := time.Now()
	err := tx.Commit(ctx)
	after := time.Now()
	switch {
	case err == nil:
		w.history.end(ops, answered, before, after)
	case errors.Is(err, pgx.ErrTxCommitRollback):
		w.history.end(ops, rolledBack, before, after)
	default:
		w.history.end(ops, unanswered, before, after)
	}
	return err
}

// savepoint writes within one, and takes it back half of the time.
func (wr *writer) savepoint(ctx context.Context, tx pgx.Tx, rows *[]row, kept, all *[]*op) error {
	inner, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	innerRows := slices.Clone(*rows)
	var innerKept []*op
	for range 1 + wr.rnd.IntN(2) {
		if err := wr.write(ctx, inner, &innerRows, &innerKept, all); err != nil {
			return err
		}
	}
	if wr.rnd.IntN(2) == 0 {
		return inner.Rollback(ctx)
	}
	*rows, *kept = innerRows, append(*kept, innerKept...)
	return inner.Commit(ctx)
}

// write makes one random change. It adds it to kept and to all.
func (wr *writer) write(ctx context.Context, tx pgx.Tx, rows *[]row, kept, all *[]*op) error {
	o := wr.w.history.begin()
	*all = append(*all, o)
	c := change{writer: wr, ctx: ctx, tx: tx, rows: rows, op: o}
	if err := wr.w.cfg.changes.choose(wr.rnd)(&c); err != nil {
		return err
	}
	*kept = append(*kept, o)
	return nil
}
