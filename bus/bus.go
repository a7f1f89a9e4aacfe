package bus

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

const defaultQueueSize = 256

// Config tunes a Bus. The zero value is ready to use.
type Config struct {
	// QueueSize is how many events a subscription holds for a reader that is
	// behind; 0 means 256.
	QueueSize int

	// OnDrop, if set, is called once for each subscriber whose queue had no room
	// for e, by the goroutine that emits and after e went to all others. No lock is
	// held: it may call back into the Bus, though emitting to a scope from its own
	// drop recurses. A panic is logged and goes no further.
	OnDrop func(scope string, e ChangeEvent)

	// OnReset, if set, is called once for each Reset with what was delivered, but for
	// its Scope, and to how many scopes; by the goroutine that resets and after all
	// have it. No lock is held. A panic is logged and goes no further.
	OnReset func(e ChangeEvent, scopes int)

	Logger *slog.Logger // nil discards
}

// Bus delivers events to the subscriptions of their scope. All methods are safe
// for concurrent use. It has no goroutine and needs no shutdown.
type Bus struct {
	size    int
	onDrop  func(scope string, e ChangeEvent)
	onReset func(e ChangeEvent, scopes int)
	log     *slog.Logger

	emitted, delivered, drops atomic.Uint64
	position                  atomic.Pointer[string]

	// mu guards the index, which is written by add and remove only. It is held for
	// lookups, never while events are delivered or hooks run, and never together
	// with a Subscription's mu.
	mu            sync.Mutex
	all           group
	scopes        index[string, *scope]
	users         index[string, *group]
	scopeUsers    index[scopeUser, *group]
	teams         index[string, *team]
	observed      index[string, []*observer]
	registrations int
	grouped       int // subscriptions that are in a team

	observing atomic.Int64 // how many scopes of observers

	regroups atomic.Uint64 // counts calls of Regroup, RegroupAll and SetStale
}

// scope is what the bus knows of a scope while it has subscribers.
type scope struct {
	group
	warn throttle
}

type scopeUser struct{ scope, user string }

// New returns a Bus. It refuses a QueueSize below 0.
func New(cfg Config) (*Bus, error) {
	if cfg.QueueSize < 0 {
		return nil, fmt.Errorf("queue size %d: must be >= 1, or 0 for the default of %d", cfg.QueueSize, defaultQueueSize)
	}
	b := &Bus{size: cfg.QueueSize, onDrop: cfg.OnDrop, onReset: cfg.OnReset, log: cfg.Logger}
	if b.size == 0 {
		b.size = defaultQueueSize
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	return b, nil
}

// Emit puts e into the queue of each subscription of its scope that e's audience
// admits, and stamps it with the bus's position. It returns once that is done and
// waits for no reader: a subscription whose queue is full gets a reset in e's
// place, later. An event with OpReset goes to all subscribers of the scope,
// stripped as by Reset.
func (b *Bus) Emit(e ChangeEvent) {
	b.emitted.Add(1)
	if e.Op == OpReset {
		e = asReset(e)
	}
	e.Cursor = b.Position()
	b.tell(e.Scope)
	switch {
	case e.Audience.more != nil:
		b.emitToGroups(e)
		return
	case e.Audience.only:
		b.emitTo(e.Audience.users, e)
		return
	}
	b.mu.Lock()
	sc := b.scopes.m[e.Scope]
	var to []slot
	if sc != nil {
		to = sc.lend()
	}
	b.mu.Unlock()
	if sc == nil {
		return
	}
	d := &Delivery{Event: e}
	b.delivered.Add(uint64(len(to)))
	b.dropped(sc, &d.Event, deliver(d, to))
}

// emitTo delivers e to the subscriptions that users have on its scope, found user
// by user, so that an event for one costs the same however many others listen.
func (b *Bus) emitTo(users []string, e ChangeEvent) {
	var (
		d     *Delivery
		sc    *scope
		room  [8][]slot
		drops int
	)
	for some := range slices.Chunk(users, 256) { // so that mu is not held for long
		to := room[:0]
		b.mu.Lock()
		if now := b.scopes.m[e.Scope]; now != nil {
			sc = now
			for _, u := range some {
				if g := b.scopeUsers.m[scopeUser{e.Scope, u}]; g != nil {
					to = append(to, g.lend())
				}
			}
		}
		b.mu.Unlock()
		if len(to) > 0 && d == nil {
			d = &Delivery{Event: e}
		}
		for _, slots := range to {
			b.delivered.Add(uint64(len(slots)))
			drops += deliver(d, slots)
		}
	}
	if drops > 0 {
		b.dropped(sc, &d.Event, drops)
	}
}

// deliver queues d for each, and returns how many had no room for it.
func deliver(d *Delivery, to []slot) (drops int) {
	for _, sl := range to {
		if !sl.sub.push(d) {
			drops++
		}
	}
	return drops
}

// Reset puts a reset made from e into the queue of each scope that has a
// subscriber now and for which match holds; a nil match holds for all. Of e only
// table, reason, time and transaction are kept: a reset is for all subscribers and
// tells nothing of a row or of who wrote it. A concurrent Subscribe comes before it
// with all its scopes or after it with all. match is called without a lock.
func (b *Bus) Reset(match func(scope string) bool, e ChangeEvent) {
	type target struct {
		scope string
		to    []slot
	}
	e = asReset(e)
	e.Cursor = b.Position()
	b.tellAll(match)

	b.mu.Lock()
	targets := make([]target, 0, len(b.scopes.m))
	for name, sc := range b.scopes.m {
		targets = append(targets, target{name, sc.lend()})
	}
	b.mu.Unlock()

	n := 0
	for _, t := range targets {
		if match == nil || match(t.scope) {
			d := &Delivery{Event: e}
			d.Event.Scope = t.scope
			deliver(d, t.to)
			n++
		}
	}
	if b.onReset != nil {
		e.Scope = ""
		b.guard("OnReset", "", func() { b.onReset(e, n) })
	}
}

// Advance moves the bus's position to cursor. The caller says by it that all that
// cursor covers has been emitted: each such Emit has returned.
func (b *Bus) Advance(cursor string) { b.position.Store(&cursor) }

// Position returns what was last given to Advance, "" before the first.
func (b *Bus) Position() string {
	if p := b.position.Load(); p != nil {
		return *p
	}
	return ""
}

// Stats are counts of a Bus since it was made, and its present size.
type Stats struct {
	Emitted       uint64 // calls of Emit, heard by anyone or not
	Delivered     uint64 // of an emit, one to each subscription that it was for
	Dropped       uint64 // deliveries, not emits, for which a queue had no room
	Subscribers   int    // a subscription to 5 scopes counts 5
	Subscriptions int
	Grouped       int // subscriptions whose users are in a group
	Scopes        int // scopes with a subscriber
	Groups        int // groups of which a user subscribes
}

// Stats returns the present counts.
func (b *Bus) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{
		Emitted:       b.emitted.Load(),
		Delivered:     b.delivered.Load(),
		Dropped:       b.drops.Load(),
		Subscribers:   b.registrations,
		Subscriptions: len(b.all.slots),
		Grouped:       b.grouped,
		Scopes:        len(b.scopes.m),
		Groups:        len(b.teams.m),
	}
}
