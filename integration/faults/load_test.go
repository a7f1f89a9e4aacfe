package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// fork returns a source of randomness for one actor.
func (w *world) fork(n int) *rand.Rand { return rand.New(rand.NewPCG(w.rnd.Uint64(), uint64(n))) }

// allScopes are all that anything is written to.
func allScopes() []string {
	scopes := []string{"tasks"}
	for p := range projects {
		for _, kind := range []string{"project", "notes", "mood", "news", "bulk", "flip"} {
			scopes = append(scopes, scope(kind, 1+p))
		}
	}
	return scopes
}

// allManners is a mix of clients.
func allManners() []manner {
	var all []manner
	for i := range 24 {
		m := manner{page: i%2 == 0}
		switch i % 4 {
		case 0, 1:
			m.stays = 400 * time.Millisecond
		case 2:
			m.stays, m.away = 3*time.Second, 2*time.Second
		}
		if i%6 == 5 {
			m.waits = "100ms"
		}
		all = append(all, m)
	}
	return all
}

// newSubscription returns a client of some user with some scopes.
func (w *world) newSubscription(i int, m manner) *subscription {
	scopes := allScopes()
	w.rnd.Shuffle(len(scopes), func(i, j int) { scopes[i], scopes[j] = scopes[j], scopes[i] })
	if !m.all {
		scopes = scopes[:1+w.rnd.IntN(6)]
	}
	return &subscription{
		name:    fmt.Sprintf("client %d", i),
		user:    append(slices.Clone(users), "")[i%5],
		scopes:  scopes,
		manner:  m,
		live:    make(chan struct{}),
		changed: make(chan struct{}, 1),
	}
}

// work lets the writers go on until they have committed n more changes, and says whether they have.
func (w *world) work(ctx context.Context, n int) bool {
	w.t.Helper()
	done, more := w.history.progress()
	for upto := done + n; done < upto; done, more = w.history.progress() {
		select {
		case <-more:
		case <-ctx.Done():
			return false
		case <-time.After(patience):
			w.t.Errorf("nobody committed anything for %v", patience)
			return false
		}
	}
	return true
}

// count returns a number that pgbell publishes, 0 while it does not answer.
func (b *bell) count(ctx context.Context, metric string) (n int) {
	if metrics, _, err := b.get(ctx, "/metrics"); err == nil {
		if _, value, ok := strings.Cut(metrics, "\n"+metric+" "); ok {
			_, _ = fmt.Sscan(value, &n)
		}
	}
	return n
}

// exec runs SQL as the superuser.
func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if err := w.try(sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) try(sql string, args ...any) error {
	return w.connected(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, args...)
		return err
	})
}

// ask returns the one value that a query gives.
func ask[T any](w *world, sql string, args ...any) (answer T) {
	w.t.Helper()
	err := w.connected(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, sql, args...).Scan(&answer)
	})
	if err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

// connected calls do with a connection to the database, which is closed after.
func (w *world) connected(do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, *w.url.Load())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return do(ctx, conn)
}

// ledger returns all that the database holds.
func (w *world) ledger() []entry {
	w.t.Helper()
	var all []entry
	err := w.connected(func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "select op, xid::text::bigint, incarnation from ledger")
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (e entry, err error) {
			return e, r.Scan(&e.op, &e.xid, &e.incarnation)
		})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// readPage reads what a page shows, and the cursor of that: by one statement, or
// by two in one snapshot.
func (w *world) readPage(ctx context.Context, inOne bool) (shown []int64, cursor string, err error) {
	conn, err := pgx.Connect(ctx, *w.url.Load())
	if err != nil {
		return nil, "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if inOne {
		err = conn.QueryRow(ctx, "select coalesce(array_agg(op), '{}'), pgbell.cursor() from ledger").Scan(&shown, &cursor)
		return shown, cursor, err
	}
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "select coalesce(array_agg(op), '{}') from ledger").Scan(&shown); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "select pgbell.cursor()").Scan(&cursor)
	})
	return shown, cursor, err
}
