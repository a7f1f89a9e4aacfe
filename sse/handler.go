package sse

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/sse/internal/wire"
)

// AuthenticateFunc says who asks. An error refuses the request with 401, or with 503
// if it wraps ErrUnavailable; it is logged, never shown. It must not write to the
// request's response.
type AuthenticateFunc func(*http.Request) (Identity, error)

// AuthorizeFunc says whether id may subscribe to scope, which is canonical. It is
// asked for each scope of a request, and for live: and each live query, as in
// live:project_board?p=7, where an error gives a 503, again once the stream
// has subscribed, and at least every Recheck while it lives: false ends it; as long as
// there are errors, nothing is written to it. It must be safe for concurrent use.
type AuthorizeFunc func(ctx context.Context, id Identity, scope string) (bool, error)

// GroupsFunc says which groups a user is in who is not anonymous: at most 1000. It is
// asked when a stream begins, where an error gives a 503, after each [bus.Bus.Regroup] of
// the user, and at least every Recheck while the stream lives: as long as there are errors,
// nothing is written to it. One answer is good for all streams of a user, for 3 seconds,
// unless the user is regrouped. What was committed before it is called, it must know. It
// must be safe for concurrent use; [AskerOf] its context says for whom it is asked.
type GroupsFunc func(ctx context.Context, id Identity) ([]string, error)

// ReplayFunc returns what happened since a cursor. What it returns covers all that
// went onto the bus before it was called; End says how far. It must be safe for
// concurrent use and is given 10 seconds.
type ReplayFunc func(ctx context.Context, since journal.Cursor) (*journal.Replay, error)

// Config tunes a Handler. The zero value is ready to use.
type Config struct {
	Authenticate AuthenticateFunc // nil is Anonymous
	Authorize    AuthorizeFunc    // nil allows every scope: the audience guards the rows
	Groups       GroupsFunc       // nil believes Identity.Groups as long as the stream lives
	Recheck      time.Duration    // how long a permission to have a stream, or a group, holds at most; 0 means 25s
	Live         LiveQueries      // nil has no live queries
	Replay       ReplayFunc       // nil answers each resume with a reset
	Ready        func() error     // nil when caught up with the database, else why not; a nil Ready always is

	Heartbeat    time.Duration // the longest a stream stays silent; 0 means 15s
	WriteTimeout time.Duration // for each write; a client that takes longer is cut; 0 means 10s

	NoArguments []string // parameters of an address that are no live query's arguments: token, say

	MaxScopes int // for one stream; 0 means 100
	MaxLive   int // live queries of one stream; 0 means 20
	MaxReplay int // frames a resume may replay before it gets a reset instead; 0 means 10,000

	MaxStreams        int     // open at once; 0 means 20,000
	MaxStreamsPerUser int     // open at once, of one user who is not anonymous; 0 means any number
	NewestWins        bool    // end the user's oldest stream rather than refuse the new one
	StreamRate        float64 // new streams and questions who is present, a second from one address, ten times as many at once; 0 means any number

	// Hijack has streams over HTTP/1.x take over their connection from net/http, where
	// the response has http.Hijacker: one costs about 5 kB then, not 30. The handler of
	// /events returns as soon as a stream has begun, so middleware sees neither its
	// length nor its end, and the request's context is done; what Replay and Authorize
	// get is another one, without values. Shutdown of the http.Server ends such streams
	// too, its Close does not; only Drain waits for them.
	Hijack bool

	// TrustedProxies are those whose X-Forwarded-For says from where a client comes,
	// for StreamRate.
	TrustedProxies []netip.Prefix

	Logger *slog.Logger // nil discards
}

// Handler serves the routes of this package. Its methods are safe for concurrent
// use. To cut a stream that was not hijacked, ServeHTTP panics with
// http.ErrAbortHandler, as httputil.ReverseProxy does: middleware must let that pass.
type Handler struct {
	bus    *bus.Bus
	cfg    Config
	log    *slog.Logger
	router *mux.Router

	mark string // of ids and cursors that it gave to those who ask for live queries: see liveids.go

	writers *wire.Writers // nil: no stream takes over its connection

	// They make the encoded that all streams share: the second on a stack of its own.
	encode, encodeAside func(*bus.ChangeEvent) any

	gate    gate
	rate    rate
	groups  groupAnswers
	frames  atomic.Uint64
	cut     atomic.Uint64
	refused refusals

	replays, resumeResets, groupsAsked atomic.Uint64
}

// NewHandler returns a Handler for the events of b. It refuses negative settings.
func NewHandler(b *bus.Bus, cfg Config) (*Handler, error) {
	if b == nil {
		return nil, errors.New("a handler needs a bus")
	}
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	h := &Handler{
		bus: b, cfg: cfg, log: cfg.Logger, router: mux.NewRouter(),
		gate: newGate(), rate: rate{perSecond: cfg.StreamRate}, refused: newRefusals(),
	}
	if cfg.Live != nil {
		h.mark = strings.ToLower(rand.Text()[:8])
	}
	if cfg.Hijack {
		h.writers = wire.NewWriters()
	}
	h.encode = func(e *bus.ChangeEvent) any { return h.encodeShared(e) }
	h.encodeAside = func(e *bus.ChangeEvent) (frame any) {
		aside(func() { frame = h.encodeShared(e) })
		return frame
	}
	h.Register(h.router)
	return h, nil
}

// fill checks cfg and sets the defaults.
func (cfg *Config) fill() error {
	if err := cmp.Or(
		setDefault("heartbeat", &cfg.Heartbeat, 15*time.Second),
		setDefault("write timeout", &cfg.WriteTimeout, 10*time.Second),
		setDefault("recheck", &cfg.Recheck, 25*time.Second),
		setDefault("scopes per stream", &cfg.MaxScopes, 100),
		setDefault("live queries per stream", &cfg.MaxLive, 20),
		setDefault("replay limit", &cfg.MaxReplay, 10_000),
		setDefault("number of streams", &cfg.MaxStreams, 20_000),
	); err != nil {
		return err
	}
	if cfg.Authenticate == nil {
		cfg.Authenticate = Anonymous
	}
	if cfg.MaxStreamsPerUser < 0 || !(cfg.StreamRate >= 0) {
		return errors.New("limits must be >= 0")
	}
	if cfg.Ready == nil {
		cfg.Ready = func() error { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// setDefault gives a setting that is zero its default, and refuses one below zero.
func setDefault[T int | time.Duration](name string, value *T, or T) error {
	switch {
	case *value < 0:
		return fmt.Errorf("%s %v: must be > 0, or 0 for the default of %v", name, *value, or)
	case *value == 0:
		*value = or
	}
	return nil
}

// Register adds the routes to r: /events, /presence, /live/{query}, /healthz and /readyz.
func (h *Handler) Register(r *mux.Router) {
	r.HandleFunc("/events", h.events)
	r.HandleFunc("/live/{query}", h.live)
	r.HandleFunc("/presence", h.presence)
	r.HandleFunc("/healthz", h.healthz)
	r.HandleFunc("/readyz", h.readyz)
}

// ServeHTTP serves the routes that Register adds.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.router.ServeHTTP(w, r) }

// events answers GET /events.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		h.refuse(w, r, methodNotAllowed.problem("Only GET opens a stream."))
		return
	}
	if r.ContentLength != 0 {
		// Over HTTP/1.1 net/http reads a body before the first byte of the answer, for as
		// long as its client likes, unless the connection is to be closed. Over HTTP/2 that
		// would be the end of all other streams on it.
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close")
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.cfg.WriteTimeout)) // if it can be
		h.refuse(w, r, badRequest.problem("A request for a stream has no body."))
		return
	}
	if h.gate.draining() {
		h.sendAway(w, r)
		return
	}
	if !h.rate.allow(clientAddr(r, h.cfg.TrustedProxies)) {
		h.refuse(w, r, tooFast.problem("Too many new streams from your address."))
		return
	}
	req, p := h.admit(r, h.cfg.MaxScopes)
	if p != nil {
		h.refuse(w, r, p)
		return
	}
	if p := h.stream(w, r, req); p != nil {
		h.refuse(w, r, p)
	}
}

// reply answers with body and a line end, and is not cached.
func reply(w http.ResponseWriter, status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, body+"\n") //nolint:errcheck // the client's loss
}

// Stats are counts of a Handler since it was made, and its present streams.
type Stats struct {
	Streams int               // open now
	Limit   int               // how many may be
	Frames  uint64            // events and resets written
	Cut     uint64            // streams ended because the client did not read
	Replays uint64            // clients that came back and got what they missed
	Resets  uint64            // clients that came back and got resets in its place
	Groups  uint64            // questions which groups a user is in
	Refused map[string]uint64 // by reason, the last part of the problem's type; all reasons are there
}

// Stats returns the present counts. The map is the caller's.
func (h *Handler) Stats() Stats {
	return Stats{
		Streams: h.gate.count(),
		Limit:   h.cfg.MaxStreams,
		Frames:  h.frames.Load(),
		Cut:     h.cut.Load(),
		Replays: h.replays.Load(),
		Resets:  h.resumeResets.Load(),
		Groups:  h.groupsAsked.Load(),
		Refused: h.refused.counts(),
	}
}
