package sse

import (
	"context"
	mathrand "math/rand/v2"
	"runtime/debug"
	"time"
)

// pause waits until the stream is woken, until look, or until something else is due
// that it then sets: beat, or stopping. It may return sooner. An error is the
// stream's end.
func (s *stream) pause(look time.Time) error {
	until := earlier(look, s.beatAt)
	until = earlier(until, s.req.id.Expires)
	if !s.stopping {
		until = earlier(until, s.stopAt)
	}
	if err := s.wire.Wait(until); err != nil {
		return err
	}
	if err := s.writeUnsent(); err != nil {
		return err
	}
	return s.over()
}

// earlier returns the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// over returns why the stream is over, nil if it is not, and sets what is due. A stream
// that was closed writes no more, even if something is queued.
func (s *stream) over() error {
	if cause := s.cause.Load(); cause != nil {
		return *cause
	}
	if s.sub.Ended() {
		return errClosed
	}
	now := time.Now()
	if s.req.id.expired(now) {
		return errExpired
	}
	if !now.Before(s.beatAt) {
		s.beat = true
		s.beatAt = now.Add(s.h.beatAfter())
	}
	if s.stopAt.IsZero() && s.h.gate.draining() {
		s.stopAt = now.Add(mathrand.N(s.h.gate.over + 1))
	}
	if !s.stopAt.IsZero() && !now.Before(s.stopAt) {
		s.stopping = true
	}
	return nil
}

// hold lets d pass, or less, and writes a heartbeat if one is due.
func (s *stream) hold(d time.Duration) error {
	if err := s.pause(time.Now().Add(d)); err != nil {
		return err
	}
	if s.stopping {
		return errDrained
	}
	if !s.beat {
		return nil
	}
	s.beat = false
	b := takeFrames()
	defer b.free()
	b.comment()
	return s.write(b)
}

// call runs f on a goroutine of its own, while the stream waits. If the stream is over,
// f's context is done. call returns after f has. So f does not make the stream's stack
// grow, which would stay, and the stream notices meanwhile if its client leaves.
func (s *stream) call(limit time.Duration, f func(context.Context)) error {
	ctx, cancel := context.WithTimeout(s.wire.Context(), limit)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer s.wire.Wake()
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				s.h.log.Error("hook panicked", "session", s.session, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		f(ctx)
	}()
	for {
		err := s.pause(time.Time{})
		if err != nil {
			cancel()
			<-done
			return err
		}
		select {
		case <-done:
			return nil
		default:
		}
	}
}

// end ends the stream, if nothing else has before. Any goroutine may call it.
func (s *stream) end(cause error) {
	s.cause.CompareAndSwap(nil, &cause)
	s.wire.Wake()
}

// beatAfter returns the time to the next heartbeat: at most the configured one, and
// not the same for all.
func (h *Handler) beatAfter() time.Duration {
	return h.cfg.Heartbeat - mathrand.N(h.cfg.Heartbeat/8+1)
}
