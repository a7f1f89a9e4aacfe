package bus

import (
	"maps"
	"slices"
)

// minShrink is the size below which an index or a group never gives memory back:
// there is little to gain.
const minShrink = 64

// index is a map that gives memory back when most of its keys have gone, which
// Go's maps never do.
type index[K comparable, V any] struct {
	m    map[K]V
	peak int // most keys since m was made
}

func (x *index[K, V]) put(k K, v V) {
	if x.m == nil {
		x.m = make(map[K]V)
	}
	x.m[k] = v
	x.peak = max(x.peak, len(x.m))
}

func (x *index[K, V]) remove(k K) {
	delete(x.m, k)
	if x.peak < minShrink || len(x.m) > x.peak/4 {
		return
	}
	m := make(map[K]V, len(x.m))
	maps.Copy(m, x.m)
	x.m, x.peak = m, len(m)
}

// slot is a subscription's place in a group.
type slot struct {
	sub *Subscription
	at  *int // where the subscription notes the slot's index
}

// group is a set of subscriptions that can be walked without a lock: what lend
// returned is never written to again.
type group struct {
	slots []slot
	lent  bool // slots has been lent since it was last copied
}

// add puts s into the group and notes its place in at. It writes only behind what
// was lent.
func (g *group) add(s *Subscription, at *int) {
	*at = len(g.slots)
	g.slots = append(g.slots, slot{s, at})
}

// remove takes out the slot at i, and puts the last one into its place.
func (g *group) remove(i int) {
	last := len(g.slots) - 1
	if g.lent || cap(g.slots) >= minShrink && last < cap(g.slots)/4 {
		g.slots, g.lent = slices.Clone(g.slots), false
	}
	g.slots[i] = g.slots[last]
	*g.slots[i].at = i
	g.slots[last] = slot{}
	g.slots = g.slots[:last]
}

// lend returns the group's present members, to be read without the lock.
func (g *group) lend() []slot {
	g.lent = true
	return g.slots
}
