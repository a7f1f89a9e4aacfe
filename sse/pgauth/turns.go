package pgauth

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/pgbell/pgbell/sse"
)

// turns says whose question goes to the database next, so that whoever asks much waits
// for himself alone. No user and no network has the last place: one that others can have
// at once. Questions about live streams come first, but of four turns in a row one is of
// the others. In each of the two kinds the users take turns, and the anonymous by their
// networks.
type turns struct {
	mu      sync.Mutex
	free    int         // places
	most    int         // places of one user, and of one network
	under   map[any]int // questions under way, by user and by netip.Addr
	waiting [2]line     // the second is that of live streams
	live    int         // turns of live streams in a row, while others waited
}

// line is who waits for a turn, with one place in the order for all questions of one
// asker.
type line struct {
	order []any // a user, or the netip.Addr of one who is anonymous
	of    map[any][]*ask
}

// ask is a question that waits, or is under way.
type ask struct {
	user    string
	network netip.Addr // the zero Addr is nobody's
	turn    chan struct{}
}

func newTurns(places int) *turns {
	return &turns{free: places, most: max(1, places-1), under: map[any]int{}, waiting: [2]line{{of: map[any][]*ask{}}, {of: map[any][]*ask{}}}}
}

// take waits for a turn of user's, for who asks. The caller must call done once the
// question is answered.
func (t *turns) take(ctx context.Context, user string, who sse.Asker) (done func(), err error) {
	a := &ask{user, who.Network, make(chan struct{})}
	line := &t.waiting[0]
	if who.Live {
		line = &t.waiting[1]
	}
	t.mu.Lock()
	line.add(a)
	t.next()
	t.mu.Unlock()
	done = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.free++
		t.count(a, -1)
		t.next()
	}
	select {
	case <-a.turn:
		return done, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	waits := line.remove(a)
	t.mu.Unlock()
	if !waits { // its turn came just now
		done()
	}
	return nil, context.Cause(ctx)
}

// next gives the free places to who waits.
func (t *turns) next() {
	for t.free > 0 {
		first, second := 1, 0
		if t.live >= 3 {
			first, second = 0, 1
		}
		kind, a := first, t.waiting[first].pick(t.fits)
		if a == nil {
			kind, a = second, t.waiting[second].pick(t.fits)
		}
		if a == nil {
			return
		}
		if kind == 1 && len(t.waiting[0].order) > 0 {
			t.live++
		} else {
			t.live = 0
		}
		t.free--
		t.count(a, 1)
		close(a.turn)
	}
}

// fits says whether one more question may be under way of those who ask a.
func (t *turns) fits(a *ask) bool {
	return (a.user == "" || t.under[a.user] < t.most) && (!a.network.IsValid() || t.under[a.network] < t.most)
}

func (t *turns) count(a *ask, n int) {
	add := func(who any) {
		if t.under[who] += n; t.under[who] == 0 {
			delete(t.under, who)
		}
	}
	if a.user != "" {
		add(a.user)
	}
	if a.network.IsValid() {
		add(a.network)
	}
}

// asker returns whose place in the order a has.
func (a *ask) asker() any {
	if a.user != "" {
		return a.user
	}
	return a.network
}

func (l *line) add(a *ask) {
	who := a.asker()
	if len(l.of[who]) == 0 {
		l.order = append(l.order, who)
	}
	l.of[who] = append(l.of[who], a)
}

// remove takes a out, or reports false if it does not wait.
func (l *line) remove(a *ask) bool {
	who := a.asker()
	i := slices.Index(l.of[who], a)
	if i < 0 {
		return false
	}
	l.of[who] = slices.Delete(l.of[who], i, i+1)
	if len(l.of[who]) == 0 {
		delete(l.of, who)
		l.order = slices.DeleteFunc(l.order, func(other any) bool { return other == who })
	}
	return true
}

// pick takes out the first that fits, nil if there is none, and puts its asker last.
// Of each asker it looks at the oldest question alone.
func (l *line) pick(fits func(*ask) bool) *ask {
	for i, who := range l.order {
		a := l.of[who][0]
		if !fits(a) {
			continue
		}
		if l.remove(a); len(l.of[who]) > 0 {
			l.order = append(slices.Delete(l.order, i, i+1), who)
		}
		return a
	}
	return nil
}
