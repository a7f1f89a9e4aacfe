package sse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	"github.com/pgbell/pgbell/bus"
)

// Why a stream ends, besides its client going away.
var (
	errExpired = errors.New("identity expired")
	errClosed  = errors.New("closed by the bus")
	errDrained = errors.New("drained")
	errSlow    = errors.New("client does not read")
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

// stream is one answer to GET /events.
type stream struct {
	h   *Handler
	w   http.ResponseWriter
	rc  *http.ResponseController
	req request
	sub *bus.Subscription

	held   []bus.ChangeEvent // taken from sub, to be written first
	seam   seam
	lastID string // what the client has for its last id, as far as the stream gave it one, once burst is written
	burst  burst

	askAt     time.Time   // until then the stream is allowed
	ask       *time.Timer // fires at askAt
	heartbeat *time.Timer
	beat      bool             // a heartbeat is due
	draining  <-chan struct{}  // nil once seen
	stop      <-chan time.Time // when to end, once draining
	stopping  bool
	stopBy    time.Time // written or not
}

// stream answers r, and returns after the stream's end. A problem means that
// nothing was written.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, req request) *problem {
	ctx := r.Context()
	if !req.id.Expires.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, req.id.Expires, errExpired)
		defer cancel()
	}
	// subscribed ends with the subscription, even while something is queued: who was
	// closed gets no more.
	subscribed, unsubscribed := context.WithCancelCause(ctx)
	defer unsubscribed(nil)
	pass, full := h.gate.enter(&h.cfg, req.id.UserID, unsubscribed)
	if full != nil {
		return full
	}
	if pass == nil {
		h.sendAway(w)
		return nil
	}
	defer h.gate.leave(pass)
	conn := bus.Connection{SessionID: rand.Text(), UserID: req.id.UserID, ConnectedAt: time.Now().UTC()}
	sub := h.bus.Subscribe(req.scopes, bus.Options{
		Connection:   &conn,
		OnDisconnect: func(string, bus.Connection) { unsubscribed(errClosed) },
	})
	defer sub.Close()

	s := &stream{
		h: h, w: w, rc: http.NewResponseController(w), req: req, sub: sub,
		heartbeat: time.NewTimer(h.beatAfter()), draining: h.gate.closed,
		ask:   time.NewTimer(h.cfg.Recheck),
		burst: burst{window: req.window, spread: req.spread},
	}
	defer s.heartbeat.Stop()
	defer s.ask.Stop()
	s.askIn(0) // who was disconnected after the request was allowed, but before Subscribe, was not found
	if err := s.open(); err != nil {
		h.log.Error("response can't be streamed: a middleware hides Flush or SetWriteDeadline, see http.ResponseController", "err", err)
		return cannotStream.problem("This server can't stream: see its log.")
	}
	// Else what the server writes to end the response could wait for ever.
	defer func() { _ = s.rc.SetWriteDeadline(time.Now().Add(h.cfg.WriteTimeout)) }()

	log := h.log.With("session", conn.SessionID)
	log.Debug("stream opened", "scopes", len(req.scopes), "resumed", !req.since.IsZero())
	err := s.run(subscribed)
	if reason, ok := final(err); ok {
		s.close(reason)
	}
	if errors.Is(err, errSlow) {
		h.cut.Add(1)
		log.Warn("slow client cut", "after", h.cfg.WriteTimeout)
		return nil
	}
	log.Debug("stream ended", "reason", err)
	return nil
}

var streamHeaders = map[string]string{
	"Content-Type":      "text/event-stream",
	"Cache-Control":     "no-store, no-transform",
	"X-Accel-Buffering": "no",
}

// open sends the headers. On an error none was sent.
func (s *stream) open() error {
	for name, value := range streamHeaders {
		s.w.Header().Set(name, value)
	}
	err := s.rc.SetWriteDeadline(time.Now().Add(s.h.cfg.WriteTimeout))
	if err == nil {
		err = s.rc.Flush()
	}
	if errors.Is(err, http.ErrNotSupported) {
		for name := range streamHeaders {
			s.w.Header().Del(name)
		}
		return err
	}
	return nil // any other error comes again with the first frame
}

// run writes the stream until it ends and says why.
func (s *stream) run(ctx context.Context) error {
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	if err := s.permitted(ctx); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	return s.live(ctx)
}

// close tells the client that and why the stream ends, if it reads.
func (s *stream) close(reason string) {
	b := takeFrames()
	defer b.free()
	if err := b.close(reason); err != nil { // a string: it can't
		panic(err)
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = s.w.Write(b.buf.Bytes())
	_ = s.rc.Flush()
}

// pause waits for wake, for look, for a heartbeat or until it is time to stop; the
// latter two set beat and stopping. An error is the stream's end.
func (s *stream) pause(ctx context.Context, wake <-chan struct{}, look <-chan time.Time) error {
	select {
	case <-ctx.Done():
	case <-wake:
	case <-look:
	case <-s.ask.C: // so that permitted is called
	case <-s.heartbeat.C:
		s.heartbeat.Reset(s.h.beatAfter())
		s.beat = true
	case <-s.draining:
		s.draining = nil
		after := mathrand.N(s.h.gate.over + 1)
		s.stop, s.stopBy = time.After(after), time.Now().Add(after+s.h.cfg.WriteTimeout)
	case <-s.stop:
		s.stopping = true
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// beatAfter returns the time to the next heartbeat: at most the configured one, and
// not the same for all.
func (h *Handler) beatAfter() time.Duration {
	return h.cfg.Heartbeat - mathrand.N(h.cfg.Heartbeat/8+1)
}

// write writes b, if there is anything in it, and empties it. The client has until
// the write timeout, or until the identity expires.
func (s *stream) write(b *frames) error {
	defer b.reset()
	if b.empty() {
		return nil
	}
	deadline, late := time.Now().Add(s.h.cfg.WriteTimeout), errSlow
	if expires := s.req.id.Expires; !expires.IsZero() && expires.Before(deadline) {
		deadline, late = expires, errExpired
	}
	if err := s.rc.SetWriteDeadline(deadline); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	_, err := s.w.Write(b.buf.Bytes())
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		if !time.Now().Before(deadline) {
			return late
		}
		return fmt.Errorf("write: %w", err)
	}
	s.h.frames.Add(uint64(b.events))
	// HTTP/2 resets a stream whose deadline passes, even if nothing is being written.
	return s.rc.SetWriteDeadline(time.Time{})
}
