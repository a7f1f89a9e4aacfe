package sse

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/sse/internal/wire"
)

// Why a stream ends, besides its client going away.
var (
	errExpired = errors.New("identity expired")
	errClosed  = errors.New("closed by the bus")
	errDrained = errors.New("drained")
	errSlow    = errors.New("client does not read")

	errPanicked = errors.New("panicked")
)

// final says whether there is no use in coming back after a stream's end, and what
// the client is told then.
func final(end error) (reason string, ok bool) {
	switch end {
	case errExpired:
		return "expired", true
	case errRefused:
		return "no longer allowed", true
	case errClosed:
		return "disconnected", true
	case errReplaced:
		return "replaced by a newer stream", true
	}
	return "", false
}

// stream is one answer to GET /events. There may be tens of thousands.
type stream struct {
	h       *Handler
	wire    wire.Wire
	server  *http.Server // its Shutdown ends the stream, if that is hijacked; else nil
	req     request
	sub     *bus.Subscription
	session string

	held         []*bus.Delivery // taken from sub, to be written first
	seam         seam
	unsent       bool // a writer had no room for all: the rest is with the wire
	unsentEvents int  // frames that end in it

	lives []*liveQuery // nil for most

	groupsAsked uint64 // the bus's Regroups when the user's groups were last asked for
	groupsTold  uint64 // the regrouping that the last resets told
	regrouped   bool   // there was one since: resets are due

	lastID string // the client's last id once burst is written; "" if the stream gave it none
	burst  *burst // nil if the client did not ask for any

	cause    atomic.Pointer[error] // why to end
	askAt    time.Time             // until then the stream is allowed
	beatAt   time.Time             // when the next heartbeat is due
	beat     bool                  // one is due
	stopAt   time.Time             // when to end, once draining
	stopping bool
}

// stream answers r. The stream has ended when it returns, unless it was hijacked. A
// problem means that nothing was written.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, req request) *problem {
	req.id.UserID = strings.Clone(req.id.UserID) // it may be part of something large
	to, hijacks := wire.New(w, r, h.writers)
	s := &stream{h: h, wire: to, req: req, session: rand.Text()}
	if req.window+req.spread > 0 {
		s.burst = &burst{window: req.window, spread: req.spread}
	}
	if hijacks {
		s.server, _ = r.Context().Value(http.ServerContextKey).(*http.Server)
	}
	in, full := h.gate.enter(&h.cfg, s)
	if full != nil {
		return full
	}
	if !in {
		h.sendAway(w, r)
		return nil
	}
	if len(req.lives) > 0 {
		if p := s.watchLives(r.Context(), req.id.Groups); p != nil {
			h.gate.leave(s)
			return p
		}
	}
	now := time.Now()
	s.sub = h.bus.Subscribe(req.scopes, bus.Options{
		Connection: &bus.Connection{SessionID: s.session, UserID: req.id.UserID, ConnectedAt: now.UTC()},
		Groups:     req.id.Groups,
		Wake:       s.wire.Wake,
	})
	s.req.id.Groups = nil // the subscription has them
	s.askAt = now         // a CloseUser between admit and Subscribe did not find this stream
	s.beatAt = now.Add(h.beatAfter())
	if err := s.open(w, r); err != nil {
		s.sub.Close()
		s.closeLives()
		h.gate.leave(s)
		h.log.Error("response can't be streamed: a middleware hides Flush or SetWriteDeadline, see http.ResponseController", "err", err)
		return cannotStream.problem("This server can't stream: see its log.")
	}
	if hijacks {
		go s.start(true) // net/http's goroutine has a large stack, which would stay
	} else {
		s.start(false)
	}
	return nil
}

var streamHeaders = map[string]string{
	"Content-Type":      "text/event-stream",
	"Cache-Control":     "no-store, no-transform",
	"X-Accel-Buffering": "no",
}

// open sends the headers. On an error none was sent.
func (s *stream) open(w http.ResponseWriter, r *http.Request) error {
	for name, value := range streamHeaders {
		w.Header().Set(name, value)
	}
	err := s.wire.Open(w, r, time.Now().Add(s.h.cfg.WriteTimeout))
	if errors.Is(err, http.ErrNotSupported) {
		for name := range streamHeaders {
			w.Header().Del(name)
		}
		return err
	}
	return nil // any other error comes again with the first frame
}

// start writes the stream until it ends: the beginning here, and the rest in a
// goroutine of its own if rest is set.
//
// The beginning needs a large stack, the rest a small one. A stack that has grown hardly
// ever shrinks (runtime.shrinkstack), so a stream begins its long life on a new one, and
// makes no deep calls on it: then 2 kB are enough.
func (s *stream) start(rest bool) {
	s.h.log.Debug("stream opened", "session", s.session, "scopes", len(s.req.scopes), "resumed", !s.req.since.IsZero())
	switch end := s.prepare(); {
	case end != nil:
		s.finish(end)
	case rest:
		go s.follow()
	default:
		s.follow()
	}
}

// prepare does all that comes before live. An error is the stream's end.
func (s *stream) prepare() (end error) {
	defer func() { s.survive(&end, recover()) }()
	if err := s.awaitReady(); err != nil {
		return err
	}
	if err := s.permitted(); err != nil {
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	s.req.since = journal.Cursor{}
	return nil
}

// follow writes what is live.
func (s *stream) follow() {
	var end error
	defer func() {
		s.survive(&end, recover())
		s.finish(end)
	}()
	end = s.live()
}

// survive makes a panic the end of this stream, and not of the process: around a
// hijacked stream there is no net/http that would recover.
func (s *stream) survive(end *error, p any) {
	if p != nil {
		s.h.log.Error("stream panicked", "session", s.session, "panic", p, "stack", string(debug.Stack()))
		*end = errPanicked
	}
}

// finish writes the stream's end. The response is complete only if the client was told
// that there is no use in coming back: else it is cut, for most clients that are no
// EventSource take a complete one for the end.
func (s *stream) finish(end error) {
	defer s.h.gate.leave(s)
	s.sub.Close() // before what may take long
	s.closeLives()
	if end == errSlow {
		s.h.cut.Add(1)
		s.h.log.Warn("slow client cut", "session", s.session, "after", s.h.cfg.WriteTimeout)
	} else {
		s.h.log.Debug("stream ended", "session", s.session, "reason", end)
	}
	reason, ok := final(end)
	ok = ok && s.close(reason) == nil
	by := time.Now().Add(s.h.cfg.WriteTimeout)
	if ok {
		s.wire.Finish(by)
	} else {
		s.wire.Abort(by)
	}
}

// close tells the client why the stream ends, if the client reads.
func (s *stream) close(reason string) error {
	b := takeFrames()
	defer b.free()
	if err := b.close(reason); err != nil { // a string: it can't
		panic(err)
	}
	return s.wire.Write(b.bytes(), time.Now().Add(time.Second))
}

// write writes b, if there is anything in it, and empties it. The client has until
// the write timeout, or until the identity expires.
func (s *stream) write(b *frames) error {
	if b.empty() {
		return nil
	}
	err := s.writeBytes(b.bytes(), b.events)
	b.reset()
	return err
}

// writeUnsent writes what a writer had no room for: it may be the rest of a frame.
func (s *stream) writeUnsent() error {
	if !s.unsent {
		return nil
	}
	s.unsent = false
	return s.writeBytes(nil, s.unsentEvents)
}

func (s *stream) writeBytes(b []byte, events int) error {
	by := time.Now().Add(s.h.cfg.WriteTimeout)
	err := s.wire.Write(b, earlier(by, s.req.id.Expires))
	switch {
	case err == nil:
		s.h.frames.Add(uint64(events))
		return nil
	case s.req.id.expired(time.Now()):
		return errExpired
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	}
	return fmt.Errorf("write: %w", err)
}
