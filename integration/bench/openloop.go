//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// epoch is what all times are counted from.
var epoch = time.Now()

// now returns the nanoseconds since epoch.
func now() int64 { return int64(time.Since(epoch)) }

// steady returns when changes are due that come at random, rate a second; the same
// each time, so that all contenders have the same.
func steady(rate float64, d time.Duration) []time.Duration {
	return ramp(rate, 1, d, math.MaxInt)
}

// ramp does so with a rate that grows by a factor each second; most is how many
// changes there are at most.
func ramp(rate, growth float64, d time.Duration, most int) []time.Duration {
	var due []time.Duration
	rnd := rand.New(rand.NewPCG(uint64(rate), 0))
	for at := 0.0; len(due) < most; {
		at += rnd.ExpFloat64() / (rate * math.Pow(growth, at))
		if at >= d.Seconds() {
			break
		}
		due = append(due, time.Duration(at*float64(time.Second)))
	}
	return due
}

// load is a run of an open loop: change i is an update of row first+i, which no other
// change of this run touches, so that a frame tells by its key which one it is.
type load struct {
	first int
	due   []time.Duration // since the start

	base   int64          // when it started
	sent   []atomic.Int64 // when each change was sent, 0 if it wasn't
	commit []int64        // when its commit was reported
}

func newLoad(first int, due []time.Duration) *load {
	return &load{first: first, due: due, sent: make([]atomic.Int64, len(due)), commit: make([]int64, len(due))}
}

// dueAt returns when change i was due.
func (l *load) dueAt(i int) int64 { return l.base + int64(l.due[i]) }

// newWriterFunc makes a writer: a func that makes change i, and one that ends it.
type newWriterFunc func(ctx context.Context) (change func(i int) error, end func(), err error)

// updates makes writers with a connection each.
func (l *load) updates(url string) newWriterFunc {
	return func(ctx context.Context) (func(int) error, func(), error) {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return nil, nil, err
		}
		end := func() { conn.Close(context.WithoutCancel(ctx)) }
		if _, err := conn.Prepare(ctx, "change", "update tasks set title = $2, done = not done, updated_at = now() where id = $1"); err != nil {
			end()
			return nil, nil, err
		}
		// The first of a session costs some milliseconds more, whoever waits for it.
		for _, sql := range []string{"begin", "update tasks set title = 'none' where id = 1", "update tasks set title = 'none' where id = 1", "rollback"} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				end()
				return nil, nil, err
			}
		}
		change := func(i int) error {
			tag, err := conn.Exec(ctx, "change", l.first+i, fmt.Sprint("change ", i))
			if err == nil && tag.RowsAffected() != 1 {
				err = fmt.Errorf("there is no row %d", l.first+i)
			}
			return err
		}
		return change, end, nil
	}
}

// run has so many writers make the changes, each as soon as it is due and a writer is
// free. It returns when all are committed, or grace after the last was due.
func (l *load) run(ctx context.Context, writers int, grace time.Duration, newWriter newWriterFunc) error {
	changes := make([]func(int) error, writers)
	for n := range changes {
		change, end, err := newWriter(ctx)
		if err != nil {
			return err
		}
		defer end()
		changes[n] = change
	}
	jobs := make(chan int, len(l.due)) // never full: the clock does not wait for writers
	var late atomic.Bool
	var failed atomic.Pointer[error]
	var working sync.WaitGroup
	for _, change := range changes {
		working.Go(func() {
			for i := range jobs {
				if late.Load() || failed.Load() != nil || ctx.Err() != nil {
					continue
				}
				l.sent[i].Store(now())
				if err := change(i); err != nil {
					failed.Store(&err)
				}
				l.commit[i] = now()
			}
		})
	}
	l.base = now()
	l.dispatch(ctx, jobs)
	timer := time.AfterFunc(grace, func() { late.Store(true) })
	defer timer.Stop()
	working.Wait()
	if err := failed.Load(); err != nil && !errors.Is(*err, context.Canceled) {
		return fmt.Errorf("change a row: %w", *err)
	}
	return nil
}

// atOnce makes all changes one after the other, each a transaction, without a client that
// would take the time: in seconds, of which a server that is held up meanwhile has no
// heartbeats to catch up with.
func (l *load) atOnce(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	l.base = now()
	for i := range l.sent {
		l.sent[i].Store(l.base)
	}
	_, err = conn.Exec(ctx, fmt.Sprintf(`do $$begin
		for i in %d..%d loop
			update tasks set title = 'change ' || i, done = not done, updated_at = now() where id = i;
			commit;
		end loop;
	end$$`, l.first, l.first+len(l.due)-1), pgx.QueryExecModeSimpleProtocol)
	return err
}

// dispatch hands each change out when it is due.
func (l *load) dispatch(ctx context.Context, jobs chan<- int) {
	defer close(jobs)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range l.due {
		if wait := l.dueAt(i) - now(); wait > 0 {
			timer.Reset(time.Duration(wait))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		jobs <- i
	}
}

// made returns how many changes were committed, and at what rate a second.
func (l *load) made() (n int, rate float64) {
	last := l.base
	for i, at := range l.commit {
		if l.sent[i].Load() > 0 && at > 0 {
			n, last = n+1, max(last, at)
		}
	}
	return n, float64(n) / max(time.Duration(last-l.base).Seconds(), 1e-9)
}
