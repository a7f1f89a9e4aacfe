package listener

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// view is what a page shows of tasks: n of each row, as of a cursor.
type view struct {
	cursor journal.Cursor
	n      map[string]int64
	beyond map[string]uint64 // events that were taken and that cursor doesn't cover, with their transaction
}

// look reads a view as a page would, in one snapshot.
func look(ctx context.Context, conn *pgx.Conn) (view, error) {
	v := view{n: map[string]int64{}, beyond: map[string]uint64{}}
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		var text string
		if err := tx.QueryRow(ctx, "select pgbell.cursor()").Scan(&text); err != nil {
			return err
		}
		var err error
		if v.cursor, err = journal.ParseCursor(text); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "select id, n from tasks")
		if err != nil {
			return err
		}
		var id, n int64
		_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error {
			v.n[fmt.Sprint("task:", id)] = n
			return nil
		})
		return err
	})
	return v, err
}

// take applies an event, which must count its row up by one.
func (v view) take(t testing.TB, from string, e bus.ChangeEvent) {
	if got := n(t, e); e.Op != bus.OpUpdate || got != v.n[e.Scope]+1 {
		t.Errorf("%s: %s when the row is at %d: transaction %d, cursor %v", from, brief(e), v.n[e.Scope], e.Tx, v.cursor)
	}
	v.n[e.Scope] = n(t, e)
	v.beyond[id(e)] = e.Tx
}

func id(e bus.ChangeEvent) string { return fmt.Sprint(e.Tx, " ", e.Scope) }

// Clients read the page, subscribe later, replay, and go on live, while writers
// write. None of them misses a change or gets one twice, whether the replay comes
// from memory or from the journal.
func TestReplayAndLiveJoinWithoutGapOrRepeat(t *testing.T) {
	for name, keep := range map[string]int{"from memory": journal.MaxTail, "from the journal": 1} {
		t.Run(name, func(t *testing.T) {
			const rows = 12
			w := start(t, example.Database(t), options{})
			w.l.tail.Limit = keep
			all := w.write(4, rows, 200)
			away := &client{t: t, w: w, conn: connect(t, w.url), scopes: taskScopes(rows)}
			var err error
			if away.page, err = look(t.Context(), away.conn); err != nil {
				t.Fatal(err)
			}
			written := make(chan struct{})
			go func() { all.group.Wait(); close(written) }()

			var clients sync.WaitGroup
			for i := range 4 {
				conn := connect(t, w.url)
				clients.Go(func() {
					c := &client{t: t, w: w, conn: conn, random: rand.New(rand.NewPCG(1, uint64(i))), scopes: taskScopes(rows)}
					if err := c.comeAndGo(written); err != nil {
						t.Error(err)
					}
				})
			}
			clients.Wait()
			if err := away.finish(t.Context()); err != nil {
				t.Error(err)
			}
			// The listener has two connections, one of them for its proof.
			asked := w.queries.count("application_name") - 2
			if fromMemory := keep == journal.MaxTail; fromMemory != (asked == 0) {
				t.Errorf("%d replays came from the journal", asked)
			}
		})
	}
}

// client shows a page and keeps it up to date.
type client struct {
	t      testing.TB
	w      *world
	conn   *pgx.Conn
	random *rand.Rand
	scopes []string
	page   view
}

// comeAndGo reads the page once, then comes back again and again until all is
// written: then the page shows what the table holds.
func (c *client) comeAndGo(written chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if c.page, err = look(ctx, c.conn); err != nil {
		return err
	}
	for {
		select {
		case <-written:
			return c.finish(ctx)
		default:
			enough := c.random.IntN(40)
			err := c.visit(ctx, func(events int, _ journal.Cursor) bool {
				select {
				case <-written:
					return true
				default:
					return events >= enough
				}
			})
			if err != nil {
				return err
			}
		}
	}
}

// finish comes back once all is written, and stays until the page shows what the table
// holds.
func (c *client) finish(ctx context.Context) error {
	end, err := look(ctx, c.conn)
	if err != nil {
		return err
	}
	err = c.visit(ctx, func(_ int, at journal.Cursor) bool { return at.Includes(end.cursor) })
	if diff := cmp.Diff(end.n, c.page.n); diff != "" {
		c.t.Error(diff)
	}
	return err
}

// visit resumes from the page's cursor and stays until leave holds, given how many
// events came live and a position that covers no more than what was taken.
func (c *client) visit(ctx context.Context, leave func(events int, at journal.Cursor) bool) error {
	sub := c.w.bus.Subscribe(c.scopes, bus.Options{})
	defer sub.Close()
	since := c.page.cursor
	p, err := c.w.l.Replay(ctx, since)
	if err != nil || p.Reset != "" {
		return fmt.Errorf("replay since %v: reset %q, %w", since, p.Reset, err)
	}
	// What came live before the position moved comes again, and nothing else.
	repeated := c.page.beyond
	c.page.beyond = map[string]uint64{}
	for e := range p.Events(c.scopes, everything) {
		if _, again := repeated[id(e)]; !again {
			c.page.take(c.t, "replay", e)
		}
	}
	for events := 0; ; {
		if e, ok := sub.TryNext(); ok {
			events++
			if !since.Covers(e.Tx) && !p.End.Covers(e.Tx) {
				c.page.take(c.t, "live", e)
			}
			continue
		}
		if text, ok := sub.Drained(); ok {
			at := parse(c.t, text)
			if at.Includes(since) && at.Includes(p.End) && leave(events, at) {
				c.page.cursor = at
				maps.DeleteFunc(c.page.beyond, func(_ string, tx uint64) bool { return at.Covers(tx) })
				return nil
			}
		}
		select {
		case <-sub.Wake():
		case <-time.After(time.Millisecond): // the position moves without a wake
		case <-ctx.Done():
			return fmt.Errorf("waited in vain since %v: %w", since, context.Cause(ctx))
		}
	}
}
