package bus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is what Next returns once the subscription has ended and all that was
// queued has been read.
var ErrClosed = errors.New("subscription closed")

// Subscription is a queue of events. Next, TryNext, TryTake, Wake, Drained, Ended and
// Closed are for one reader at a time; Close may be called by anyone.
type Subscription struct {
	bus          *Bus
	conn         *Connection // nil if none was given; not modified
	onDisconnect func(scope string, c Connection)
	start        string
	call         func()        // instead of wake
	wake         chan struct{} // nil if there is call

	// Guarded by the bus's mu.
	regs          []registration // one for each scope
	inAll, inUser int            // places in the bus's groups
	places        []uint32       // in the teams, by their order there

	teams atomic.Pointer[[]*team] // the user's, by name; written under the bus's mu, the slice never again
	stale atomic.Uint64           // see Stale

	regrouped atomic.Uint64 // see Regrouped

	closed atomic.Bool // set under mu, so that it holds still there

	mu    sync.Mutex
	queue queue

	// Events that found the queue full leave their scope in lost, and one mark for
	// all of them in the queue: ahead events are to be read before the resets.
	lost   map[string]string // scope to reason
	ahead  int
	cursor string // of the event that set the mark

	// The resets of a mark that was reached. They are kept apart from lost: were
	// new drops to join them, a reader slower than the emitter would get nothing
	// but resets.
	owed []*Delivery
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

// push queues d, and reports false if there was no room: its event is dropped and
// the scope will be reset. A reset that finds no room is not lost, and no drop.
func (s *Subscription) push(d *Delivery) bool {
	s.mu.Lock()
	if s.closed.Load() {
		s.mu.Unlock()
		return true
	}
	// Else who queued the first has signalled, and the reader does not wait again
	// before it has taken all.
	first := s.queue.n == 0
	ok := s.queue.push(d, s.bus.size)
	if !ok {
		s.lose(&d.Event)
	}
	s.mu.Unlock()
	if first {
		s.signal()
	}
	return ok || d.Event.Op == OpReset
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
	if s.call != nil {
		s.call()
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns the next event, if there is one, else nil and whether the end was
// reached.
func (s *Subscription) take() (d *Delivery, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owed) == 0 && len(s.lost) > 0 && s.ahead == 0 {
		s.owe()
	}
	switch {
	case len(s.owed) > 0:
		d, s.owed = s.owed[0], s.owed[1:]
		return d, false
	case s.queue.n > 0:
		if len(s.lost) > 0 {
			s.ahead--
		}
		return s.queue.pop(), false
	}
	s.owed = nil
	return nil, s.closed.Load()
}

// owe turns lost into the resets to deliver now, in the order of the scopes.
func (s *Subscription) owe() {
	s.owed = make([]*Delivery, 0, len(s.lost))
	now := time.Now()
	for i := range s.regs {
		name := s.regs[i].scope
		if reason, ok := s.lost[name]; ok {
			reset := ChangeEvent{Scope: name, Op: OpReset, Reason: reason, At: now, Cursor: s.cursor}
			s.owed = append(s.owed, &Delivery{Event: reset})
		}
	}
	s.lost, s.cursor = nil, ""
}

// Next returns the next event, waiting for one if there is none. What is queued
// comes first, even if ctx is done or the subscription has ended; then ErrClosed if
// it has ended, or the cause of ctx. The latter does not end the subscription. It
// is not for a subscription with Options.Wake.
func (s *Subscription) Next(ctx context.Context) (ChangeEvent, error) {
	for {
		d, ended := s.take()
		switch {
		case d != nil:
			return d.Event, nil
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
	if d, _ := s.take(); d != nil {
		return d.Event, true
	}
	return ChangeEvent{}, false
}

// TryTake is TryNext for a reader that makes of each event what others make of it,
// too: see [Delivery.Memo]. It returns nil if there is none.
func (s *Subscription) TryTake() *Delivery {
	d, _ := s.take()
	return d
}

// Wake returns a channel that receives after something was queued or the
// subscription ended, for a reader that waits for other things as well. It holds
// one token for all that happened since: after it, call TryNext until it has no
// more, then look at Closed. It is nil if there is Options.Wake.
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
	if position == "" || s.closed.Load() || s.pending() {
		return "", false
	}
	return position, true
}

// Closed reports whether the subscription has ended and all has been read.
func (s *Subscription) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed.Load() && !s.pending()
}

// Ended reports whether the subscription has ended, all read or not.
func (s *Subscription) Ended() bool { return s.closed.Load() }

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
	if s.closed.Load() {
		s.mu.Unlock()
		return false
	}
	// Before it leaves the index: else Drained could vouch for a position that
	// covers an event which no longer found the subscription there.
	s.closed.Store(true)
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
