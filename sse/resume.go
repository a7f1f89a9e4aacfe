package sse

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/journal/scope"
)

const replayTimeout = 10 * time.Second

// resume writes what happened since the cursor req.since, or resets. away says that the
// client was away: no queue has what can't be replayed.
func (s *stream) resume(b *frames, away bool) error {
	replay, events, reason, err := s.replay()
	if err != nil {
		return err
	}
	if away && reason == "" {
		s.h.replays.Add(1)
	} else if away {
		s.h.resumeResets.Add(1)
	}
	if reason != "" {
		events = s.resets(reason, func(string) bool { return true })
	} else if away {
		volatile := func(name string) bool {
			return slices.ContainsFunc(replay.Volatile, func(t scope.Template) bool { return t.Matches(name) })
		}
		events = append(events, s.resets("changes of a feed that is not durable can't be replayed", volatile)...)
	}
	position, has := "", s.lastID
	for _, e := range events {
		if e.Cursor != position { // many have the same
			position = e.Cursor
			if c, err := journal.ParseCursor(position); err == nil && len(s.lives) == 0 && c.Includes(s.req.since) {
				s.lastID = position
			}
		}
		s.add(b, s.lastID, &bus.Delivery{Event: e})
		if b.full() {
			if err := s.writeWhile(b); err != nil {
				return err
			}
			if s.regrouped {
				break
			}
			has = s.lastID
		}
	}
	if s.join(replay); s.burst.empty() && s.lastID != s.req.since.String() {
		b.id(s.lastID)
	}
	if err := s.writeWhile(b); err != nil {
		return err
	}
	if s.regrouped { // the resets that are due tell what was left out
		s.lastID = has
	}
	return nil
}

// replay returns the events that the client missed and may see, or the reason why
// it gets resets instead.
func (s *stream) replay() (r *journal.Replay, events []bus.ChangeEvent, reason string, end error) {
	if s.h.cfg.Replay == nil {
		return nil, nil, "this server keeps no history to resume from", nil
	}
	err := errUnsure
	if end := s.call(replayTimeout, func(ctx context.Context) { r, err = s.h.cfg.Replay(ctx, s.req.since) }); end != nil {
		return nil, nil, "", end
	}
	switch {
	case err != nil:
		s.h.log.Warn("replay has no answer, resetting the client", "err", err)
		return nil, nil, "the history could not be read", nil
	case r.Reset != "":
		return nil, nil, r.Reset, nil
	}
	switch user := s.req.id.UserID; {
	case !s.asksGroups():
	case r.Regrouped(user):
		return nil, nil, ReasonGroups, nil
	case r.Outruns(user):
		s.sub.SetStale()
		if err := s.permitted(); err != nil {
			return nil, nil, "", err
		}
	}
	for e := range r.Events(s.req.scopes, s.sub.Sees) {
		if len(events) == s.h.cfg.MaxReplay {
			return r, nil, "replay too long", nil
		}
		events = append(events, e)
	}
	return r, events, "", nil
}

// resets returns a reset for each scope of the stream for which match holds.
func (s *stream) resets(reason string, match func(scope string) bool) []bus.ChangeEvent {
	var events []bus.ChangeEvent
	for _, scope := range s.req.scopes {
		if match(scope) {
			events = append(events, bus.ChangeEvent{Scope: scope, Op: bus.OpReset, Reason: reason})
		}
	}
	return events
}

// join prepares the live events to follow a replay that is written. A nil r means that
// resets were written instead, which cover all until the subscription began.
//
// A stream with live queries keeps its id: the bus's position may be behind the replay, so that
// they don't know yet of what it covers.
func (s *stream) join(r *journal.Replay) {
	if r == nil {
		if start := s.sub.Start(); start != "" && len(s.lives) == 0 {
			s.lastID = start
		}
		return
	}
	s.seam.seen = []journal.Cursor{s.req.since, r.End}
	if before, _, _ := strings.Cut(s.sub.Start(), "-"); before != r.End.Incarnation {
		s.seam.before = before
	}
	if r.End.Includes(s.req.since) && len(s.lives) == 0 {
		s.lastID = r.End.String()
	}
}

// writeWhile writes b, unless the stream is over or no longer allowed.
func (s *stream) writeWhile(b *frames) error {
	if err := s.pause(time.Now()); err != nil {
		return err
	}
	if err := s.permitted(); err != nil {
		return err
	}
	if s.regrouped { // b may have what the user may not see any more
		b.reset()
		return nil
	}
	return s.write(b)
}

// seam is where a replay and the live events that were queued meanwhile overlap.
// The zero value is that of a stream without a replay.
type seam struct {
	seen   []journal.Cursor // the client has all that they cover
	before string           // an incarnation that was over when the replay was made
}

// repeats says whether the client has e already.
func (m *seam) repeats(e *bus.ChangeEvent) bool {
	return len(m.seen) > 0 && m.includes(e)
}

func (m *seam) includes(e *bus.ChangeEvent) bool {
	return e.Op != bus.OpReset && e.Tx != 0 && slices.ContainsFunc(m.seen, func(c journal.Cursor) bool {
		return strings.HasPrefix(e.Cursor, c.Incarnation+"-") && c.Covers(e.Tx)
	})
}

// id returns the id to write when the bus's position is stamp: last, until stamp has
// caught up with what was replayed. Both cover only what was written, but with an older
// id the client would get more events twice.
func (m *seam) id(stamp, last string) string {
	switch {
	case stamp == "":
		return last
	case len(m.seen) == 0:
		return stamp
	}
	return m.parse(stamp, last)
}

// parse is id for a stamp that has to be parsed.
func (m *seam) parse(stamp, last string) string {
	cursor, err := journal.ParseCursor(stamp)
	if err == nil && cursor.Incarnation == m.before {
		return last
	}
	for _, c := range m.seen {
		if err == nil && c.Incarnation == cursor.Incarnation && !cursor.Includes(c) {
			return last
		}
	}
	m.seen = nil
	return stamp
}
