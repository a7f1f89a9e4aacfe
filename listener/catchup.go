package listener

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// catchUp emits all that was committed since the cursor.
func (s *session) catchUp(ctx context.Context) error {
	if s.cursor.IsZero() {
		end, _, err := s.fill(ctx)
		if err != nil {
			return err
		}
		s.advance(end)
		return s.loadFeeds(ctx) // one may have been attached before end
	}
	watched, alive, stop := s.watch(ctx)
	defer stop()
	batch := s.batch // used again: what collects garbage looks through the stacks of all streams
	var (
		size   int
		stream bool // too much to hold: emit as it comes
		feeds  bool
		last   uint64
		doubt  inParts
		groups regroups
	)
	end, floor, err := s.reader.Read(watched, s.cursor, func(r *journal.Record) error {
		alive()
		feeds = feeds || r.Attach
		groups.add(r.Regroup)
		if r.Tx != last {
			s.transactions, last = s.transactions+1, r.Tx
		}
		if stream {
			doubt.add(r)
			s.emit(r)
			return nil
		}
		batch = append(batch, r)
		if size += r.Size(); size > s.limit {
			// Nothing is served from memory meanwhile: it would leave out what is emitted.
			s.tail.Start(s.cursor, 0)
			stream = true
			s.bus.SetStale() // who else is concerned comes after what may have been committed later
			for _, r := range batch {
				doubt.add(r)
			}
			s.emit(batch...)
			batch = nil
		}
		return nil
	})
	if gap := journal.Gap(""); errors.As(err, &gap) {
		s.log.Warn("continuity can't be proved, resetting all scopes", "reason", gap.Error())
		stop() // what follows takes its own time
		end, disconnects, err := s.fill(ctx)
		if err != nil {
			return err
		}
		for _, r := range disconnects {
			if r.At.After(s.lastCaughtUp().Add(-time.Minute)) { // the clocks may differ; once too often does no harm
				s.emit(r)
			}
		}
		s.bus.Reset(nil, bus.ChangeEvent{Reason: gap.Error()})
		s.advance(end)
		return s.loadFeeds(ctx) // who knows what was attached meanwhile
	}
	if err != nil {
		return because(watched, "read the journal", err)
	}
	if stream {
		s.emit(doubt.resets()...)
	}
	batch = s.reader.InOrder(batch)
	if stream {
		s.tail.Start(end, 0)
	}
	s.tail.Add(batch, end, floor)
	groups.tell(s.bus)
	s.emit(batch...)
	s.advance(end)
	s.batch = emptied(batch)
	if feeds {
		return s.loadFeeds(ctx)
	}
	return nil
}

// fill begins anew: it puts the journal as it is into memory, for clients that
// come back, and returns the cursor from which to go on, and who was disconnected.
// It emits nothing.
func (s *session) fill(ctx context.Context) (end journal.Cursor, disconnects []*journal.Record, err error) {
	ctx, alive, stop := s.watch(ctx)
	defer stop()
	s.tail.Start(journal.Cursor{}, 0)
	from, err := journal.Floor(ctx, s.conn)
	if err != nil {
		return from, nil, because(ctx, "read the journal", err)
	}
	var (
		recent []*journal.Record
		size   int
		shed   uint64
	)
	var floor journal.Cursor
	end, floor, err = s.reader.Read(ctx, from, func(r *journal.Record) error {
		alive()
		if r.Disconnect != nil {
			disconnects = append(disconnects, r)
		}
		recent = append(recent, r)
		if size += r.Size(); size < 2*s.limit {
			return nil
		}
		for size > s.limit { // the newest are what clients come back for
			size -= recent[0].Size()
			shed = max(shed, recent[0].Tx)
			recent = recent[1:]
		}
		recent = slices.Clone(recent)
		return nil
	})
	if err != nil {
		return end, nil, because(ctx, "read the journal", err)
	}
	s.tail.Start(from, shed)
	s.bus.SetStale() // who is concerned of those that wait, or stayed
	s.tail.Add(s.reader.InOrder(recent), end, floor)
	return end, disconnects, nil
}

// regroups gathers whose groups one reading says may be others.
type regroups struct {
	users []string
	all   bool
}

// maxRegrouped is how many users are told apart: of more, it is cheaper to ask for all who
// have a stream.
const maxRegrouped = 10_000

func (g *regroups) add(r *journal.Regroup) {
	if r == nil || g.all {
		return
	}
	g.users = append(g.users, r.Users...)
	if g.all = r.All || len(g.users) > maxRegrouped; g.all {
		g.users = nil
	}
}

// tell has them asked for again. It comes before anything of the reading is emitted, for a
// change that was committed after a regrouping may stand before it; and after the tail has
// the reading: a stream that begins later finds the regrouping there.
func (g *regroups) tell(b *bus.Bus) {
	switch {
	case g.all:
		b.RegroupAll()
	case len(g.users) > 0:
		slices.Sort(g.users)
		b.Regroup(slices.Compact(g.users)...)
	}
}

func (s *session) advance(to journal.Cursor) {
	s.cursor = to
	s.bus.Advance(to.String())
}

func (s *session) emit(records ...*journal.Record) {
	for _, r := range records {
		s.records.Add(1)
		if r.Position != "" && r.Position != s.bus.Position() {
			s.bus.Advance(r.Position)
		}
		if s.cfg.OnRecord != nil {
			s.cfg.OnRecord(*r)
		}
		if d := r.Disconnect; d != nil {
			s.disconnect(*d)
			continue
		}
		if r.Reset == nil {
			s.events = r.AppendEvents(s.events)
			for _, e := range s.events {
				s.bus.Emit(e)
			}
			s.events = emptied(s.events)
			continue
		}
		if r.Reset.Reason == journal.ReasonUnreadable {
			s.log.Error("a journal record can't be read, resetting its scopes", "lsn", r.LSN, "table", r.Table)
		}
		if len(r.Reset.Templates) > 0 {
			s.bus.Reset(r.Reset.Matches, r.ResetEvent())
		}
	}
}

// emptied returns a slice for the same use once more, unless it's a large one.
func emptied[T any](s []T) []T {
	if cap(s) > 1024 {
		return nil
	}
	clear(s)
	return s[:0]
}

// disconnect ends streams.
func (s *session) disconnect(d journal.Disconnect) {
	var scopes []string
	if d.Scope != "" {
		scopes = []string{d.Scope}
	}
	s.log.Info("disconnecting a user", "streams", s.bus.CloseUser(d.UserID, scopes...))
}
