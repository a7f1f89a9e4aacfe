package faults

import (
	"slices"
	"sync"
	"time"
)

// fate is what became of the transaction of a change, as its writer knows.
type fate int

const (
	pending    fate = iota
	rolledBack      // by the writer, or before COMMIT was sent: it never happened
	answered        // COMMIT was answered
	unanswered      // the connection broke while COMMIT was under way: the ledger tells
)

// op is one change that a writer made or tried to make.
type op struct {
	id    int64
	wants []want
	fate  fate

	before, after time.Time // COMMIT was sent, and answered or lost

	// What the ledger holds of it.
	committed   bool
	xid         uint64
	incarnation string
}

// want is what the subscribers of one scope must get of a change.
type want struct {
	ident   string // of the event; empty: only a reset will do
	scope   string
	readers []string // who may see it; nil is everyone
}

func (w want) readableBy(user string) bool {
	return w.readers == nil || slices.Contains(w.readers, user)
}

// place is where an event arrives.
type place struct{ ident, scope string }

// history is all that writers did. Its methods may be called from any goroutine.
type history struct {
	mu   sync.Mutex
	ops  []*op
	last int64
	at   map[place]*op

	answered int           // ops so far
	more     chan struct{} // closed at the next that is answered
}

// newHistory returns an empty one, whose numbers come after those of a former one.
func newHistory(former *history) *history {
	h := &history{at: map[place]*op{}, more: make(chan struct{})}
	if former != nil {
		h.last = former.last
	}
	return h
}

// begin returns a new change, pending, with a number that no other change and no
// row has.
func (h *history) begin() *op {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	o := &op{id: h.last}
	h.ops = append(h.ops, o)
	return o
}

// ids returns n numbers in a row that nothing else has, the first of them.
func (h *history) ids(n int) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.last + 1
	h.last += int64(n)
	return first
}

// want notes what o must cause, before its COMMIT is sent.
func (h *history) want(o *op, wants ...want) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range wants {
		o.wants = append(o.wants, w)
		if w.ident != "" {
			h.at[place{w.ident, w.scope}] = o
		}
	}
}

// end notes what became of ops.
func (h *history) end(ops []*op, f fate, before, after time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range ops {
		o.fate, o.before, o.after = f, before, after
	}
	if f == answered {
		h.answered += len(ops)
		close(h.more)
		h.more = make(chan struct{})
	}
}

// progress returns how many changes were committed, and what is closed when there are more.
func (h *history) progress() (int, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.answered, h.more
}

// committed returns the numbers of the changes of which COMMIT was answered.
func (h *history) committed() (ids []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.ops {
		if o.fate == answered {
			ids = append(ids, o.id)
		}
	}
	return ids
}

// entry is a row of the ledger table.
type entry struct {
	op          int64
	xid         uint64
	incarnation string
}

// settle notes which changes the database holds in the end.
func (h *history) settle(ledger []entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := map[int64]entry{}
	for _, e := range ledger {
		held[e.op] = e
	}
	for _, o := range h.ops {
		e, ok := held[o.id]
		o.committed, o.xid, o.incarnation = ok, e.xid, e.incarnation
	}
}

// wanted returns the change that an event speaks of, and what was to arrive of it.
func (h *history) wanted(p place) (*op, want) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.at[p]
	if o == nil {
		return nil, want{}
	}
	i := slices.IndexFunc(o.wants, func(w want) bool { return place{w.ident, w.scope} == p })
	return o, o.wants[i]
}
