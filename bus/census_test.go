package bus_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

func TestCensusCountsUsersAndScopes(t *testing.T) {
	b := newBus(t, bus.Config{})
	want := func(want bus.Census) {
		t.Helper()
		if diff := cmp.Diff(want, b.Census()); diff != "" {
			t.Errorf("census (-want +got):\n%s", diff)
		}
	}
	want(bus.Census{Scopes: map[string]int{}})
	alice := subscribe(t, b, as("alice"), "a", "b")
	subscribe(t, b, as("alice"), "a")
	subscribe(t, b, as("bob"), "a")
	guest := subscribe(t, b, as(""), "a")
	subscribe(t, b, bus.Options{}, "c")
	want(bus.Census{Users: 2, Anonymous: 2, Scopes: map[string]int{"a": 4, "b": 1, "c": 1}})
	alice.Close()
	guest.Close()
	want(bus.Census{Users: 2, Anonymous: 1, Scopes: map[string]int{"a": 2, "c": 1}})
}

func TestOnResetGetsEachResetOnceAndTheNumberOfScopes(t *testing.T) {
	type call struct {
		bus.ChangeEvent
		Scopes int
	}
	var calls []call
	var b *bus.Bus
	b = newBus(t, bus.Config{OnReset: func(e bus.ChangeEvent, scopes int) {
		b.Stats() // it would hang if a lock were held
		calls = append(calls, call{e, scopes})
	}})
	subscribe(t, b, as("alice"), "a", "b")
	s := subscribe(t, b, as("bob"), "a")
	b.Advance("1")
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	e := bus.ChangeEvent{Scope: "x", Table: "public.tasks", Reason: "truncated", At: at, Key: []byte(`{"id":1}`), Origin: "tab"}
	b.Reset(nil, e)
	b.Reset(func(scope string) bool { return scope == "b" }, e)
	b.Reset(func(string) bool { return false }, e)
	got := bus.ChangeEvent{Op: bus.OpReset, Table: "public.tasks", Reason: "truncated", At: at, Cursor: "1"}
	if diff := cmp.Diff([]call{{got, 2}, {got, 1}, {got, 0}}, calls, cmp.AllowUnexported(bus.Audience{})); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	wantBrief(t, s, "reset a")
}

func TestStatsCountWhoIsInGroups(t *testing.T) {
	b := newBus(t, bus.Config{})
	want := func(want int) {
		t.Helper()
		if got := b.Stats().Grouped; got != want {
			t.Errorf("%d subscriptions are said to be in groups, want %d", got, want)
		}
	}
	as := func(user string, groups ...string) *bus.Subscription {
		return b.Subscribe([]string{"a", "b"}, bus.Options{Connection: &bus.Connection{UserID: user}, Groups: groups})
	}
	alice, bob := as("alice", "team:7", "team:8"), as("bob")
	want(1)
	bob.SetGroups([]string{"team:7"})
	alice.SetGroups([]string{"team:9"})
	want(2)
	bob.SetGroups([]string{""})
	want(1)
	bob.SetGroups(nil)
	want(1)
	alice.Close()
	bob.Close()
	want(0)
}
