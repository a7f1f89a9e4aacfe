package sse

import (
	"context"
	"net/http"
	"testing"

	"github.com/pgbell/pgbell/bus"
)

// A user who comes into a group and leaves it again before anybody asks is in the groups
// of before. What the group was told in between, and that it was left, only a reset tells.
func TestARegroupingIsToldThoughTheGroupsCameOutTheSame(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{Config: Config{
			Authenticate: func(*http.Request) (Identity, error) { return Identity{UserID: "ann"}, nil },
			Groups:       func(context.Context, Identity) ([]string, error) { return []string{"team:1"}, nil },
		}})
		c := w.open("scope=a&scope=b")
		w.bus.Regroup("bob")
		w.bus.SetStale()
		w.bus.Emit(change("a", 1))
		if got := c.nextEvent(); got.data != changeData("a") {
			t.Errorf("got %v, want the change alone: nobody has changed ann's groups", got)
		}
		w.bus.Regroup("ann")
		for range 2 {
			e := change("a", 2)
			e.Audience = bus.Named(nil, []string{"team:1"})
			w.bus.Emit(e)
		}
		for _, want := range []string{resetData("a", ReasonGroups), resetData("b", ReasonGroups), changeData("a"), changeData("a")} {
			if got := c.nextEvent(); got.data != want {
				t.Errorf("got %v, want %s", got, want)
			}
		}
	})
}
