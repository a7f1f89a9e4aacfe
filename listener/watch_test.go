package listener

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// queries counts the queries of a Listener, by their text.
type queries struct {
	before func(sql string) // called before each; may be nil
	mu     sync.Mutex
	texts  []string
}

func (q *queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if q.before != nil {
		q.before(data.SQL)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.texts = append(q.texts, data.SQL)
	return ctx
}

func (q *queries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// count returns how many had part in them.
func (q *queries) count(part string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	found := 0
	for _, text := range q.texts {
		if strings.Contains(text, part) {
			found++
		}
	}
	return found
}

// logs keeps what was logged.
type logs struct {
	mu    *sync.Mutex
	lines *[]string
}

func newLogs() *logs { return &logs{new(sync.Mutex), new([]string)} }

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }
func (l *logs) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.lines = append(*l.lines, line)
	return nil
}

// with returns the lines that have part in them.
func (l *logs) with(part string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range *l.lines {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return found
}
