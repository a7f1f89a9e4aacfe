package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// The negative control: in a database where pgbell loses nothing, a reader that
// takes the journal's sequence numbers for an order of commits loses changes, and
// the checker sees it.
func TestCheckerFindsWhatASequenceReaderLoses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config{changes: changes{{1, (*change).insertNote}, {1, (*change).insertTask}}, pause: 20 * time.Millisecond})
	reader := &subscription{name: "sequence reader", changed: make(chan struct{}, 1)}
	for p := range projects {
		reader.scopes = append(reader.scopes, scope("notes", 1+p))
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	w.begin()
	go func() { done <- readBySequence(ctx, w, reader) }()
	w.work(ctx, 300)
	commit, err := w.longTransaction(ctx)
	if err != nil {
		t.Fatal(err)
	}
	later := w.history.ids(1)
	w.await([]*subscription{reader}, "read what has a higher number than what is open", func(s *subscription) bool {
		return slices.ContainsFunc(s.frames, func(f frame) bool {
			var op int64
			_, _ = fmt.Sscanf(f.ident, "notes/written/%d/", &op)
			return op > later
		})
	})
	commit()
	w.stopWriters()
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.end()

	r := check(w.history, []*subscription{reader})
	lost := 0
	for _, wrong := range r.wrong {
		if strings.HasPrefix(wrong, "LOST") && !strings.Contains(wrong, "publish/") { // the last words: it had stopped
			lost++
		}
	}
	t.Logf("a sequence reader gets %d changes and loses %d", r.byEvent, lost)
	if lost == 0 || r.byEvent == 0 {
		t.Errorf("%d lost, %d told: want some of both", lost, r.byEvent)
	}
}

// readBySequence reads what has a higher number than all before, over and over.
func readBySequence(ctx context.Context, w *world, s *subscription) error {
	conn, err := pgx.Connect(ctx, *w.url.Load())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var last, start string
	if err := conn.QueryRow(ctx, "select coalesce(max(lsn), '0/0')::text, pgbell.cursor() from pgbell.journal").Scan(&last, &start); err != nil {
		return err
	}
	if s.start, err = parseCursor(start); err != nil {
		return err
	}
	s.startedAt = time.Now()
	type note struct {
		lsn, op, spec string
		facts         []*string
	}
	const read = `select j.lsn::text, j.op, d.spec::text, array(select unnest(j.facts)) from pgbell.journal j join pgbell.definition d on d.id = j.definition
		where j.lsn > $1::text::pg_lsn and j.tbl = 'public.notes' and j.op in ('insert', 'update', 'delete') order by j.lsn, j.xid, j.part`
	for again := true; again; {
		again = ctx.Err() == nil // once more when it is over
		rows, err := conn.Query(context.WithoutCancel(ctx), read, last)
		if err != nil {
			return err
		}
		notes, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (n note, err error) { return n, r.Scan(&n.lsn, &n.op, &n.spec, &n.facts) })
		if err != nil {
			return err
		}
		for _, n := range notes {
			last = n.lsn
			changes, err := journal.Meaning([]byte(n.spec), bus.Op(n.op), n.facts)
			if err != nil {
				return err
			}
			s.mu.Lock()
			for _, c := range changes {
				var key struct{ ID int64 }
				var data struct{ Op int64 }
				if err := errors.Join(json.Unmarshal(c.Key, &key), json.Unmarshal(c.Data, &data)); err != nil {
					return err
				}
				for _, name := range c.Scopes {
					s.frames = append(s.frames, frame{at: time.Now(), conn: 1, scope: name, ident: written("notes", data.Op, key.ID)})
				}
			}
			s.mu.Unlock()
			select {
			case s.changed <- struct{}{}:
			default:
			}
		}
		pause(ctx, 5*time.Millisecond)
	}
	return nil
}
