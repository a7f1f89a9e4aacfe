package sse

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/pgbell/pgbell/journal"
)

// liveQuery is one that a stream watches.
type liveQuery struct {
	asked LiveQuery
	watch LiveWatch
	came  journal.Cursor // of a client that was away: what it has
	told  uint64         // version that the client has, or is told of; 0: that is to be found out
	owed  string         // reason of a reset that is due
	again bool           // the watch is to be made anew, since the user's groups are others
}

// watchLives has each live query of the stream watched, as the user in groups is to see it.
func (s *stream) watchLives(ctx context.Context, groups []string) *problem {
	id := s.req.id
	id.Groups = groups
	for _, q := range s.req.lives {
		w, err := s.h.cfg.Live.Watch(ctx, id, q, s.wire.Wake)
		if err != nil {
			s.closeLives()
			return s.h.noResult(err)
		}
		s.lives = append(s.lives, &liveQuery{asked: q, watch: w, came: s.req.since})
	}
	return nil
}

func (s *stream) closeLives() {
	for _, l := range s.lives {
		l.watch.Close()
	}
}

// hasResults says whether each live query was run, or can't be.
func (s *stream) hasResults() bool {
	return !slices.ContainsFunc(s.lives, func(l *liveQuery) bool {
		state := l.watch.State()
		return state.Version == 0 && !state.Ended
	})
}

// beginLives says what a client knows before the ready frame: after that it fetches what it
// has not. One that was away may have another result.
func (s *stream) beginLives(away bool) {
	for _, l := range s.lives {
		if state := l.watch.State(); !away && state.Reset == "" {
			l.told = state.Version
		}
	}
}

// renewLives watches anew what has ended, and what is to be seen with other groups. Where that
// can't be, the stream ends.
func (s *stream) renewLives() error {
	for _, l := range s.lives {
		ended := l.watch.State().Ended
		if !ended && !l.again {
			continue
		}
		id := s.req.id
		id.Groups = s.sub.Groups()
		var w LiveWatch
		err := errUnsure
		if end := s.call(askTimeout, func(ctx context.Context) { w, err = s.h.cfg.Live.Watch(ctx, id, l.asked, s.wire.Wake) }); end != nil {
			if w != nil {
				w.Close()
			}
			return end
		}
		if argument := (*ArgumentError)(nil); errors.Is(err, ErrNoQuery) || errors.As(err, &argument) {
			return errRefused
		} else if err != nil {
			return fmt.Errorf("watch %s anew: %w", l.asked, err)
		}
		l.watch.Close()
		l.watch, l.again = w, false
		l.owed = ReasonGroups
		if ended {
			l.owed = "the live query is another"
		}
	}
	return nil
}

// regroupLives has all live queries be watched with the groups of now.
func (s *stream) regroupLives() {
	for _, l := range s.lives {
		l.again = true
	}
}

// liveFrame is one that is due.
type liveFrame struct {
	of    *liveQuery
	reset string // its reason; empty for a change
}

// dueLives returns the frames that are due for what live queries have become, in the order of
// the request, and notes that they are told. With spread and coalesce they wait as events do.
func (s *stream) dueLives() []liveFrame {
	if len(s.lives) == 0 || s.stale() {
		return nil
	}
	position, _ := journal.ParseCursor(s.h.bus.Position()) // before the look at what is pending; of what is none, a cursor that sees nothing
	var due []liveFrame
	var versions []uint64
	for _, l := range s.lives {
		state := l.watch.State()
		reset := state.Reset
		switch {
		case l.again || state.Ended:
			continue
		case l.owed != "":
			reset = l.owed
		case state.Version == l.told || state.Version == 0:
			continue
		case l.told > 0:
		case reset == "" && l.has(state, position):
			l.told = state.Version
			continue
		case reset == "":
			reset = "what the query gave since can't be told"
		}
		due = append(due, liveFrame{l, reset})
		versions = append(versions, max(state.Version, 1))
	}
	if s.burst != nil && len(due) > 0 && !s.stopping {
		if s.burst.livesDue.IsZero() {
			s.burst.livesDue = time.Now().Add(s.burst.window + mathrand.N(s.burst.spread+1))
		}
		if time.Now().Before(s.burst.livesDue) {
			return nil
		}
		s.burst.livesDue = time.Time{}
	}
	for i, f := range due {
		f.of.told, f.of.owed = versions[i], ""
	}
	return due
}

// has says whether a client that came back has the result of a state. One that is further than
// the server may have a later result, of which the server doesn't know yet.
func (l *liveQuery) has(state LiveState, position journal.Cursor) bool {
	if state.Pending {
		position, _ = journal.ParseCursor(state.UpTo) // as well
	}
	return !state.Since.IsZero() && l.came.Includes(state.Since) &&
		(state.Seen.Includes(l.came) || position.Includes(l.came))
}

// roundLives adds to b what round does after the events, and the frames of live queries.
func (s *stream) roundLives(b *frames, w *written, drained bool, position, has string) {
	due := s.dueLives()
	w.events = w.events || len(due) > 0
	if !s.burst.empty() {
		s.addLives(b, due, has, has)
		return
	}
	if drained {
		s.moveTo(position)
	}
	if s.addLives(b, due, has, s.lastID); len(due) == 0 && s.lastID != has {
		b.id(s.lastID)
	}
}

// addLives adds frames under the id that the client has, but for the last, which gets id: a
// client that is cut amid them is told of all of them again.
func (s *stream) addLives(b *frames, due []liveFrame, has, id string) {
	for i, f := range due {
		if i == len(due)-1 {
			has = id
		}
		b.live(has, f.of.asked, f.reset)
	}
}

// live says that the result of q is another, or why to fetch it anew.
func (b *frames) live(id string, q LiveQuery, reset string) {
	data := struct {
		Live   string `json:"live"`
		Op     string `json:"op"`
		Reason string `json:"reason,omitempty"`
	}{q.String(), "changed", reset}
	if reset != "" {
		data.Op = "reset"
	}
	if err := b.frame(q.liveScope(), id, data); err != nil { // strings only: it can't
		panic(err)
	}
	b.events++
}

// moveTo makes stamp, a position of the bus, the client's next id, as far as the live queries'
// frames tell of all that it covers, and not past what the replay has.
func (s *stream) moveTo(stamp string) {
	if len(s.lives) > 0 {
		if stamp = s.vouched(stamp); stamp == "" {
			return
		}
	}
	s.lastID = s.seam.id(stamp, s.lastID)
}

// vouched returns the newest position up to stamp of which the frames of live queries tell all,
// "" if it is none newer than the client's.
func (s *stream) vouched(stamp string) string {
	older := false
	for _, l := range s.lives {
		state := l.watch.State()
		switch {
		case state.Ended || l.again || l.owed != "" || l.told != state.Version:
			return ""
		case !state.Pending || includes(state.UpTo, stamp):
		case includes(stamp, state.UpTo):
			stamp, older = state.UpTo, true
		default:
			return ""
		}
	}
	if older && s.lastID != "" && !includes(stamp, s.lastID) {
		return ""
	}
	return stamp
}

// includes says whether a cursor sees all that another one does. A text that is none sees
// nothing.
func includes(cursor, older string) bool {
	if cursor == older {
		return cursor != ""
	}
	a, err := journal.ParseCursor(cursor)
	if err != nil {
		return false
	}
	b, err := journal.ParseCursor(older)
	return err == nil && a.Includes(b)
}
