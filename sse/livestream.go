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
	came  journal.Cursor // of a client of this server that was away: what it has
	told  uint64         // version that the client has, or is told of; 0: that is to be found out
	rows  *LiveRows      // that the client has, as far as its frames have rows; nil if that isn't known
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
		l := &liveQuery{asked: q, watch: w, came: s.req.since}
		if s.req.mark != s.h.mark || slices.ContainsFunc(s.req.whole, func(whole LiveQuery) bool { return whole.String() == q.String() }) {
			l.came = journal.Cursor{}
		}
		s.lives = append(s.lives, l)
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

// beginLives says what a new client knows before the ready frame: after that it fetches what
// it has not. Where frames have rows, it adds those.
func (s *stream) beginLives(b *frames) error {
	if len(s.lives) > 0 && s.req.rows != noRows {
		return s.beginRows(b)
	}
	for _, l := range s.lives {
		if state := l.watch.State(); state.Reset == "" {
			l.told = state.Version
		}
	}
	return nil
}

// beginRows writes what the results are, under no id, and has lastID cover nothing that may
// have changed them since: who comes back with it has these rows.
func (s *stream) beginRows(b *frames) error {
	position := s.lastID
	for s.lastID = ""; ; {
		if err := s.permitted(); err != nil {
			return err
		}
		if err := s.renewLives(); err != nil {
			return err
		}
		for _, l := range s.lives {
			l.told = 0
		}
		due := s.lookAtLives()
		for _, f := range due {
			f.tell()
		}
		if s.lastID = s.vouched(position); s.lastID != "" {
			return s.addLives(b, due, "", "")
		}
		if err := s.hold(s.h.cfg.Heartbeat); err != nil {
			return err
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
	of      *liveQuery
	version uint64
	reset   string    // its reason; empty for a change
	rows    *LiveRows // to tell; nil if the client is to fetch them
	has     *LiveRows // rows that the client has, if that is known
}

// tell notes that the client is told.
func (f liveFrame) tell() { f.of.told, f.of.owed, f.of.rows = f.version, "", f.rows }

// dueLives is lookAtLives, and notes that all is told. With spread and coalesce the frames wait
// as events do.
func (s *stream) dueLives() []liveFrame {
	due := s.lookAtLives()
	if s.burst != nil && len(due) > 0 && !s.stopping {
		if s.burst.livesDue.IsZero() {
			s.burst.livesDue = time.Now().Add(s.burst.window + mathrand.N(s.burst.spread+1))
		}
		if time.Now().Before(s.burst.livesDue) {
			return nil
		}
		s.burst.livesDue = time.Time{}
	}
	for _, f := range due {
		f.tell()
	}
	return due
}

// lookAtLives returns the frames that are due for what live queries have become, in the order
// of the request.
func (s *stream) lookAtLives() []liveFrame {
	if len(s.lives) == 0 || s.stale() {
		return nil
	}
	position, _ := journal.ParseCursor(s.h.bus.Position()) // before the look at what is pending; of what is none, a cursor that sees nothing
	var due []liveFrame
	for _, l := range s.lives {
		state := l.watch.State()
		reset := state.Reset
		var has *LiveRows
		switch {
		case l.again || state.Ended:
			continue
		case l.owed != "":
			reset = l.owed
		case state.Version == l.told || state.Version == 0:
			continue
		case l.told > 0:
			has = l.rows
		case reset == "" && l.has(state, position):
			l.told, l.rows = state.Version, state.Rows
			continue
		case reset == "":
			reset = "what the query gave since can't be told"
		}
		f := liveFrame{of: l, version: max(state.Version, 1), reset: reset}
		if s.req.rows != noRows && state.Reset == "" {
			if state.Version == 0 { // they are yet to come
				continue
			}
			f.reset, f.rows = "", state.Rows
			if s.req.rows == deltaRows {
				f.has = has
			}
		}
		due = append(due, f)
	}
	return due
}

// roundLives adds to b what round does after the events, and the frames of live queries.
func (s *stream) roundLives(b *frames, w *written, drained bool, position, has string) error {
	due := s.dueLives()
	w.events = w.events || len(due) > 0
	if !s.burst.empty() {
		return s.addLives(b, due, has, has)
	}
	if drained {
		s.moveTo(position)
	}
	if len(due) == 0 && s.lastID != has {
		b.id(s.lastID)
	}
	return s.addLives(b, due, has, s.lastID)
}
