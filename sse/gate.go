package sse

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pgbell/pgbell/sse/internal/wire"
)

// errReplaced ends the oldest stream of a user who has opened too many.
var errReplaced = errors.New("replaced by a newer stream")

// gate counts the streams, lets in as many as may be open, and closes for good.
type gate struct {
	mu      sync.Mutex
	open    map[*stream]struct{}
	users   map[string][]*stream  // oldest first; only where their number is limited
	servers map[*http.Server]bool // of hijacked streams: whether it has shut down
	closed  chan struct{}         // closed once the gate is
	over    time.Duration         // set before closed is closed: the time over which streams end
	empty   chan struct{}         // closed once the gate is closed and no stream is left
}

func newGate() gate {
	return gate{
		open: make(map[*stream]struct{}), users: make(map[string][]*stream), servers: make(map[*http.Server]bool),
		closed: make(chan struct{}), empty: make(chan struct{}),
	}
}

// enter lets s in, or reports false: with a problem there is no room, without one the
// gate is closed.
func (g *gate) enter(cfg *Config, s *stream) (in bool, full *problem) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining() || g.hasShutDown(s.server) {
		return false, nil
	}
	if len(g.open) >= cfg.MaxStreams {
		return false, tooManyStreams.problem("This server has as many streams open as it may.")
	}
	user := s.req.id.UserID
	if cfg.MaxStreamsPerUser > 0 && user != "" {
		if own := g.users[user]; len(own) >= cfg.MaxStreamsPerUser {
			if !cfg.NewestWins {
				return false, tooManyOfUser.problem(fmt.Sprintf("You have as many streams open as you may: %d.", cfg.MaxStreamsPerUser))
			}
			own[0].end(errReplaced)
			g.users[user] = own[1:]
		}
		g.users[user] = append(g.users[user], s)
	}
	g.open[s] = struct{}{}
	return true, nil
}

// hasShutDown says whether srv has. The first call for a server has it call shutDown.
func (g *gate) hasShutDown(srv *http.Server) bool {
	has, known := g.servers[srv]
	if srv != nil && !known {
		g.servers[srv] = false
		srv.RegisterOnShutdown(func() { g.shutDown(srv) })
	}
	return has
}

// shutDown ends the streams that srv no longer knows of.
func (g *gate) shutDown(srv *http.Server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.servers[srv] = true
	for s := range g.open {
		if s.server == srv {
			s.end(errDrained)
		}
	}
}

func (g *gate) leave(s *stream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	user := s.req.id.UserID
	if own, ok := g.users[user]; ok {
		own = slices.DeleteFunc(own, func(other *stream) bool { return other == s })
		if g.users[user] = own; len(own) == 0 {
			delete(g.users, user)
		}
	}
	delete(g.open, s)
	if len(g.open) == 0 && g.draining() {
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
	for s := range g.open {
		s.wire.Wake()
	}
	if len(g.open) == 0 {
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
	return len(g.open)
}

// sendAway answers with a stream that is cut at once, after it said when to come
// back. A refusal would be final: an EventSource gives up for good on any status
// but 200 (WHATWG HTML, 9.2.3). The connection is closed, that of HTTP/2 too, so that the
// next try can reach another server.
func (h *Handler) sendAway(w http.ResponseWriter, r *http.Request) {
	for name, value := range streamHeaders {
		w.Header().Set(name, value)
	}
	if r.ProtoMajor > 1 {
		w.Header().Set("Connection", "close") // GOAWAY
	}
	by := time.Now().Add(h.cfg.WriteTimeout)
	to, _ := wire.New(w, r, nil)
	defer to.Abort(by)
	if to.Open(w, r, by) != nil {
		return
	}
	b := takeFrames()
	defer b.free()
	b.retry(retryAfter())
	_ = to.Write(b.bytes(), by) // the client's loss
}

// Drain ends the streams, each at a random time within d, so that their clients do
// not all come back at once. A stream's queue is written before it ends. From the
// call on /readyz fails and new streams end at once. Drain returns when all streams
// have ended, at the latest after d and the write timeout. There is no way back; a
// second call only waits.
func (h *Handler) Drain(d time.Duration) {
	d = max(d, 0)
	h.gate.close(d)
	h.log.Info("draining streams", "streams", h.gate.count(), "over", d.String())
	late := time.NewTimer(d + h.cfg.WriteTimeout)
	defer late.Stop()
	select {
	case <-h.gate.empty:
	case <-late.C:
		h.log.Warn("streams left after draining", "streams", h.gate.count())
	}
}
