package sse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// errReplaced ends the oldest stream of a user who has opened too many.
var errReplaced = errors.New("replaced by a newer stream")

// gate counts the streams, lets in as many as may be open, and closes for good.
type gate struct {
	mu     sync.Mutex
	open   int
	users  map[string][]*pass // oldest first; only where their number is limited
	closed chan struct{}      // closed once the gate is
	over   time.Duration      // set before closed is closed: the time over which streams end
	empty  chan struct{}      // closed once the gate is closed and no stream is left
}

// pass is what a stream holds while it is open.
type pass struct {
	user string
	end  context.CancelCauseFunc
}

func newGate() gate {
	return gate{users: make(map[string][]*pass), closed: make(chan struct{}), empty: make(chan struct{})}
}

// enter counts a stream of user, which end ends. It returns nil and, unless the gate
// is closed, why there is no room.
func (g *gate) enter(cfg *Config, user string, end context.CancelCauseFunc) (*pass, *problem) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining() {
		return nil, nil
	}
	if g.open >= cfg.MaxStreams {
		return nil, tooManyStreams.problem("This server has as many streams open as it may.")
	}
	p := &pass{user, end}
	if cfg.MaxStreamsPerUser > 0 && user != "" {
		if own := g.users[user]; len(own) >= cfg.MaxStreamsPerUser {
			if !cfg.NewestWins {
				return nil, tooManyOfUser.problem(fmt.Sprintf("You have as many streams open as you may: %d.", cfg.MaxStreamsPerUser))
			}
			own[0].end(errReplaced)
			g.users[user] = own[1:]
		}
		g.users[user] = append(g.users[user], p)
	}
	g.open++
	return p, nil
}

func (g *gate) leave(p *pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if own, ok := g.users[p.user]; ok {
		own = slices.DeleteFunc(own, func(other *pass) bool { return other == p })
		if g.users[p.user] = own; len(own) == 0 {
			delete(g.users, p.user)
		}
	}
	g.open--
	if g.open == 0 && g.draining() {
		close(g.empty)
	}
}

// close closes the gate; all but the first call do nothing.
func (g *gate) close(over time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining() {
		return
	}
	g.over = over
	close(g.closed)
	if g.open == 0 {
		close(g.empty)
	}
}

func (g *gate) draining() bool {
	select {
	case <-g.closed:
		return true
	default:
		return false
	}
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}
