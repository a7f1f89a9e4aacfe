package bus_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

// Row 22 of the conformance list: presence.

func connection(session, user string, at time.Time) bus.Options {
	return bus.Options{Connection: &bus.Connection{SessionID: session, UserID: user, ConnectedAt: at}}
}

// Row 22.
func TestPresenceListsConnectionsWhileSubscribed(t *testing.T) {
	b := newBus(t, bus.Config{})
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	want := func(scope string, want ...bus.Connection) {
		t.Helper()
		if diff := cmp.Diff(append([]bus.Connection{}, want...), b.Presence(scope)); diff != "" {
			t.Errorf("presence of %s (-want +got):\n%s", scope, diff)
		}
	}
	alice := bus.Connection{SessionID: "1", UserID: "alice", ConnectedAt: at.Add(time.Second)}
	bob := bus.Connection{SessionID: "2", UserID: "bob", ConnectedAt: at}
	guest := bus.Connection{SessionID: "3", ConnectedAt: at.Add(time.Minute)}

	want("a")
	sa := subscribe(t, b, bus.Options{Connection: &alice}, "a", "b")
	subscribe(t, b, bus.Options{Connection: &guest}, "a")
	subscribe(t, b, bus.Options{Connection: &bob}, "a")
	subscribe(t, b, bus.Options{}, "a", "c") // gave none
	want("a", bob, alice, guest)             // the longest connected first
	want("b", alice)
	want("c")
	want("unknown")
	sa.Close()
	want("a", bob, guest)
	want("b")
	b.CloseUser("bob")
	want("a", guest)
	b.Close("c")
	b.Close("a")
	want("a")
}

// Row 22: also a time read from a clock equals its own copy without the monotonic
// reading, or in another time zone.
func TestPresenceCollapsesEqualConnections(t *testing.T) {
	b := newBus(t, bus.Config{})
	at := time.Now()
	for _, same := range []time.Time{at, at.Round(0), at.UTC(), at.In(time.FixedZone("", 3600))} {
		subscribe(t, b, connection("tab 1", "alice", same), "a")
	}
	if got := b.Presence("a"); len(got) != 1 || got[0].SessionID != "tab 1" {
		t.Errorf("got %v, want one", got)
	}
}

// Row 22: while one of two equal ones stays, the connection is present.
func TestPresenceStaysUntilTheLastEqualConnectionLeaves(t *testing.T) {
	b := newBus(t, bus.Config{})
	at := time.Unix(1, 0)
	s1 := subscribe(t, b, connection("1", "alice", at), "a")
	s2 := subscribe(t, b, connection("1", "alice", at), "a")
	s1.Close()
	if n := len(b.Presence("a")); n != 1 {
		t.Errorf("got %d, want 1", n)
	}
	s2.Close()
	if n := len(b.Presence("a")); n != 0 {
		t.Errorf("got %d, want 0", n)
	}
}

// Row 22.
func TestTwoTabsOfAUserAreTwo(t *testing.T) {
	b := newBus(t, bus.Config{})
	at := time.Unix(1, 0)
	subscribe(t, b, connection("tab 1", "alice", at), "a")
	subscribe(t, b, connection("tab 2", "alice", at), "a")
	subscribe(t, b, connection("tab 1", "bob", at), "a")
	subscribe(t, b, connection("tab 1", "alice", at.Add(1)), "a")
	if n := len(b.Presence("a")); n != 4 {
		t.Errorf("got %d, want 4", n)
	}
}

func TestConnectionInJSON(t *testing.T) {
	out, err := json.Marshal(bus.Connection{SessionID: "s", UserID: "u", ConnectedAt: time.Unix(0, 0).UTC()})
	if want := `{"user_id":"u","session_id":"s","connected_at":"1970-01-01T00:00:00Z"}`; err != nil || string(out) != want {
		t.Errorf("got %s, %v; want %s", out, err, want)
	}
}
