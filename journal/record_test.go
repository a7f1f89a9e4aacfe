package journal

import (
	"encoding/json"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pgbell/pgbell/bus"
)

var (
	users  = []string{"", "ann", "bob", "cat"} // "" is anonymous
	scopes = []string{"a", "b", "c"}
)

func drawAudience(t *rapid.T, everyone bool) bus.Audience {
	if everyone {
		return bus.Audience{}
	}
	return bus.Only(rapid.SliceOfN(rapid.SampledFrom(users[1:]), 0, 3).Draw(t, "audience")...)
}

func drawSide(t *rapid.T, everyone bool) Side {
	return Side{
		Scopes:   rapid.SliceOfN(rapid.SampledFrom(scopes), 0, 4).Draw(t, "scopes"),
		Audience: drawAudience(t, everyone),
		Key:      json.RawMessage(rapid.SampledFrom([]string{`{"id":1}`, `{"id":2}`}).Draw(t, "key")),
	}
}

// sees says whether user, listening to scope, sees the row as it is on side s.
func (s Side) sees(user, scope string) bool {
	return slices.Contains(s.Scopes, scope) && s.Audience.Allows(user)
}

// TestEachReaderHearsWhatTheyMay holds what a reader gets of an update against what
// they could see of the row before, and can see now.
func TestEachReaderHearsWhatTheyMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		everyone := rapid.Bool().Draw(t, "everyone")
		oldEveryone := everyone
		if rapid.IntRange(0, 4).Draw(t, "mixed") == 0 {
			oldEveryone = !everyone
		}
		old := drawSide(t, oldEveryone)
		c := Change{Side: drawSide(t, everyone), Old: &old, Changed: []string{"x"}, Data: json.RawMessage(`{"x":1}`)}
		r := Record{Op: bus.OpUpdate, Table: "public.t", Origin: "o", At: time.Unix(1, 0), Tx: 9, Changes: []Change{c}}
		events := r.Events()

		// Where an audience is for everyone on one side alone, nobody simply stays.
		apart := string(old.Key) != string(c.Key) || everyone != oldEveryone
		for _, user := range users {
			for _, scope := range scopes {
				var got []bus.Moved
				for _, e := range events {
					if e.Scope == scope && e.Audience.Allows(user) {
						got = append(got, e.Moved)
					}
				}
				var want []bus.Moved
				switch saw, sees := old.sees(user, scope), c.sees(user, scope); {
				case saw && sees && !apart:
					want = []bus.Moved{""}
				case saw && sees:
					want = []bus.Moved{bus.MovedOut, bus.MovedIn}
				case saw:
					want = []bus.Moved{bus.MovedOut}
				case sees:
					want = []bus.Moved{bus.MovedIn}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q in %s: got %q, want %q: %+v", user, scope, got, want, c)
				}
			}
		}
		for _, e := range events {
			want := bus.ChangeEvent{Op: bus.OpUpdate, Table: "public.t", Origin: "o", At: time.Unix(1, 0), Tx: 9,
				Scope: e.Scope, Audience: e.Audience, Moved: e.Moved, Key: c.Key, Changed: c.Changed, Data: c.Data}
			if e.Moved == bus.MovedOut { // nothing of what the row is now
				want.Key, want.Changed, want.Data = old.Key, nil, nil
			}
			if diff := cmp.Diff(want, e); diff != "" {
				t.Error(diff)
			}
			if e.Audience.Equal(bus.Only()) {
				t.Errorf("an event for nobody: %+v", e)
			}
		}
	})
}

func TestChangeOfOneSideGoesToEachScopeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Record{Op: rapid.SampledFrom([]bus.Op{bus.OpInsert, bus.OpUpdate, bus.OpDelete, bus.OpPublish}).Draw(t, "op")}
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			r.Changes = append(r.Changes, Change{Side: drawSide(t, rapid.Bool().Draw(t, "everyone"))})
		}
		var want []bus.ChangeEvent
		for _, c := range r.Changes {
			var seen []string
			for _, scope := range c.Scopes {
				if !slices.Contains(seen, scope) {
					seen = append(seen, scope)
					want = append(want, bus.ChangeEvent{Scope: scope, Op: r.Op, Audience: c.Audience, Key: c.Key})
				}
			}
		}
		if diff := cmp.Diff(want, r.Events()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestResetHasNoEventsOfItsOwn(t *testing.T) {
	r := Record{Op: bus.OpReset, Table: "public.t", Origin: "o", At: time.Unix(1, 0), Tx: 9, Reset: &Reset{Reason: "truncate"}}
	if events := r.Events(); len(events) > 0 {
		t.Errorf("got %+v", events)
	}
	want := bus.ChangeEvent{Op: bus.OpReset, Table: "public.t", Reason: "truncate", At: time.Unix(1, 0), Tx: 9}
	if diff := cmp.Diff(want, r.ResetEvent()); diff != "" {
		t.Error(diff)
	}
}

// A record takes no more memory than its Size says, by which is counted what a server holds:
// not with the largest arrays of users, be they all different or all the same.
func TestSizeIsNoLessThanARecordTakes(t *testing.T) {
	for name, user := range map[string]func(i int) string{
		"different": func(i int) string { return strconv.Itoa(i) },
		"equal":     func(int) string { return "u" },
	} {
		var before, after []string
		for i := range 50_000 {
			before, after = append(before, user(i)), append(after, user(i+1))
		}
		list := func(users []string) string {
			text, err := json.Marshal(users)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		facts := array("1", "7", null, list(before), null, "1", "7", null, list(after), null, "members", null)
		defs := definitions(t)
		records := make([]Record, 4)
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		start := heap()
		for i := range records {
			if err := records[i].decode(defs, "update", 1, strings.Clone(facts)); err != nil || len(records[i].Changes) != 1 {
				t.Fatalf("got %+v: %v", records[i], err)
			}
		}
		took := int(heap()-start) / len(records)
		if size := records[0].Size(); took > size || took < size/8 {
			t.Errorf("%s users: a record of Size %d takes %d bytes", name, size, took)
		}
		runtime.KeepAlive(records)
	}
}
