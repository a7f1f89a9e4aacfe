package bus

import (
	"testing"

	"pgregory.net/rapid"
)

// What was lent must not change: an emitter reads it without the lock.
func TestLentMembersNeverChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type member struct {
			sub *Subscription
			at  int
		}
		type loan struct{ slots, copied []slot }
		var (
			g       group
			members []*member
			loans   []loan
		)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(*rapid.T) {
				m := &member{sub: new(Subscription)}
				g.add(m.sub, &m.at)
				members = append(members, m)
			},
			"remove": func(t *rapid.T) {
				if len(members) == 0 {
					t.Skip("empty")
				}
				i := rapid.IntRange(0, len(members)-1).Draw(t, "member")
				g.remove(members[i].at)
				members = append(members[:i], members[i+1:]...)
			},
			"lend": func(*rapid.T) {
				slots := g.lend()
				loans = append(loans, loan{slots, append([]slot(nil), slots...)})
			},
			"": func(t *rapid.T) {
				if len(g.slots) != len(members) {
					t.Fatalf("got %d members, want %d", len(g.slots), len(members))
				}
				for _, m := range members {
					if g.slots[m.at].sub != m.sub {
						t.Fatal("a member is not where it notes")
					}
				}
				for _, l := range loans {
					for i := range l.copied {
						if l.slots[i] != l.copied[i] {
							t.Fatal("a loan changed")
						}
					}
				}
			},
		})
	})
}

func TestIndexAndGroupGiveMemoryBack(t *testing.T) {
	var x index[int, int]
	var g group
	const n = 10_000
	at := make([]int, n)
	for i := range n {
		x.put(i, i)
		g.add(new(Subscription), &at[i])
	}
	for i := range n - 5 {
		x.remove(i)
		g.remove(at[i])
	}
	if len(x.m) != 5 || x.peak > minShrink {
		t.Errorf("index: %d keys after a peak of %d, want 5 and at most %d", len(x.m), x.peak, minShrink)
	}
	for i := n - 5; i < n; i++ {
		if x.m[i] != i {
			t.Errorf("index: got %d, want %d", x.m[i], i)
		}
	}
	if len(g.slots) != 5 || cap(g.slots) > 2*minShrink {
		t.Errorf("group: %d slots, room for %d; want 5, at most %d", len(g.slots), cap(g.slots), 2*minShrink)
	}
}

func TestQueueIsAFIFOWithinItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 100).Draw(t, "limit")
		var q queue
		var want []*Delivery
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(1, 60).Draw(t, "times") {
					e := new(Delivery)
					if ok := q.push(e, limit); ok != (len(want) < limit) {
						t.Fatalf("push with %d of %d: got %v", len(want), limit, ok)
					} else if ok {
						want = append(want, e)
					}
				}
			},
			"pop": func(t *rapid.T) {
				for range rapid.IntRange(1, 60).Draw(t, "times") {
					if len(want) == 0 {
						return
					}
					if q.pop() != want[0] {
						t.Fatal("not the oldest")
					}
					want = want[1:]
				}
			},
			"": func(t *rapid.T) {
				if q.n != len(want) || len(q.ring) > limit {
					t.Fatalf("got %d events in room for %d, want %d in at most %d", q.n, len(q.ring), len(want), limit)
				}
				if q.n == 0 && len(q.ring) > queueKeep {
					t.Fatalf("an empty queue keeps room for %d", len(q.ring))
				}
				held := 0
				for _, e := range q.ring {
					if e != nil {
						held++
					}
				}
				if held != q.n {
					t.Fatalf("the ring holds on to %d events, want %d", held, q.n)
				}
			},
		})
	})
}
