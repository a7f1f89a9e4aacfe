package bus_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pgbell/pgbell/bus"
)

// Rows 13 to 15 of the conformance list, and the arithmetic of audiences.

// Row 13.
func TestAudienceDecidesWhoReceives(t *testing.T) {
	subscribers := []struct {
		name string
		opts bus.Options
	}{
		{"alice", as("alice")},
		{"bob", as("bob")},
		{"a connection without user id", as("")},
		{"no connection", bus.Options{}},
	}
	for _, tc := range []struct {
		name     string
		audience bus.Audience
		want     []string
	}{
		{"no audience is everyone", bus.Audience{}, []string{"alice", "bob", "a connection without user id", "no connection"}},
		{"alice", bus.Only("alice"), []string{"alice"}},
		{"alice, twice, and one who is not there", bus.Only("alice", "alice", "carol"), []string{"alice"}},
		{"alice and bob", bus.Only("bob", "alice"), []string{"alice", "bob"}},
		{"empty audience is nobody", bus.Only(), nil},
		{"the empty id is nobody", bus.Only(""), nil},
		{"the empty id among others", bus.Only("", "bob"), []string{"bob"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			var subs []*bus.Subscription
			for _, who := range subscribers {
				subs = append(subs, subscribe(t, b, who.opts, "a"))
			}
			b.Emit(bus.ChangeEvent{Scope: "a", Audience: tc.audience})
			var got []string
			for i, s := range subs {
				if len(drain(s)) == 1 {
					got = append(got, subscribers[i].name)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("received (-want +got):\n%s", diff)
			}
		})
	}
}

// Row 13: more users than are looked up under one lock.
func TestLargeAudienceReachesAllItsUsers(t *testing.T) {
	b := newBus(t, bus.Config{})
	users := make([]string, 1000)
	subs := make([]*bus.Subscription, len(users))
	for i := range users {
		users[i] = "user " + string(rune('a'+i%26)) + string(rune('0'+i/26))
		subs[i] = subscribe(t, b, as(users[i]), "a")
	}
	b.Emit(bus.ChangeEvent{Scope: "a", Origin: "1", Audience: bus.Only(users[1:]...)})
	wantBrief(t, subs[0], "")
	for _, s := range subs[1:] {
		wantBrief(t, s, "a/1")
	}
}

// Row 14.
func TestLeftOutByTheAudienceIsNotADrop(t *testing.T) {
	b := newBus(t, bus.Config{QueueSize: 1})
	bob := subscribe(t, b, as("bob"), "a")
	for range 3 {
		b.Emit(bus.ChangeEvent{Scope: "a", Audience: bus.Only("alice")})
		b.Emit(bus.ChangeEvent{Scope: "a", Audience: bus.Only()})
	}
	wantBrief(t, bob, "")
	if n := b.Stats().Dropped; n != 0 {
		t.Errorf("got %d dropped, want 0", n)
	}
}

// Row 15.
func TestResetReachesAllAndCarriesNothingOfARow(t *testing.T) {
	full := bus.ChangeEvent{
		Scope: "a", Op: bus.OpUpdate, Table: "public.tasks", Key: []byte(`{"id":1}`), Changed: []string{"x"},
		Moved: bus.MovedOut, Origin: "alice's tab", Audience: bus.Only("alice"), Data: []byte(`{}`),
		Reason: "truncate", Tx: 7, Cursor: "forged",
	}
	want := bus.ChangeEvent{Scope: "a", Op: bus.OpReset, Table: "public.tasks", Reason: "truncate", Tx: 7, Cursor: "now"}
	for name, reset := range map[string]func(b *bus.Bus){
		"Reset": func(b *bus.Bus) { b.Reset(nil, full) },
		"Emit": func(b *bus.Bus) {
			e := full
			e.Op = bus.OpReset
			b.Emit(e)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			b.Advance("now")
			for _, opts := range []bus.Options{as("alice"), as("bob"), as(""), {}} {
				defer func(s *bus.Subscription) {
					if diff := cmp.Diff([]bus.ChangeEvent{want}, drain(s)); diff != "" {
						t.Errorf("received (-want +got):\n%s", diff)
					}
				}(subscribe(t, b, opts, "a"))
			}
			reset(b)
		})
	}
}

func TestAudienceAllowsAndUsers(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		a                     bus.Audience
		alice, bob, anonymous bool
		everyone              bool
		users                 []string
	}{
		{name: "zero value", alice: true, bob: true, anonymous: true, everyone: true},
		{name: "nobody", a: bus.Only(), users: []string{}},
		{name: "empty id", a: bus.Only("", ""), users: []string{}},
		{name: "alice", a: bus.Only("alice", "", "alice"), alice: true, users: []string{"alice"}},
		{name: "both", a: bus.Only("bob", "alice", "bob"), alice: true, bob: true, users: []string{"alice", "bob"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.a.Allows("alice"); got != tc.alice {
				t.Errorf("Allows(alice): got %v, want %v", got, tc.alice)
			}
			if got := tc.a.Allows("bob"); got != tc.bob {
				t.Errorf("Allows(bob): got %v, want %v", got, tc.bob)
			}
			if got := tc.a.Allows(""); got != tc.anonymous {
				t.Errorf("Allows of anonymous: got %v, want %v", got, tc.anonymous)
			}
			if got := tc.a.Everyone(); got != tc.everyone {
				t.Errorf("Everyone: got %v, want %v", got, tc.everyone)
			}
			if diff := cmp.Diff(tc.users, tc.a.Users()); diff != "" {
				t.Errorf("Users (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAudienceKeepsNoHoldOnTheCallersSlice(t *testing.T) {
	in := []string{"bob", "alice"}
	a := bus.Only(in...)
	if in[0] != "bob" {
		t.Errorf("Only sorted its caller's slice: %v", in)
	}
	in[0] = "mallory"
	a.Users()[0] = "mallory"
	if a.Allows("mallory") || !a.Allows("bob") || !a.Allows("alice") {
		t.Errorf("the audience changed: %v", a.Users())
	}
}

func TestAudienceInJSON(t *testing.T) {
	for _, tc := range []struct {
		a    bus.Audience
		json string
	}{
		{bus.Audience{}, `null`},
		{bus.Only(), `[]`},
		{bus.Only("b", "a"), `["a","b"]`},
	} {
		out, err := json.Marshal(tc.a)
		if err != nil || string(out) != tc.json {
			t.Errorf("got %s, %v; want %s", out, err, tc.json)
		}
		for _, a := range []bus.Audience{{}, bus.Only("before")} {
			if err := json.Unmarshal([]byte(tc.json), &a); err != nil || !a.Equal(tc.a) {
				t.Errorf("%s: got %v, %v", tc.json, a.Users(), err)
			}
		}
	}
}

func TestAudienceThatCannotBeReadIsNobody(t *testing.T) {
	for _, text := range []string{`"alice"`, `{}`, `[1]`, `["alice",2]`, `0`, `true`, `[["alice"]]`} {
		var a bus.Audience
		if err := json.Unmarshal([]byte(text), &a); err == nil {
			t.Errorf("%s: no error", text)
		}
		if !a.Equal(bus.Only()) {
			t.Errorf("%s: got everyone=%v, users %v; want nobody", text, a.Everyone(), a.Users())
		}
	}
	// A null among the users is the empty id: nobody's.
	var a bus.Audience
	if err := json.Unmarshal([]byte(`[null]`), &a); err != nil || !a.Equal(bus.Only()) {
		t.Errorf("[null]: got users %v, %v; want nobody", a.Users(), err)
	}
}

func TestEveryoneMinusSomeIsNobody(t *testing.T) {
	for _, tc := range []struct {
		name       string
		a, b, want bus.Audience
	}{
		{"everyone minus alice can't be said", bus.Audience{}, bus.Only("alice"), bus.Only()},
		{"everyone minus nobody", bus.Audience{}, bus.Only(), bus.Audience{}},
		{"everyone minus everyone", bus.Audience{}, bus.Audience{}, bus.Only()},
		{"alice minus everyone", bus.Only("alice"), bus.Audience{}, bus.Only()},
	} {
		if got := tc.a.Minus(tc.b); !got.Equal(tc.want) {
			t.Errorf("%s: got everyone=%v, users %v", tc.name, got.Everyone(), got.Users())
		}
	}
}

// anyAudience draws users from a few, so that sets overlap.
var anyAudience = rapid.Custom(func(t *rapid.T) bus.Audience {
	if rapid.Bool().Draw(t, "everyone") {
		return bus.Audience{}
	}
	return bus.Only(rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "c", "d"}), 0, 4).Draw(t, "users")...)
})

func TestAudienceArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyAudience.Draw(t, "a"), anyAudience.Draw(t, "b")
		both, rest := a.Intersect(b), a.Minus(b)
		exact := !a.Everyone() || b.Everyone() || len(b.Users()) == 0
		for _, u := range []string{"", "a", "b", "c", "d", "e"} {
			if got, want := both.Allows(u), a.Allows(u) && b.Allows(u); got != want {
				t.Errorf("Intersect allows %q: got %v, want %v", u, got, want)
			}
			got, want := rest.Allows(u), a.Allows(u) && !b.Allows(u)
			if exact && got != want || got && !want {
				t.Errorf("Minus allows %q: got %v, want %v", u, got, want)
			}
			if a.Allows(u) != (a.Everyone() || u != "" && slices.Contains(a.Users(), u)) {
				t.Errorf("Allows(%q) does not fit Users %v", u, a.Users())
			}
		}
	})
}

func FuzzAudienceFromJSON(f *testing.F) {
	for _, text := range []string{`null`, `[]`, `["a"]`, `[null]`, `["",""]`, `[1]`, `{}`, ` [ "a" , "b" ] `} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var a, again bus.Audience
		if err := json.Unmarshal(text, &a); err != nil {
			return
		}
		if !a.Everyone() && a.Allows("") {
			t.Errorf("%s admits anonymous", text)
		}
		out, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &again); err != nil || !again.Equal(a) {
			t.Errorf("%s became %s", text, out)
		}
	})
}
