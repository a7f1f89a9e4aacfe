package sse

import (
	"slices"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/sse/internal/wire"
)

// settle is how long after its last event a stream writes the bus's position. A stream
// wakes with the first event of a batch, and the position moves after the last: by then
// it is likely to cover them all. It is long, so that the frames of a stream with
// several events a second move its client's id, and not a write of its own.
const settle = wire.SettleAfter

// live writes what the subscription gets.
func (s *stream) live() error {
	if s.burst == nil && len(s.lives) == 0 {
		s.wire.Lend(s)
	}
	var settled time.Time
	for {
		if err := s.permitted(); err != nil {
			return err
		}
		if len(s.lives) > 0 {
			if err := s.renewLives(); err != nil {
				return err
			}
		}
		w, err := s.writeQueue()
		if err != nil {
			return err
		}
		if s.stopping && (w.all || time.Since(s.stopAt) > s.h.cfg.WriteTimeout) {
			return errDrained
		}
		now := time.Now()
		if w.events {
			settled = now.Add(settle)
		} else if !now.Before(settled) {
			settled = time.Time{}
		}
		look := now
		if w.all {
			look = s.nextLook(settled)
		}
		if err := s.pause(look); err != nil {
			return err
		}
	}
}

// Serve writes what is queued in place of live, while live waits. It hands back what is
// out of the ordinary, and what there is no room for.
func (s *stream) Serve(t wire.Turn) (l wire.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			var end error
			s.survive(&end, p)
			s.cause.CompareAndSwap(nil, &end)
			l = wire.HandBack
		}
	}()
	now := time.Now()
	switch {
	case s.cause.Load() != nil, s.sub.Ended(), s.req.id.expired(now), s.h.gate.draining(), s.beat, s.stopping, !s.stopAt.IsZero(),
		s.due(now),
		len(s.held) > 0, s.seam.seen != nil, s.unsent:
		return wire.HandBack
	}
	b := takeFrames()
	defer b.free()
	b.roomy = true
	w, err := s.fill(b)
	if err != nil { // only of a burst
		panic(err)
	}
	if !b.empty() {
		if !t.Send(b.bytes()) {
			s.unsent, s.unsentEvents = true, b.events
			return wire.HandBack
		}
	}
	s.h.frames.Add(uint64(b.events))
	if w.events {
		t.Settle(now.Add(settle))
	}
	if !w.all {
		return wire.More
	}
	return wire.Done
}

// nextLook returns when live has to look again even if nothing wakes it.
func (s *stream) nextLook(settled time.Time) time.Time {
	look := settled
	if s.asks() {
		look = earlier(look, s.askAt)
	}
	if !s.burst.empty() {
		look = earlier(look, s.burst.due)
	}
	if s.burst != nil {
		look = earlier(look, s.burst.livesDue)
	}
	return look
}

// maxTaken is how many events a stream takes from its queue before it looks at
// other things.
const maxTaken = 1024

// written is what one round of writing did.
type written struct {
	events bool // there were some
	all    bool // nothing is left
}

// writeQueue writes at most one batch of what is queued.
func (s *stream) writeQueue() (written, error) {
	b := s.frames()
	fill := s.fill
	if s.burst != nil || s.seam.seen != nil || s.regrouped || len(s.lives) > 0 {
		fill = s.fillAside
	}
	w, err := fill(b)
	if err == nil {
		err = s.write(b)
	}
	b.free()
	return w, err
}

// fill adds to b what is queued. Of a burst that is over it writes all but the last
// frames, and adds these.
func (s *stream) fill(b *frames) (written, error) {
	if s.regrouped { // asked here: its events take room on the stack whether there are any or not
		s.takeResets(b)
	}
	s.take(b)
	return s.round(b)
}

func (s *stream) fillAside(b *frames) (w written, err error) {
	aside(func() { w, err = s.fill(b) })
	return w, err
}

// aside runs f on a stack of its own: see start. A panic of f comes out here.
func aside(f func()) {
	done := make(chan any)
	go func() {
		defer func() { done <- recover() }()
		f()
	}()
	if p := <-done; p != nil {
		panic(p)
	}
}

// take adds to b what is queued, or to the burst.
func (s *stream) take(b *frames) {
	for taken := 0; !b.full() && taken < maxTaken; taken++ {
		d := s.next()
		if d == nil {
			return
		}
		if s.stale() {
			s.held = append([]*bus.Delivery{d}, s.held...)
			return
		}
		if !s.seam.repeats(&d.Event) {
			s.moveTo(d.Event.Cursor)
			s.add(b, s.lastID, d)
		}
	}
}

// round adds to b what comes after the events, so that the client's last id is then
// the bus's position, unless something is left or a burst goes on.
func (s *stream) round(b *frames) (w written, err error) {
	w.events = b.events > 0
	position, drained := s.drained()
	w.all = drained
	has := s.lastID
	if s.burst.over() || s.stopping && drained && !s.burst.empty() {
		w.events, has = true, s.burst.id
		if err := s.writeBurst(b); err != nil {
			return w, err
		}
	}
	if len(s.lives) > 0 { // asked here, for the sake of the stack: see fill
		if err := s.roundLives(b, &w, drained, position, has); err != nil {
			return w, err
		}
	} else if s.burst.empty() {
		if drained {
			s.moveTo(position)
		}
		if s.lastID != has {
			b.id(s.lastID)
		}
	}
	if s.beat && b.empty() {
		b.comment()
	}
	s.beat = false
	return w, nil
}

// writeBurst writes what waited, under an id that covers none of it: a client that is
// cut amid it gets all of it again.
func (s *stream) writeBurst(b *frames) error {
	for _, w := range s.burst.take() {
		if w.stands == 1 {
			s.h.frame(b, w.d).add(b, s.burst.id)
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
	case s.leavesOut(&d.Event), !s.sees(&d.Event):
	case s.burst != nil:
		s.burst.add(id, d)
	default:
		s.h.frame(b, d).add(b, id)
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

// drained is the subscription's Drained, which is false while something is held, or the
// user's groups have changed: a position may cover what another group would have heard.
func (s *stream) drained() (position string, ok bool) {
	if len(s.held) > 0 {
		return "", false
	}
	if position, ok = s.sub.Drained(); s.stale() {
		return "", false
	}
	return position, ok
}
