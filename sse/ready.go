package sse

import (
	mathrand "math/rand/v2"
	"time"

	"github.com/pgbell/pgbell/journal"
)

const (
	retryLeast = 2 * time.Second // of the time after which a client comes back
	retryMost  = 5 * time.Second

	readyPoll = 100 * time.Millisecond // how often awaitReady looks
)

func retryAfter() time.Duration { return retryLeast + mathrand.N(retryMost-retryLeast) }

// awaitReady returns once the database is heard, and each live query was run: then every event
// after the bus's position is sure to come, and every result that is another than now.
func (s *stream) awaitReady() error {
	b := takeFrames()
	defer b.free()
	b.retry(retryAfter())
	if err := s.write(b); err != nil {
		return err
	}
	for s.h.hears() != nil {
		if err := s.hold(readyPoll); err != nil {
			return err
		}
	}
	for !s.hasResults() {
		if err := s.hold(s.h.cfg.Heartbeat); err != nil {
			return err
		}
	}
	return nil
}

// begin writes the ready frame, and what the client missed: since it left, or since
// the cursor in that frame.
func (s *stream) begin() error {
	b := s.frames()
	defer b.free()
	first := s.req.since.IsZero()
	if first {
		if err := s.startHere(b); err != nil {
			return err
		}
		if err := s.beginLives(b); err != nil {
			return err
		}
	} else {
		// The client gets no newer id before all that it missed is written.
		s.lastID = s.req.since.String()
	}
	if err := b.ready(s.lastID, s.req.scopes, s.req.lives, s.req.id.UserID); err != nil { // strings only: it can't
		panic(err)
	}
	if err := s.write(b); err != nil {
		return err
	}
	if !first {
		return s.resume(b, true)
	}
	if s.h.cfg.Replay == nil {
		return nil
	}
	// The stream may have begun in the middle of a batch, whose first events were
	// emitted before, but are not covered by the position.
	start, err := journal.ParseCursor(s.sub.Start())
	if err != nil { // there was none, or it is of another kind
		return nil
	}
	s.req.since = start
	return s.resume(b, false)
}

// startHere sets lastID to a cursor that covers nothing which is still queued.
func (s *stream) startHere(b *frames) error {
	s.lastID = s.sub.Start()
	for s.lastID == "" { // subscribed before anything was read from the database
		if err := s.over(); err != nil {
			return err
		}
		d := s.sub.TryTake()
		switch {
		case d != nil && d.Event.Cursor != "":
			s.lastID = d.Event.Cursor // of the first that is queued
			s.held = append(s.held, d)
		case d != nil: // the first position may cover it
			if !s.leavesOut(&d.Event) && s.sees(&d.Event) {
				s.h.addEvent(b, "", &d.Event, 1)
			}
			if b.full() {
				if err := s.write(b); err != nil {
					return err
				}
			}
		default:
			s.lastID, _ = s.sub.Drained()
		}
	}
	return nil
}
