package sse

import "github.com/pgbell/pgbell/journal"

// A mark is what a handler writes after the ids of streams with live queries, and after the
// cursors of results: its own clients know them again. Who comes from another server may have a
// result that was never seen here: at its cursor the query gave what it gives now, but a frame
// came after that, under the same id; and the result is back to what it was.
const markSeparator = "@" // no cursor has one

// marked returns a cursor with a mark.
func marked(cursor, mark string) string {
	if cursor == "" || mark == "" {
		return cursor
	}
	return cursor + markSeparator + mark
}

// frames returns frames for this stream.
func (s *stream) frames() *frames {
	b := takeFrames()
	if len(s.lives) > 0 {
		b.mark = s.h.mark
	}
	return b
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
