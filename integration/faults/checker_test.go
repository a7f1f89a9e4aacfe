package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// report is what check found.
type report struct {
	conns    int
	frames   int // events and resets that arrived
	resets   int
	repeats  int // events that came again, or that the page had
	again    int // connections by which some did
	merged   int // that stood for several changes
	twice    int // those of them that came again within one connection
	byEvent  int // committed changes, per subscription and scope, that their event told
	byReset  int // that a later reset told
	unproven int // that a reset told which came while COMMIT was under way: see check
	wrong    []string
}

func (r *report) fault(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

func (r *report) String() string {
	return fmt.Sprintf("%d connections, %d frames, %d of them resets, %d for several changes, %d repeats by %d connections, %d within one; changes told by their event %d, by a reset %d, unproven %d; %d faults",
		r.conns, r.frames, r.resets, r.merged, r.repeats, r.again, r.twice, r.byEvent, r.byReset, r.unproven, len(r.wrong))
}

// check holds what subs received against what was committed, for each
// subscription and each of its scopes, since its start and across its resumes:
//
//   - a committed change that it may see has its event, or a reset of the scope
//     that arrived after COMMIT was answered. A frame that stands for several changes
//     counts as a reset, for a client that asked to coalesce. Another change of the same row is no
//     excuse. A reset that arrived between the sending of COMMIT and its answer may
//     have come before the commit or after it: those are counted apart.
//   - what a page had read in the snapshot of its cursor is not wanted again
//   - no event is of a transaction that was rolled back, of a scope that was not
//     asked for, or for other readers; an update for somebody who lost the row
//     says nothing of what it is now, and a reset nothing of any row
//   - an event of a transaction that a crash of the database undid is followed by
//     a reset
//   - the versions of one row rise, within one connection and between resets
func check(h *history, subs []*subscription) *report {
	r := new(report)
	for _, s := range subs {
		s.mu.Lock()
		r.conns += s.conns
		c := checking{report: r, history: h, sub: s,
			seen: map[place]int{}, resets: map[string][]time.Time{}, version: map[string]int64{}}
		c.received()
		c.told()
		s.mu.Unlock()
	}
	return r
}

// checking is the check of one subscription.
type checking struct {
	*report
	history *history
	sub     *subscription
	seen    map[place]int          // by which connection, counted from 1
	resets  map[string][]time.Time // arrival, ascending
	undone  []frame                // events of changes that a crash undid
	version map[string]int64       // of a row in a scope
	conn    int

	repeated int // the last connection by which something came again
}

// received looks at the frames: nothing may have come that must not.
func (c *checking) received() {
	for _, f := range c.sub.frames {
		c.frames++
		if f.conn != c.conn {
			c.conn = f.conn
			clear(c.version)
		}
		if f.flaw != "" {
			c.fault("%s: %s: %s", c.sub.name, f.flaw, f.text)
		}
		if !slices.Contains(c.sub.scopes, f.scope) {
			c.fault("LEAK: %s did not ask for %s", c.sub.name, f.scope)
		}
		if f.reset {
			c.report.resets++
			c.resets[f.scope] = append(c.resets[f.scope], f.at)
			for row := range c.version {
				if strings.HasPrefix(row, f.scope+" ") {
					delete(c.version, row)
				}
			}
			continue
		}
		if f.merged {
			c.merged++
			c.resets[f.scope] = append(c.resets[f.scope], f.at)
		}
		if f.ident != "" || !f.merged {
			c.event(f)
		}
	}
	for _, f := range c.undone {
		if last := c.resets[f.scope]; len(last) == 0 || !last[len(last)-1].After(f.at) {
			c.fault("STALE: %s was shown %s at %s, which a crash undid, and got no reset", c.sub.name, f.ident, f.scope)
		}
	}
}

func (c *checking) event(f frame) {
	p := place{f.ident, f.scope}
	o, w := c.history.wanted(p)
	switch {
	case o == nil:
		c.fault("UNKNOWN: %s got %s at %s %s", c.sub.name, f.ident, f.scope, f.text)
		return
	case !w.readableBy(c.sub.user):
		c.fault("LEAK: %s (user %q) got %s at %s, which is for %q", c.sub.name, c.sub.user, f.ident, f.scope, w.readers)
	case o.fate == rolledBack:
		c.fault("UNTRUE: %s got %s at %s, which was rolled back", c.sub.name, f.ident, f.scope)
	case !o.committed:
		c.undone = append(c.undone, f)
	}
	if c.seen[p] > 0 || c.known(o) == yes {
		c.repeats++
		if c.repeated != f.conn {
			c.repeated = f.conn
			c.again++
		}
	}
	if c.seen[p] == f.conn {
		c.twice++
	}
	c.seen[p] = f.conn
	if f.version > 0 {
		row := f.scope + " " + f.row
		if last := c.version[row]; f.version < last || f.version == last && !f.deleted && f.conn == c.conn {
			c.fault("ORDER: %s got version %d of %s after %d", c.sub.name, f.version, row, last)
		}
		c.version[row] = f.version
	}
}

// told looks for what did not come.
func (c *checking) told() {
	for _, o := range c.history.ops {
		if !o.committed {
			continue
		}
		known := c.known(o)
		if known == yes {
			continue
		}
		for _, w := range o.wants {
			if !slices.Contains(c.sub.scopes, w.scope) || !w.readableBy(c.sub.user) {
				continue
			}
			resets := c.resets[w.scope]
			switch {
			case w.ident != "" && c.seen[place{w.ident, w.scope}] > 0:
				c.byEvent++
			case len(resets) > 0 && !resets[len(resets)-1].Before(o.after):
				c.byReset++
			case known == perhaps, slices.ContainsFunc(resets, o.before.Before):
				c.unproven++
			default:
				c.fault("LOST: %s (user %q) was not told of %s at %s: change %d, transaction %s-%d, committed %s; started %s at %s\n%s",
					c.sub.name, c.sub.user, w.ident, w.scope, o.id, o.incarnation, o.xid, clock(o.after),
					clock(c.sub.startedAt), c.sub.startText, c.sub.story(o.after))
			}
		}
	}
}

type answer int

const (
	no answer = iota
	perhaps
	yes
)

// known says whether the subscriber knew of o when it started.
func (c *checking) known(o *op) answer {
	s := c.sub
	switch {
	case s.startedAt.IsZero():
		return yes // never started: nothing was promised
	case s.page != nil:
		if s.page[o.id] {
			return yes
		}
		return no
	case o.before.After(s.startedAt):
		return no
	case o.incarnation == s.start.incarnation:
		if s.start.covers(o) {
			return yes
		}
		return no
	case o.after.Before(s.startedAt):
		return yes
	}
	return perhaps
}

func clock(t time.Time) string { return t.Format("15:04:05.000000") }
