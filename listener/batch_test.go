package listener

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// A batch that is too large to hold is emitted as it is read. Meanwhile replays
// come from the journal: memory would leave out what was emitted already.
func TestLargeBatchIsStreamed(t *testing.T) {
	const rows = 6000
	var w *world
	streamed := make(chan *journal.Replay, 100)
	var once sync.Once
	var before journal.Cursor
	var sub *bus.Subscription
	w = start(t, example.Database(t), options{limit: 400_000, Config: Config{OnRecord: func(r journal.Record) {
		if len(r.Changes) < 500 {
			return
		}
		once.Do(func() { // in the middle of it
			sub = w.bus.Subscribe([]string{"tasks"}, bus.Options{})
			now := parse(t, w.l.cursor.String())
			for _, since := range []journal.Cursor{before, now} {
				p, err := w.l.Replay(t.Context(), since)
				if err != nil {
					t.Error(err)
				}
				streamed <- p
			}
		})
	}}})
	r := w.subscribe("tasks")
	before = w.cursor()
	w.exec("insert into tasks (id, n) select i, i from generate_series(1, $1) i", rows)
	for i := range int64(rows) {
		if e := r.next(); e.Op != bus.OpInsert || n(t, e) != i+1 {
			t.Fatalf("event %d is %s", i+1, brief(e))
		}
	}
	defer sub.Close()
	for range 2 {
		if p := <-streamed; p.Reset != string(gapSize) {
			t.Errorf("a replay that doesn't fit: reset %q, %d records", p.Reset, len(p.Records))
		}
	}
	if rest := r.rest(); len(rest) > 0 {
		t.Errorf("and then %v", briefs(rest))
	}

	// From here on memory serves again.
	connections := w.queries.count("application_name")
	since := w.cursor()
	await(t, "the position is there", func() bool { return parse(t, w.bus.Position()).Includes(since) })
	w.exec("update tasks set n = -1 where id = 1")
	r.rest()
	p, err := w.l.Replay(t.Context(), since)
	if events := slices.Collect(p.Events([]string{"tasks"}, everything)); err != nil || len(events) != 1 || n(t, events[0]) != -1 {
		t.Errorf("%v, got %v", err, briefs(events))
	}
	if more := w.queries.count("application_name") - connections; more > 0 {
		t.Errorf("%d connections for it", more)
	}
}

// A client that subscribes in the middle of a large batch, with a cursor of before,
// gets all of it from the replay and what is live.
func TestReplayInTheMiddleOfALargeBatchIsComplete(t *testing.T) {
	const rows = 3000
	var (
		w    *world
		once sync.Once
		got  = map[int64]int{}
		sub  *bus.Subscription
		p    *journal.Replay
	)
	w = start(t, example.Database(t), options{limit: 400_000, Config: Config{OnRecord: func(r journal.Record) {
		if len(r.Changes) == 500 && w.l.tail.Since(w.l.cursor) == nil && r.Part == 2 {
			once.Do(func() {
				w.l.limit = 1 << 30 // for the replay alone: it is read by this goroutine only
				sub = w.bus.Subscribe([]string{"tasks"}, bus.Options{})
				var err error
				if p, err = w.l.Replay(t.Context(), w.l.cursor); err != nil || p.Reset != "" {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
	}}})
	r := w.subscribe("tasks")
	w.exec("insert into tasks (id, n) select i, i from generate_series(1, $1) i", rows)
	for range rows {
		r.next()
	}
	r.rest()
	if sub == nil {
		t.Fatal("the batch was not streamed")
	}
	defer sub.Close()
	for e := range p.Events([]string{"tasks"}, everything) {
		got[n(t, e)]++
	}
	for e, ok := sub.TryNext(); ok; e, ok = sub.TryNext() {
		if !p.End.Covers(e.Tx) {
			got[n(t, e)]++
		}
	}
	for i := range int64(rows) {
		if got[i+1] != 1 {
			t.Fatalf("row %d came %d times", i+1, got[i+1])
		}
	}
}

// The connection breaks while a large batch is on its way: all of it comes, some of
// it again, and memory serves afterwards.
func TestCutInTheMiddleOfALargeBatch(t *testing.T) {
	const rows = 6000
	var (
		mu   sync.Mutex
		last net.Conn
		once sync.Once
	)
	w := start(t, example.Database(t), options{
		limit: 400_000,
		conf: func(conf *pgx.ConnConfig) {
			dial := conf.DialFunc
			conf.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				mu.Lock()
				defer mu.Unlock()
				if last == nil {
					last = conn
				}
				return conn, err
			}
		},
		Config: Config{Tick: quick.Tick, Timeout: quick.Timeout, OnRecord: func(r journal.Record) {
			if len(r.Changes) == 500 && r.Part == 2 {
				once.Do(func() { mu.Lock(); defer mu.Unlock(); last.Close() })
			}
		}},
	})
	since := w.cursor()
	r := w.subscribe("tasks")
	w.exec("insert into tasks (id, n) select i, i from generate_series(1, $1) i", rows)
	seen := map[int64]bool{}
	events := r.until(func(e bus.ChangeEvent) bool { seen[n(t, e)] = true; return len(seen) == rows })
	if len(events) <= rows {
		t.Error("nothing was cut")
	}
	if connections := w.l.Stats().Connections; connections != 2 {
		t.Errorf("%d connections", connections)
	}
	r.rest()
	after := w.cursor()
	w.exec("delete from tasks where id = 1")
	r.rest()
	if p := w.l.tail.Since(after); p == nil || len(slices.Collect(p.Events([]string{"tasks"}, everything))) != 1 {
		t.Errorf("from memory: %+v", p)
	}
	if p, err := w.l.Replay(t.Context(), since); err != nil || p.Reset != string(gapSize) {
		t.Errorf("of all: %+v, %v", p, err)
	}
}

// A listener that starts behind a long history holds the newest part.
func TestStartHoldsTheNewestPart(t *testing.T) {
	w := start(t, example.Database(t), options{})
	w.exec("create sequence s")
	oldest := w.cursor()
	for range 3 {
		w.exec("insert into tasks (id, n) select nextval('s'), 0 from generate_series(1, 2000)")
	}
	newest := w.cursor()
	w.exec("insert into tasks (id, n) values (0, 0)")

	other := start(t, w.url, options{limit: 400_000})
	if p := other.l.tail.Since(newest); p == nil || len(slices.Collect(p.Events([]string{"task:0"}, everything))) != 1 {
		t.Errorf("since then: %+v", p)
	}
	if p := other.l.tail.Since(oldest); p != nil {
		t.Errorf("it holds all of it: %d records", len(p.Records))
	}
	if p := w.l.tail.Since(oldest); p == nil {
		t.Error("the other does not hold it")
	}
}

// The journal is rotated while listening, and who comes back too late is told.
func TestRotationLeavesAGap(t *testing.T) {
	w := start(t, example.Database(t), options{Config: Config{Tick: 10 * time.Millisecond, Retention: 50 * time.Millisecond}})
	r := w.subscribe("tasks")
	old := w.cursor()
	i := 0
	await(t, "a gap behind the cursor", func() bool {
		i++
		w.exec("insert into tasks (id) values ($1)", i)
		if e := r.next(); e.Op != bus.OpInsert {
			t.Fatalf("got %s", brief(e))
		}
		p, err := w.l.Replay(t.Context(), old)
		if err != nil {
			t.Fatal(err)
		}
		if p.Reset == "" && len(slices.Collect(p.Events([]string{"tasks"}, everything))) < i {
			t.Fatalf("%d events of %d", len(slices.Collect(p.Events([]string{"tasks"}, everything))), i)
		}
		return p.Reset == string(journal.GapRetention)
	})
	if rest := ask[int](t, w.db, "select count(*)::int from pgbell.journal"); rest == 0 {
		t.Error("nothing is left")
	}
	if warnings := w.log.with("WARN"); len(warnings) > 0 {
		t.Error(warnings)
	}
	// A listener that starts now reads what is left.
	other := start(t, w.url, options{})
	if p, err := other.l.Replay(t.Context(), old); err != nil || p.Reset != fmt.Sprint(journal.GapRetention) {
		t.Errorf("%+v, %v", p, err)
	}
}
