package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// At most logMost records with the same message are logged in logEvery: clients can
// cause any number of some. Those of the level of debug are not counted.
const (
	logMost  = 10
	logEvery = 10 * time.Second
)

// fewRecords is a handler that hands on so many records. The first of a message that
// comes after others were left out says how many.
type fewRecords struct {
	slog.Handler
	seen *seenRecords // shared with the handlers made of this one
}

type seenRecords struct {
	mu sync.Mutex
	of map[string]*seenMessage // by message: they are constants
}

type seenMessage struct {
	since   time.Time
	n, left int
}

func limitRecords(h slog.Handler) slog.Handler {
	return fewRecords{h, &seenRecords{of: map[string]*seenMessage{}}}
}

func (h fewRecords) Handle(ctx context.Context, r slog.Record) error {
	if r.Level > slog.LevelDebug {
		left, ok := h.seen.take(r.Message, r.Time)
		if !ok {
			return nil
		}
		if left > 0 {
			r.Add("left_out", left)
		}
	}
	return h.Handler.Handle(ctx, r)
}

// take says whether a record may be logged and, if so, how many were left out before it.
func (s *seenRecords) take(message string, now time.Time) (left int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.of[message]
	if m == nil {
		m = &seenMessage{}
		s.of[message] = m
	}
	if now.Sub(m.since) >= logEvery {
		m.since, m.n = now, 0
	}
	if m.n++; m.n > logMost {
		m.left++
		return 0, false
	}
	left, m.left = m.left, 0
	return left, true
}

func (h fewRecords) WithAttrs(attrs []slog.Attr) slog.Handler {
	return fewRecords{h.Handler.WithAttrs(attrs), h.seen}
}

func (h fewRecords) WithGroup(name string) slog.Handler {
	return fewRecords{h.Handler.WithGroup(name), h.seen}
}
