package bus_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgbell/pgbell/bus"
)

// reader is a subscription, with what the model knows of it.
type reader struct {
	sub    *bus.Subscription
	user   string
	scopes []string
	open   bool
	owed   map[uint64]*owed // by the number of the event
	last   uint64           // number of the last event read
}

type owed struct {
	scope         string
	read, covered bool // covered by a reset that was read after the event was emitted
}

func (r *reader) hears(scope string, a bus.Audience) bool {
	return r.open && slices.Contains(r.scopes, scope) && a.Allows(r.user)
}

// read takes one event, if there is one, and checks it.
func (r *reader) read(t *rapid.T) bool {
	e, ok := r.sub.TryNext()
	if !ok {
		return false
	}
	if e.Op == bus.OpReset {
		for _, o := range r.owed {
			o.covered = o.covered || o.scope == e.Scope
		}
		return true
	}
	o := r.owed[e.Tx]
	if o == nil || o.read || o.scope != e.Scope {
		t.Fatalf("%q got event %d of %s: twice, or not meant for it", r.user, e.Tx, e.Scope)
	}
	if e.Tx < r.last {
		t.Fatalf("%q got event %d after event %d", r.user, e.Tx, r.last)
	}
	o.read, r.last = true, e.Tx
	return true
}

// Over random histories each event arrives once, in order, at whom its audience
// admits, or a later reset of its scope does; and what did not arrive was counted.
func TestEachEventArrivesOrALaterResetDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, err := bus.New(bus.Config{QueueSize: rapid.IntRange(1, 4).Draw(t, "size")})
		if err != nil {
			t.Fatal(err)
		}
		scope := rapid.SampledFrom([]string{"s", "t", "u"})
		user := rapid.SampledFrom([]string{"", "a", "b", "c"})
		var readers []*reader
		var emitted uint64
		some := func(t *rapid.T) *reader {
			if len(readers) == 0 {
				t.Skip("no subscription yet")
			}
			return rapid.SampledFrom(readers).Draw(t, "reader")
		}
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": func(t *rapid.T) {
				r := &reader{user: user.Draw(t, "user"), open: true, owed: map[uint64]*owed{}}
				r.scopes = rapid.SliceOfN(scope, 0, 3).Draw(t, "scopes")
				r.sub = b.Subscribe(r.scopes, as(r.user))
				readers = append(readers, r)
			},
			"emit": func(t *rapid.T) {
				emitted++
				e := bus.ChangeEvent{Scope: scope.Draw(t, "scope"), Audience: anyAudience.Draw(t, "audience"), Tx: emitted}
				for _, r := range readers {
					if r.hears(e.Scope, e.Audience) {
						r.owed[e.Tx] = &owed{scope: e.Scope}
					}
				}
				b.Emit(e)
			},
			"reset": func(t *rapid.T) {
				only := scope.Draw(t, "scope")
				b.Reset(func(s string) bool { return s == only }, bus.ChangeEvent{})
			},
			"read": func(t *rapid.T) { some(t).read(t) },
			"leave": func(t *rapid.T) {
				r := some(t)
				r.sub.Close()
				r.open = false
			},
			"close": func(t *rapid.T) {
				s := scope.Draw(t, "scope")
				b.Close(s)
				for _, r := range readers {
					r.open = r.open && !slices.Contains(r.scopes, s)
				}
			},
			"close user": func(t *rapid.T) {
				u, want := user.Draw(t, "user"), 0
				for _, r := range readers {
					if r.open && u != "" && r.user == u {
						r.open = false
						want++
					}
				}
				if n := b.CloseUser(u); n != want {
					t.Fatalf("CloseUser: got %d, want %d", n, want)
				}
			},
			"": func(t *rapid.T) {
				want := bus.Stats{Emitted: emitted, Delivered: b.Stats().Delivered, Dropped: b.Stats().Dropped}
				scopes := map[string]bool{}
				for _, r := range readers {
					if !r.open {
						continue
					}
					want.Subscriptions++
					unique := slices.Compact(slices.Sorted(slices.Values(r.scopes)))
					want.Subscribers += len(unique)
					for _, s := range unique {
						scopes[s] = true
					}
				}
				want.Scopes = len(scopes)
				if got := b.Stats(); got != want {
					t.Fatalf("stats: got %+v, want %+v", got, want)
				}
			},
		})
		dropped := uint64(0)
		for _, r := range readers {
			for r.read(t) {
			}
			for n, o := range r.owed {
				if o.read {
					continue
				}
				dropped++
				if !o.covered {
					t.Fatalf("%q got neither event %d of %s nor a later reset", r.user, n, o.scope)
				}
			}
			if r.sub.Closed() == r.open {
				t.Fatalf("%q closed: got %v, want %v", r.user, r.sub.Closed(), !r.open)
			}
		}
		if got := b.Stats().Dropped; got != dropped {
			t.Fatalf("got %d dropped, want %d", got, dropped)
		}
	})
}
