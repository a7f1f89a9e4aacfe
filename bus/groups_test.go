package bus_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgbell/pgbell/bus"
)

// in are the options of a user who is in groups.
func in(user string, groups ...string) bus.Options {
	opts := as(user)
	opts.Groups = groups
	return opts
}

func emitTo(b *bus.Bus, scope, name string, a bus.Audience) {
	b.Emit(bus.ChangeEvent{Scope: scope, Op: bus.OpUpdate, Origin: name, Audience: a})
}

func TestGroupsDecideWhoReceives(t *testing.T) {
	b := newBus(t, bus.Config{})
	alice := subscribe(t, b, in("alice", "team:7", "team:8"), "a")
	bob := subscribe(t, b, in("bob", "team:8"), "a", "b")
	twin := subscribe(t, b, as("team:7"), "a") // a user's id is no group's name
	nobody := subscribe(t, b, bus.Options{Groups: []string{"team:7"}}, "a")
	for i := range 20 { // so that those of the group are fewer than those of the scope
		subscribe(t, b, in(strconv.Itoa(i), "other"), "a")
	}
	emitTo(b, "a", "1", bus.Named(nil, []string{"team:7"}))
	emitTo(b, "a", "2", bus.Named([]string{"bob"}, []string{"team:7"}))
	emitTo(b, "a", "3", bus.Named([]string{"alice", "bob"}, []string{"team:7", "team:8"}))
	emitTo(b, "b", "4", bus.Named(nil, []string{"team:7", "team:8"}))
	emitTo(b, "a", "5", bus.Only("team:7"))
	emitTo(b, "a", "6", bus.Named(nil, []string{"", ":x"}))
	wantBrief(t, alice, "a/1, a/2, a/3")
	wantBrief(t, bob, "a/2, a/3, b/4")
	wantBrief(t, twin, "a/5")
	wantBrief(t, nobody, "")
	if st := b.Stats(); st.Emitted != 6 || st.Delivered != 7 {
		t.Errorf("got %+v", st)
	}
}

// users and groups of the properties below.
var (
	someUsers  = []string{"alice", "bob", "carol", "x", "y"}
	someGroups = []string{"x", "y", "z"}
)

func subset(from []string) *rapid.Generator[[]string] {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, len(from), rapid.ID[string])
}

func plain() *rapid.Generator[bus.Audience] {
	return rapid.Custom(func(t *rapid.T) bus.Audience {
		if rapid.IntRange(0, 5).Draw(t, "everyone") == 0 {
			return bus.Audience{}
		}
		return bus.Named(subset(someUsers).Draw(t, "users"), subset(someGroups).Draw(t, "groups"))
	})
}

// audience is a plain one, or an intersection or difference of some.
func audience() *rapid.Generator[bus.Audience] {
	return rapid.Custom(func(t *rapid.T) bus.Audience {
		a := plain().Draw(t, "a")
		for range rapid.IntRange(0, 2).Draw(t, "steps") {
			b := plain().Draw(t, "b")
			if rapid.Bool().Draw(t, "intersect") {
				a = a.Intersect(b)
			} else {
				a = a.Minus(b)
			}
		}
		return a
	})
}

func TestArithmeticOfGroupsIsThatOfTheirUsers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := audience().Draw(t, "x"), audience().Draw(t, "y")
		both, rest := a.Intersect(b), a.Minus(b)
		for _, user := range append([]string{""}, someUsers...) {
			groups := subset(someGroups).Draw(t, "groups of "+user)
			inA, inB := a.Allows(user, groups...), b.Allows(user, groups...)
			if got := both.Allows(user, groups...); got != (inA && inB) {
				t.Errorf("%q in %v: in the intersection %v, in the two %v and %v", user, groups, got, inA, inB)
			}
			got := rest.Allows(user, groups...)
			if got && (!inA || inB) {
				t.Errorf("%q in %v is in the difference, in the two %v and %v", user, groups, inA, inB)
			}
			if !got && inA && !inB && !a.Everyone() { // "everyone but" can't be said
				t.Errorf("%q in %v is not in the difference", user, groups)
			}
			if inA && a.Nobody() {
				t.Errorf("%q is in an audience that is nobody", user)
			}
		}
	})
}

// A change reaches each subscription of its scope whose user may see it, once, whatever
// the way on which the bus finds them.
func TestEachWayFindsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, err := bus.New(bus.Config{})
		if err != nil {
			t.Fatal(err)
		}
		type member struct {
			s      *bus.Subscription
			user   string
			scopes []string
			groups []string
		}
		var all []*member
		steps := rapid.IntRange(1, 30).Draw(t, "steps")
		for step := range steps {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1:
				m := &member{user: rapid.SampledFrom(append([]string{""}, someUsers...)).Draw(t, "user"), groups: subset(someGroups).Draw(t, "groups")}
				m.scopes = rapid.SampledFrom([][]string{{"a"}, {"b"}, {"a", "b"}}).Draw(t, "scopes")
				m.s = b.Subscribe(m.scopes, in(m.user, m.groups...))
				all = append(all, m)
			case 2:
				if len(all) > 0 {
					m := rapid.SampledFrom(all).Draw(t, "who")
					m.groups = subset(someGroups).Draw(t, "groups")
					m.s.SetGroups(m.groups)
					if m.user != "" && (!m.s.InGroups(m.groups) || m.s.InGroups(append(m.groups, "more"))) {
						t.Errorf("not in %v but in %v", m.groups, m.s.Groups())
					}
				}
			case 3:
				if len(all) > 0 {
					i := rapid.IntRange(0, len(all)-1).Draw(t, "who")
					all[i].s.Close()
					all = slices.Delete(all, i, i+1)
				}
			default:
				a, name := audience().Draw(t, "audience"), strconv.Itoa(step)
				emitTo(b, "a", name, a)
				for _, m := range all {
					want := ""
					if slices.Contains(m.scopes, "a") && a.Allows(m.user, m.groups...) {
						want = "a/" + name
					}
					if got := brief(drain(m.s)); got != want {
						t.Fatalf("%q in %v: got %q, want %q", m.user, m.groups, got, want)
					}
				}
			}
		}
		for _, m := range all {
			m.s.Close()
		}
		if st := b.Stats(); st.Groups != 0 {
			t.Errorf("%d groups are left", st.Groups)
		}
	})
}

func TestAudienceWithGroupsInJSON(t *testing.T) {
	for text, want := range map[string]bus.Audience{
		`["alice","group:team:7"]`: bus.Named([]string{"alice"}, []string{"team:7"}),
		`["group::team:7"]`:        bus.Only("group:team:7"),
		`["group:::x"]`:            bus.Only("group::x"),
		`["team:7"]`:               bus.Only("team:7"),
		`["group:a","group:b"]`:    bus.Named(nil, []string{"b", "a"}),
		`["groups:a"]`:             bus.Only("groups:a"),
	} {
		var got bus.Audience
		if err := json.Unmarshal([]byte(text), &got); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v %v, %v", text, got.Users(), got.Groups(), err)
		}
		if back, err := json.Marshal(got); err != nil || string(back) != text {
			t.Errorf("%s becomes %s, %v", text, back, err)
		}
	}
	var got bus.Audience
	if err := json.Unmarshal([]byte(`["group:"]`), &got); err != nil || !got.Nobody() {
		t.Errorf("a group without a name: %v, %v", got.Users(), got.Groups())
	}
	if _, err := json.Marshal(bus.Named(nil, []string{"a"}).Minus(bus.Named(nil, []string{"b"}))); err == nil {
		t.Error("a difference has JSON")
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`(group)?:{0,3}[a-c]{0,2}`)
		a := bus.Named(rapid.SliceOf(text).Draw(t, "users"), rapid.SliceOf(text).Draw(t, "groups"))
		raw, err := json.Marshal(a)
		var back bus.Audience
		if err == nil {
			err = json.Unmarshal(raw, &back)
		}
		if err != nil || !back.Equal(a) {
			t.Errorf("%v %v became %s and %v %v, %v", a.Users(), a.Groups(), raw, back.Users(), back.Groups(), err)
		}
	})
}

func TestRegroupedSubscriptionsAreStale(t *testing.T) {
	b := newBus(t, bus.Config{})
	b.Regroup("alice")
	alice, bob := subscribe(t, b, as("alice"), "a"), subscribe(t, b, as("bob"), "a")
	nobody := subscribe(t, b, bus.Options{}, "a")
	asked := b.Regroups()
	stale := func(s *bus.Subscription) bool { return s.Stale() > asked }
	if asked != 1 || stale(alice) || stale(bob) {
		t.Error("stale from the start")
	}
	b.Regroup("alice", "eve")
	if !stale(alice) || stale(bob) || stale(nobody) {
		t.Error("after alice was regrouped")
	}
	select {
	case <-alice.Wake():
	default:
		t.Error("the reader was not woken")
	}
	asked = b.Regroups()
	b.RegroupAll()
	if !stale(alice) || !stale(bob) || stale(nobody) {
		t.Error("after all were regrouped")
	}
	asked = b.Regroups()
	if bob.SetStale(); stale(alice) || !stale(bob) {
		t.Error("after bob alone was made stale")
	}
}

// Whoever takes an event that was emitted behind a Regroup sees then that the subscription
// is stale, though it wasn't just before.
func TestNothingOvertakesARegroup(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 4096})
	s := subscribe(t, b, in("alice", "g"), "a")
	var done atomic.Bool
	together(2, func(i int) {
		if i == 0 {
			for n := range 2000 {
				b.Regroup("alice")
				b.Emit(bus.ChangeEvent{Scope: "a", Tx: uint64(n + 1), Audience: bus.Named(nil, []string{"g"})})
			}
			done.Store(true)
			return
		}
		for last := false; ; {
			e, ok := s.TryNext()
			if ok && e.Op != bus.OpReset && s.Stale() < e.Tx {
				t.Errorf("event %d came when the groups were to be known up to %d", e.Tx, s.Stale())
				return
			}
			if !ok && last {
				return
			}
			last = done.Load()
			runtime.Gosched()
		}
	})
}

func TestMemberOfGroupsIsSmall(t *testing.T) {
	const users, groups = 5000, 10
	b := newBus(t, bus.Config{})
	subs := make([]*bus.Subscription, users)
	names := make([]string, 200)
	for i := range names {
		names[i] = fmt.Sprintf("team:%d", i)
	}
	take := func(groups int) int {
		before := heap()
		for i := range subs {
			opts := as(strconv.Itoa(i))
			for g := range groups {
				opts.Groups = append(opts.Groups, names[(i*7+g*13)%len(names)])
			}
			subs[i] = b.Subscribe([]string{"a"}, opts)
		}
		took := heap() - before
		for _, s := range subs {
			s.Close()
		}
		clear(subs)
		return took
	}
	without := take(0)
	with := take(groups)
	each := (with - without) / users
	t.Logf("%d bytes more for %d groups", each, groups)
	if each > 307 {
		t.Errorf("%d bytes more for %d groups, want at most 307", each, groups)
	}
	runtime.KeepAlive(subs)
}
