package sse

import (
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
	// first of them: settle later the position is likely to cover them all. So long
	// that a stream with several events a second moves its client's id with them, and
	// not in a write of its own.
	settle = 500 * time.Millisecond
)

func retryAfter() time.Duration { return retryLeast + mathrand.N(retryMost-retryLeast) }

// awaitReady returns once the database is heard: from the bus's position on, all
// is sure to come.
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
	return nil
}

// live writes what the subscription gets.
func (s *stream) live() error {
	var settled time.Time
	for {
		if err := s.permitted(); err != nil {
			return err
		}
		wrote, drained, err := s.writeQueue()
		if wrote {
			settled = time.Now().Add(settle)
		}
		switch {
		case err != nil:
			return err
		case s.stopping && (drained || time.Since(s.stopAt) > s.h.cfg.WriteTimeout):
			return errDrained
		case !drained:
			if err := s.pause(longAgo); err != nil {
				return err
			}
			continue
		}
		if err := s.pause(s.nextLook(settled)); err != nil {
			return err
		}
		if !time.Now().Before(settled) {
			settled = time.Time{}
		}
	}
}

// nextLook returns when live has to look again, though nothing wakes it.
func (s *stream) nextLook(settled time.Time) time.Time {
	look := settled
	if s.h.cfg.Authorize != nil {
		look = earlier(look, s.askAt)
	}
	if !s.burst.empty() {
		look = earlier(look, s.burst.due)
	}
	return look
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
		d := s.next()
		if d == nil {
			break
		}
		if s.seam.repeats(&d.Event) {
			continue
		}
		s.lastID = s.seam.id(d.Event.Cursor, s.lastID)
		s.add(b, s.lastID, d)
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
		if w.stands == 1 {
			s.h.frame(w.d).add(b, s.burst.id)
		} else {
			s.h.addEvent(b, s.burst.id, &w.d.Event, w.stands)
		}
		if b.full() {
			if err := s.write(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds d to b under id, or to the burst, unless its origin is left out.
func (s *stream) add(b *frames, id string, d *bus.Delivery) {
	switch {
	case s.leavesOut(&d.Event):
	case s.burst != nil:
		s.burst.add(id, d)
	default:
		s.h.frame(d).add(b, id)
	}
}

// leavesOut says whether e is of an origin that the client does not want to hear of.
func (s *stream) leavesOut(e *bus.ChangeEvent) bool {
	return e.Op != bus.OpReset && slices.Contains(s.req.origins, e.Origin)
}

// next takes the next event, or nil.
func (s *stream) next() *bus.Delivery {
	if len(s.held) == 0 {
		return s.sub.TryTake()
	}
	d := s.held[0]
	if s.held = s.held[1:]; len(s.held) == 0 {
		s.held = nil
	}
	return d
}

// drained is Drained of the subscription, with what is held.
func (s *stream) drained() (position string, ok bool) {
	if len(s.held) > 0 {
		return "", false
	}
	return s.sub.Drained()
}
