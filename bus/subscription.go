package bus

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrClosed is what Next returns once the subscription has ended and all that was
// queued has been read.
var ErrClosed = errors.New("subscription closed")

// Subscription is a queue of events. Next, TryNext, Wake, Drained and Closed are
// for one reader at a time; Close may be called by anyone.
type Subscription struct {
	bus          *Bus
	conn         *Connection // nil if none was given; not modified
	onDisconnect func(scope string, c Connection)
	start        string
	wake         chan struct{}

	// Guarded by the bus's mu.
	regs          []registration // one for each scope
	inAll, inUser int            // places in the bus's groups

	mu     sync.Mutex
	queue  queue
	closed bool

	// Events that found the queue full leave their scope in lost, and one mark for
	// all of them in the queue: ahead events are to be read before the resets.
	lost   map[string]string // scope to reason
	ahead  int
	cursor string // of the event that set the mark

	// The resets of a mark that was reached. They are kept apart from lost: were
	// new drops to join them, a reader slower than the emitter would get nothing
	// but resets.
	owed []ChangeEvent
}

// registration is a subscription's place in one scope.
type registration struct {
	scope           string
	inScope, inUser int
}

func (s *Subscription) userID() string {
	if s.conn == nil {
		return ""
	}
	return s.conn.UserID
}

// push queues e, and reports false if there was no room: e is dropped and its
// scope will be reset. A reset that finds no room is not lost, and no drop.
func (s *Subscription) push(e *ChangeEvent) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return true
	}
	ok := s.queue.push(e, s.bus.size)
	if !ok {
		s.lose(e)
	}
	s.mu.Unlock()
	s.signal()
	return ok || e.Op == OpReset
}

// lose notes that e's scope must be reset.
func (s *Subscription) lose(e *ChangeEvent) {
	if len(s.lost) == 0 {
		s.lost = make(map[string]string)
		s.ahead = s.queue.n
		// Not the cursor of a later drop: that may cover an event which was queued
		// behind the mark and is read only after the resets.
		s.cursor = e.Cursor
	}
	if _, ok := s.lost[e.Scope]; ok {
		return
	}
	s.lost[e.Scope] = ReasonOverflow
	if e.Op == OpReset {
		s.lost[e.Scope] = e.Reason
	}
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns the next event, if there is one, else whether the end was reached.
func (s *Subscription) take() (e ChangeEvent, ok, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owed) == 0 && len(s.lost) > 0 && s.ahead == 0 {
		s.owe()
	}
	switch {
	case len(s.owed) > 0:
		e, s.owed = s.owed[0], s.owed[1:]
		return e, true, false
	case s.queue.n > 0:
		if len(s.lost) > 0 {
			s.ahead--
		}
		return *s.queue.pop(), true, false
	}
	s.owed = nil
	return ChangeEvent{}, false, s.closed
}

// owe turns lost into the resets to deliver now, in the order of the scopes.
func (s *Subscription) owe() {
	s.owed = make([]ChangeEvent, 0, len(s.lost))
	now := time.Now()
	for i := range s.regs {
		name := s.regs[i].scope
		if reason, ok := s.lost[name]; ok {
			s.owed = append(s.owed, ChangeEvent{Scope: name, Op: OpReset, Reason: reason, At: now, Cursor: s.cursor})
		}
	}
	s.lost, s.cursor = nil, ""
}

// Next returns the next event, waiting for one if there is none. What is queued
// comes first, even if ctx is done or the subscription has ended; then ErrClosed if
// it has ended, or the cause of ctx. The latter does not end the subscription.
func (s *Subscription) Next(ctx context.Context) (ChangeEvent, error) {
	for {
		e, ok, ended := s.take()
		switch {
		case ok:
			return e, nil
		case ended:
			return ChangeEvent{}, ErrClosed
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ChangeEvent{}, context.Cause(ctx)
		}
	}
}

// TryNext returns the next event if there is one, without waiting.
func (s *Subscription) TryNext() (ChangeEvent, bool) {
	e, ok, _ := s.take()
	return e, ok
}

// Wake returns a channel that receives after something was queued or the
// subscription ended, for a reader that waits for other things as well. It holds
// one token for all that happened since: after it, call TryNext until it has no
// more, then look at Closed.
func (s *Subscription) Wake() <-chan struct{} { return s.wake }

// Drained returns a position of the bus up to which the reader has taken all that
// this subscription was sent. It reports false while anything is queued or a reset
// is owed, once the subscription has ended, and before the bus's first Advance.
func (s *Subscription) Drained() (position string, ok bool) {
	// Before the look into the queue, not after: all that the position covers was
	// queued by then, and is taken if the queue is found empty.
	position = s.bus.Position()
	s.mu.Lock()
	defer s.mu.Unlock()
	if position == "" || s.closed || s.pending() {
		return "", false
	}
	return position, true
}

// Closed reports whether the subscription has ended and all has been read.
func (s *Subscription) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed && !s.pending()
}

// pending reports whether there is something to take.
func (s *Subscription) pending() bool {
	return s.queue.n > 0 || len(s.owed) > 0 || len(s.lost) > 0
}

// Start returns the bus's position at which the subscription was registered.
func (s *Subscription) Start() string { return s.start }

// Close ends the subscription: nothing more is queued, what is queued can still be
// read. It may be called any number of times and from any goroutine.
func (s *Subscription) Close() {
	if s.end() {
		s.disconnected()
	}
}

// end ends the subscription and reports whether this call did it.
func (s *Subscription) end() bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	// Before it leaves the index: else Drained could vouch for a position that
	// covers an event which no longer found the subscription there.
	s.closed = true
	s.mu.Unlock()
	s.bus.remove(s)
	s.signal()
	return true
}

// disconnected runs the hook of an ended subscription.
func (s *Subscription) disconnected() {
	if s.onDisconnect == nil {
		return
	}
	var c Connection
	if s.conn != nil {
		c = *s.conn
	}
	for i := range s.regs {
		name := s.regs[i].scope
		s.bus.guard("OnDisconnect", name, func() { s.onDisconnect(name, c) })
	}
}
