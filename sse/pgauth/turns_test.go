package pgauth

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/pgbell/pgbell/sse"
)

// crowd is questions that wait for turns, in a bubble.
type crowd struct {
	t     *testing.T
	ctx   context.Context
	turns *turns
	had   []string // whose turn came, in that order
	done  []func()
}

// asks has user ask from network; the question is never answered before answer is called.
func (c *crowd) asks(user, network string, live bool) {
	who := sse.Asker{Live: live}
	if network != "" {
		who.Network = netip.MustParseAddr(network)
	}
	go func() {
		done, err := c.turns.take(c.ctx, user, who)
		if err != nil {
			return // the test is over
		}
		c.turns.mu.Lock()
		defer c.turns.mu.Unlock()
		c.had, c.done = append(c.had, user+network), append(c.done, done)
	}()
	synctest.Wait()
}

// answer ends the oldest question that is under way.
func (c *crowd) answer() {
	done := c.done[0]
	c.done = c.done[1:]
	done()
	synctest.Wait()
}

func (c *crowd) want(had ...string) {
	c.t.Helper()
	if !slices.Equal(c.had, had) {
		c.t.Errorf("had a turn: %q, want %q", c.had, had)
	}
}

func inCrowd(t *testing.T, places int, f func(c *crowd)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		f(&crowd{t: t, ctx: ctx, turns: newTurns(places)})
	})
}

func TestOneUserLeavesAPlaceForOthers(t *testing.T) {
	inCrowd(t, 3, func(c *crowd) {
		for range 100 {
			c.asks("mallory", "", false)
		}
		c.want("mallory", "mallory")
		c.asks("ann", "", false)
		c.want("mallory", "mallory", "ann")
		c.asks("bob", "", false) // waits for a turn, and not for a hundred
		c.answer()
		c.answer()
		c.want("mallory", "mallory", "ann", "mallory", "bob")
	})
}

func TestOneNetworkLeavesAPlaceForOthers(t *testing.T) {
	inCrowd(t, 3, func(c *crowd) {
		for _, user := range []string{"m1", "m2", "m3", "m4"} {
			c.asks(user, "10.0.0.1", false)
		}
		c.asks("", "10.0.0.1", false)
		c.asks("ann", "10.0.0.2", false)
		c.want("m110.0.0.1", "m210.0.0.1", "ann10.0.0.2")
	})
}

func TestUsersAndAnonymousNetworksTakeTurns(t *testing.T) {
	inCrowd(t, 1, func(c *crowd) {
		c.asks("first", "", false)
		for range 3 {
			c.asks("mallory", "", false)
			c.asks("", "10.0.0.1", false)
		}
		c.asks("ann", "", false)
		c.asks("", "10.0.0.2", false)
		for range 6 {
			c.answer()
		}
		c.want("first", "mallory", "10.0.0.1", "ann", "10.0.0.2", "mallory", "10.0.0.1")
	})
}

func TestLiveStreamsComeFirstAndStarveNobody(t *testing.T) {
	inCrowd(t, 1, func(c *crowd) {
		c.asks("first", "", false)
		c.asks("new", "", false)
		for _, user := range []string{"a", "b", "c", "d"} {
			c.asks(user, "", true)
		}
		for range 5 {
			c.answer()
		}
		c.want("first", "a", "b", "c", "new", "d")
	})
}

func TestQuestionThatIsGivenUpTakesNoPlace(t *testing.T) {
	inCrowd(t, 1, func(c *crowd) {
		c.asks("first", "", false)
		given := errors.New("given up")
		ctx, cancel := context.WithCancelCause(c.ctx)
		failed := make(chan error, 1)
		go func() { _, err := c.turns.take(ctx, "ann", sse.Asker{}); failed <- err }()
		synctest.Wait()
		cancel(given)
		if err := <-failed; err != given {
			t.Errorf("got %v", err)
		}
		c.answer()
		c.asks("bob", "", false)
		c.answer()
		c.want("first", "bob")
		if tu := c.turns; tu.free != 1 || len(tu.under) > 0 || len(tu.waiting[0].order) > 0 || len(tu.waiting[0].of) > 0 {
			t.Errorf("left: %+v", tu)
		}
	})
}
