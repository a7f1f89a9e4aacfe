package listener

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
)

// writers count up n of some rows of tasks, in transactions of all kinds.
type writers struct {
	t         testing.TB
	rows      int
	group     sync.WaitGroup
	committed atomic.Int64 // updates
}

// write runs count writers, each for so many transactions.
func (w *world) write(count, rows, transactions int) *writers {
	w.t.Helper()
	w.exec("insert into tasks (id) select generate_series(1, $1) on conflict do nothing", rows)
	all := &writers{t: w.t, rows: rows}
	seed := rand.Uint64()
	w.t.Logf("seed %d", seed)
	for i := range count {
		all.group.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			ctx := context.Background()
			conn, err := pgx.Connect(ctx, w.url)
			if err != nil {
				w.t.Error(err)
				return
			}
			defer conn.Close(ctx)
			for range transactions {
				all.transaction(ctx, conn, random)
			}
		})
	}
	return all
}

// tell waits for the writers and emits to the scope written.
func (w *writers) tell(b *bus.Bus) {
	w.group.Wait()
	b.Emit(bus.ChangeEvent{Scope: "written"})
}

// transaction updates some rows, with savepoints of which some are rolled back. The
// rows go up, so that there is no deadlock.
func (w *writers) transaction(ctx context.Context, conn *pgx.Conn, random *rand.Rand) {
	updates, id := int64(0), 0
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for range 1 + random.IntN(3) {
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { // a savepoint
				id += 1 + random.IntN(w.rows/3)
				tag, err := tx.Exec(ctx, "update tasks set n = n + 1 where id = $1", id)
				if err != nil {
					return err
				}
				if random.IntN(4) == 0 {
					return errRollback
				}
				updates += tag.RowsAffected()
				return nil
			})
			if err != nil && !errors.Is(err, errRollback) {
				return err
			}
		}
		if random.IntN(5) == 0 {
			return errRollback
		}
		return nil
	})
	switch {
	case err == nil:
		w.committed.Add(updates)
	case !errors.Is(err, errRollback):
		w.t.Error(err)
	}
}

var errRollback = errors.New("thought better of it")

// counts holds the n of each row, in the order in which events told them.
type counts map[string][]int64

// add notes an event of scope task:ID. It says what is wrong with it.
func (c counts) add(t testing.TB, e bus.ChangeEvent) {
	if e.Op != bus.OpUpdate {
		t.Errorf("unexpected %s", brief(e))
		return
	}
	c[e.Scope] = append(c[e.Scope], n(t, e))
}

// complete checks that each row was counted up by one, from 1 to what it is now.
func (c counts) complete(t testing.TB, conn *pgx.Conn) (total int64) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "select id, n from tasks where n > 0")
	if err != nil {
		t.Fatal(err)
	}
	var id, n int64
	_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error {
		got := c[fmt.Sprint("task:", id)]
		for i := range n {
			if int64(len(got)) != n || got[i] != i+1 {
				t.Errorf("row %d counts to %d: got %v", id, n, got)
				break
			}
		}
		total += n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// taskScopes are those of the rows 1 to count.
func taskScopes(count int) (scopes []string) {
	for id := range count {
		scopes = append(scopes, fmt.Sprint("task:", id+1))
	}
	return scopes
}

func TestEachCommittedChangeComesOnceAndInOrder(t *testing.T) {
	rows, transactions := 12, 40
	if testing.Short() {
		transactions = 20
	}
	w := start(t, example.Database(t), options{})

	// Open across all of it: one that wrote, one that only looks.
	w.exec("insert into tasks (id) values (100)")
	long, look := connect(t, w.url), connect(t, w.url)
	execOn(t, long, "begin; update tasks set n = 1 where id = 100")
	execOn(t, look, "begin isolation level repeatable read; select * from tasks")

	r := w.subscribe(append(taskScopes(rows), "task:100", "written")...)
	all := w.write(16, rows, transactions)
	got := counts{}
	go all.tell(w.bus)
	r.until(func(e bus.ChangeEvent) bool {
		switch {
		case e.Scope == "written":
			return true
		case e.Op == bus.OpInsert: // of the rows themselves
		case e.Scope == "task:100":
			t.Error("an event before its commit")
		default:
			got.add(t, e)
		}
		return false
	})
	execOn(t, long, "commit")
	for _, e := range r.rest() {
		got.add(t, e)
	}
	if total := got.complete(t, w.db); total != all.committed.Load()+1 || total < 100 {
		t.Errorf("%d updates in the table, %d committed", total, all.committed.Load()+1)
	}
	if !slices.Equal(got["task:100"], []int64{1}) {
		t.Errorf("the long one: got %v", got["task:100"])
	}
	t.Logf("%d updates, %d readings", all.committed.Load(), w.queries.count("pgbell.journal"))
}

// More transactions at once than the text of a cursor has room for: each change
// still comes once.
func TestManyOpenTransactionsRepeatNothing(t *testing.T) {
	const rows = 8
	w := start(t, example.Database(t), options{})
	w.exec("insert into tasks (id) select generate_series(1, $1)", rows)
	for i := range 60 {
		conn := connect(t, w.url)
		execOn(t, conn, "begin")
		execOn(t, conn, "insert into tasks (id) values ($1)", 1000+i)
	}
	r := w.subscribe(taskScopes(rows)...)
	got := counts{}
	for i := range 50 {
		w.exec("update tasks set n = n + 1 where id = $1", 1+i%rows)
		e := r.next()
		got.add(t, e)
		if len(e.Cursor) > 256 || parse(t, e.Cursor).Covers(e.Tx) {
			t.Fatalf("transaction %d is stamped %s", e.Tx, e.Cursor)
		}
	}
	if rest := r.rest(); len(rest) > 0 {
		t.Errorf("and then %v", briefs(rest))
	}
	got.complete(t, w.db)
}

func TestRowsOfOneStatementComeTogether(t *testing.T) {
	w := start(t, example.Database(t), options{})
	r := w.subscribe("tasks")
	w.exec("create sequence s")
	const each, rounds = 1200, 5 // more than fit into one record of the journal
	all := sync.WaitGroup{}
	for i := range 4 {
		conn := connect(t, w.url)
		all.Go(func() {
			for range rounds {
				if _, err := conn.Exec(t.Context(), "insert into tasks (id, n) select nextval('s'), $1 from generate_series(1, $2)", i, each); err != nil {
					t.Error(err)
				}
			}
		})
	}
	defer all.Wait()
	for range 4 * rounds {
		first := r.next()
		for range each - 1 {
			if e := r.next(); e.Tx != first.Tx || n(t, e) != n(t, first) {
				t.Fatalf("in between: %+v", e)
			}
		}
	}
}
