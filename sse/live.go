package sse

import (
	"context"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/pgbell/pgbell/bus"
)

const (
	retryLeast = 2 * time.Second // of the time after which a client comes back
	retryMost  = 5 * time.Second

	readyPoll = 100 * time.Millisecond // how often a stream that waits looks whether the database is heard

	// The bus's position moves after the events of a batch, a stream wakes with the
	// first of them: settle later the position is likely to cover them all.
	settle = 50 * time.Millisecond
)

func retryAfter() time.Duration { return retryLeast + mathrand.N(retryMost-retryLeast) }

// awaitReady returns once the database is heard: from the bus's position on, all
// is sure to come.
func (s *stream) awaitReady(ctx context.Context) error {
	b := takeFrames()
	defer b.free()
	b.retry(retryAfter())
	if err := s.write(b); err != nil {
		return err
	}
	for s.h.hears() != nil {
		if err := s.pause(ctx, nil, time.After(readyPoll)); err != nil {
			return err
		}
		if s.stopping {
			return errDrained
		}
		if s.beat {
			s.beat = false
			b.comment()
			if err := s.write(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// live writes what the subscription gets.
func (s *stream) live(ctx context.Context) error {
	var settled <-chan time.Time
	for {
		if err := s.permitted(ctx); err != nil {
			return err
		}
		wrote, drained, err := s.writeQueue()
		switch {
		case err != nil:
			return err
		case s.sub.Closed():
			return errClosed
		case s.stopping && (drained || time.Now().After(s.stopBy)):
			return errDrained
		}
		if wrote {
			settled = time.After(settle)
		}
		look := settled
		switch {
		case !drained:
			look = time.After(0)
		case !s.burst.empty():
			look = time.After(time.Until(s.burst.due))
		}
		if err := s.pause(ctx, s.sub.Wake(), look); err != nil {
			return err
		}
	}
}

// maxTaken is how many events a stream takes from its queue before it looks at
// other things.
const maxTaken = 1024

// writeQueue writes at most one batch of what is queued, and says whether there
// were events among it and whether nothing is left. Then the client's last id is
// the bus's position, unless a burst goes on.
func (s *stream) writeQueue() (wrote, drained bool, err error) {
	b := takeFrames()
	defer b.free()
	for taken := 0; !b.full() && taken < maxTaken; taken++ {
		e, ok := s.next()
		if !ok {
			break
		}
		if s.seam.repeats(e) {
			continue
		}
		s.lastID = s.seam.id(e.Cursor, s.lastID)
		s.add(b, s.lastID, e)
	}
	wrote = b.events > 0
	position, drained := s.drained()
	has := s.lastID
	if s.burst.over() || s.stopping && drained && !s.burst.empty() {
		wrote, has = true, s.burst.id
		if err := s.writeBurst(b); err != nil {
			return wrote, drained, err
		}
	}
	if s.burst.empty() {
		if drained {
			s.lastID = s.seam.id(position, s.lastID)
		}
		if s.lastID != has {
			b.id(s.lastID)
		}
	}
	if s.beat && b.empty() {
		b.comment()
	}
	s.beat = false
	return wrote, drained, s.write(b)
}

// writeBurst writes what waited, under an id that covers none of it: who is cut
// amid it gets all of it again.
func (s *stream) writeBurst(b *frames) error {
	for _, w := range s.burst.take() {
		s.addNow(b, s.burst.id, w.event, w.stands)
		if b.full() {
			if err := s.write(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds e to b under id, or to the burst, unless its origin is left out.
func (s *stream) add(b *frames, id string, e bus.ChangeEvent) {
	switch {
	case s.leavesOut(e):
	case s.burst.asked():
		s.burst.add(id, e)
	default:
		s.addNow(b, id, e, 1)
	}
}

// leavesOut says whether e is of an origin that the client does not want to hear of.
func (s *stream) leavesOut(e bus.ChangeEvent) bool {
	return e.Op != bus.OpReset && slices.Contains(s.req.origins, e.Origin)
}

// addNow adds e, which stands for so many, to b under id.
func (s *stream) addNow(b *frames, id string, e bus.ChangeEvent, stands int) {
	if err := b.event(id, e, stands); err != nil {
		s.h.log.Error("event can't be written, a reset takes its place", "scope", e.Scope, "table", e.Table, "err", err)
		reset := bus.ChangeEvent{Scope: e.Scope, Op: bus.OpReset, Table: e.Table, Reason: "the event could not be written", At: e.At}
		if err := b.event(id, reset, stands); err != nil { // strings only: it can't
			panic(err)
		}
	}
}

// next takes the next event.
func (s *stream) next() (bus.ChangeEvent, bool) {
	if len(s.held) > 0 {
		e := s.held[0]
		s.held = s.held[1:]
		return e, true
	}
	return s.sub.TryNext()
}

// drained is Drained of the subscription, with what is held.
func (s *stream) drained() (position string, ok bool) {
	if len(s.held) > 0 {
		return "", false
	}
	return s.sub.Drained()
}
