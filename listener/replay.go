package listener

import (
	"context"
	"errors"

	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/journal/scope"
)

// gapSize is the answer to a client that missed more than fits into memory.
const gapSize journal.Gap = "too much happened since"

// far is how many transactions a page's cursor may be ahead of what was read a
// moment ago. One further ahead is no page's: it would leave its client deaf.
const far = 1 << 20

// Replay returns what happened since a cursor: from memory, or from the journal
// where that doesn't reach back. Whoever subscribed to the bus before the call
// misses nothing between the replay and what comes live. Before the listener was
// ready for the first time it returns an error.
func (l *Listener) Replay(ctx context.Context, since journal.Cursor) (*journal.Replay, error) {
	volatile, err := l.volatileTemplates()
	if err != nil {
		return nil, err
	}
	p := l.tail.Since(since)
	if p == nil {
		if p, err = l.readReplay(ctx, since); err != nil {
			return nil, err
		}
	}
	if p.Reset == "" && since.Xmax > p.End.Xmax+far {
		return &journal.Replay{Since: since, Reset: "the cursor is not of this database"}, nil
	}
	p.Volatile = volatile
	return p, nil
}

func (l *Listener) volatileTemplates() ([]scope.Template, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.feeds == nil {
		return nil, l.notReady
	}
	var all []scope.Template
	for _, templates := range l.feeds {
		all = append(all, templates...)
	}
	return all, nil
}

// readReplay asks the database, one replay at a time.
func (l *Listener) readReplay(ctx context.Context, since journal.Cursor) (*journal.Replay, error) {
	select {
	case l.replaying <- struct{}{}:
		defer func() { <-l.replaying }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if p := l.tail.Since(since); p != nil { // by now
		return p, nil
	}
	conn, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer l.close(conn)
	ctx, alive, stop := l.watch(ctx)
	defer stop()
	p := &journal.Replay{Since: since, Ahead: true}
	size := 0
	reader := &journal.Reader{DB: conn, Definitions: &l.definitions}
	p.End, _, err = reader.Read(ctx, since, func(r *journal.Record) error {
		alive()
		if size += r.Size(); size > l.limit {
			stop()
			return gapSize
		}
		p.Records = append(p.Records, r)
		return nil
	})
	if gap := journal.Gap(""); errors.As(err, &gap) {
		return &journal.Replay{Since: since, Reset: gap.Error()}, nil
	}
	if err != nil {
		return nil, because(ctx, "read the journal", err)
	}
	p.Records = reader.InOrder(p.Records)
	journal.SetPositions(p.Records, p.End)
	return p, nil
}
