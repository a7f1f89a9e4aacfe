package listener

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

func everything(bus.Audience) bool { return true }

// TestReplaysFromMemoryAndDatabaseAgree takes cursors while writers write.
func TestReplaysFromMemoryAndDatabaseAgree(t *testing.T) {
	rows, transactions, readers := 12, 80, 60
	if testing.Short() {
		transactions, readers = 30, 15
	}
	w := start(t, example.Database(t), options{})
	all := w.write(6, rows, transactions)
	var cursors []journal.Cursor
	for range readers {
		cursors = append(cursors, w.cursor())
	}
	all.group.Wait()
	last := w.cursor()
	await(t, "all was read", func() bool { return parse(t, w.bus.Position()).Includes(last) })

	scopes := append(taskScopes(rows), "tasks")
	byScope := func(p *journal.Replay) map[string]string { // of one row the order is one
		m := map[string]string{}
		for e := range p.Events(scopes, everything) {
			if e.Scope != "tasks" {
				m[e.Scope] += fmt.Sprintf(" %d/%d", e.Tx, n(t, e))
			}
			m["events"] += "+"
		}
		return m
	}
	var fromMemory []map[string]string
	for _, c := range cursors {
		p := w.l.tail.Since(c)
		if p == nil || p.Reset != "" {
			t.Fatalf("not held in memory: %v: %+v", c, p)
		}
		fromMemory = append(fromMemory, byScope(p))
	}
	w.stop()
	w.l.tail.Start(journal.Cursor{}, 0)
	for i, c := range cursors {
		p, err := w.l.Replay(t.Context(), c)
		if err != nil || p.Reset != "" {
			t.Fatalf("%+v, %v", p, err)
		}
		if got := byScope(p); fmt.Sprint(got) != fmt.Sprint(fromMemory[i]) {
			t.Errorf("since %v: from the journal %v, from memory %v", c, got, fromMemory[i])
		}
	}
}

// Else who subscribes in between would get it neither live nor from the replay.
func TestBatchIsInMemoryBeforeItIsEmitted(t *testing.T) {
	var w *world
	w = start(t, example.Database(t), options{Config: Config{OnRecord: func(r journal.Record) {
		p := w.l.tail.Since(w.l.cursor)
		if p == nil || !p.End.Covers(r.Tx) || !slices.ContainsFunc(p.Records, func(held *journal.Record) bool { return held.LSN == r.LSN }) {
			t.Errorf("emitting %d, transaction %d, memory has %+v", r.LSN, r.Tx, p)
		}
	}}})
	r := w.subscribe("task:1")
	w.exec("insert into tasks (id) values (1)")
	for range 20 {
		w.exec("update tasks set n = n + 1")
	}
	for range 21 {
		r.next()
	}
}

// Ten thousand clients that come back cost Postgres nothing, whatever they hold.
func TestReplaysFromMemoryCostNoQuery(t *testing.T) {
	w := start(t, example.Database(t), options{Config: Config{Tick: time.Hour}})
	before := w.cursor()
	r := w.subscribe("tasks")
	w.exec("insert into tasks (id) select generate_series(1, 100)")
	r.rest()
	other, old := before, before
	other.Incarnation = "abc"
	old.Xmin, old.Xmax, old.Xip = 1, 1, nil
	w.exec("update pgbell.journal_state set step = nextval('pgbell.rotation'), floor = '2'")
	w.goesOn(r)                                  // it has read the new floor
	asked := w.queries.count("application_name") // one for each connection
	for range 10_000 {
		for since, want := range map[*journal.Cursor]string{&before: "", &other: "the database server was restarted", &old: "the journal does not reach back that far"} {
			if p, err := w.l.Replay(t.Context(), *since); err != nil {
				t.Fatalf("%v: %v", since, err)
			} else if p.Reset != want || want == "" && len(p.Records) == 0 {
				t.Fatalf("%v: reset %q, %d records", since, p.Reset, len(p.Records))
			}
		}
	}
	if now := w.queries.count("application_name"); now != asked {
		t.Errorf("%d connections", now-asked)
	}
}

func TestReplayNamesVolatileScopes(t *testing.T) {
	w := start(t, example.Database(t), options{})
	p, err := w.l.Replay(t.Context(), w.cursor())
	if err != nil {
		t.Fatal(err)
	}
	volatile := journal.Reset{Templates: p.Volatile}
	for scope, want := range map[string]bool{"notes": true, "note:1": true, "tasks": false, "task:1": false} {
		if got := volatile.Matches(scope); got != want {
			t.Errorf("%s: got %v, want %v", scope, got, want)
		}
	}
}

func TestReplayBeforeTheFirstReadingIsAnError(t *testing.T) {
	w := start(t, "postgres://127.0.0.1:1/x?sslmode=disable", options{apart: true})
	w.notReady("connection refused")
	if p, err := w.l.Replay(t.Context(), journal.Cursor{}); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestReplayGivesUpItsTurn(t *testing.T) {
	w := start(t, example.Database(t), options{})
	since := w.cursor()
	w.stop()
	w.l.tail.Start(journal.Cursor{}, 0)
	w.l.replaying <- struct{}{} // somebody else's
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if p, err := w.l.Replay(ctx, since); !errors.Is(err, enough) {
		t.Errorf("got %+v, %v", p, err)
	}
}
