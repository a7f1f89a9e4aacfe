package sse

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/pgbell/pgbell/journal/scope"
)

// ByScopes is the AuthorizeFunc that allows what the identity's Scopes name: nothing
// if there are none.
func ByScopes(_ context.Context, id Identity, asked string) (bool, error) {
	for _, pattern := range id.Scopes {
		begin, open := strings.CutSuffix(pattern, "*")
		begin = scope.Canonical(begin)
		if asked == begin && !open || open && strings.HasPrefix(asked, begin) {
			return true, nil
		}
	}
	return false, nil
}

var (
	errRefused = errors.New("no longer allowed")
	errUnsure  = errors.New("whether it is still allowed could not be told")
)

// askTimeout is how long the AuthorizeFunc may take for all scopes of a live stream.
const askTimeout = 5 * time.Second

// Asker is for whom an AuthorizeFunc is asked, for one that can answer few questions at
// once: see AskerOf.
type Asker struct {
	// Network is the client's IPv4 address, or the /64 of its IPv6 address. The zero Addr
	// says that it isn't known: a trusted proxy didn't tell.
	Network netip.Addr

	Live bool // its stream is open, and ends if there is no answer
}

type askerKey struct{}

// AskerOf returns for whom ctx, an AuthorizeFunc's, is: the zero Asker of any other.
func AskerOf(ctx context.Context) Asker {
	asker, _ := ctx.Value(askerKey{}).(Asker)
	return asker
}

// asker returns for whom r is asked about.
func (h *Handler) asker(r *http.Request) Asker {
	addr := clientAddr(r, h.cfg.TrustedProxies)
	if isIn(h.cfg.TrustedProxies, addr) {
		return Asker{}
	}
	return Asker{Network: network(addr)}
}

// refuses returns the first of scopes that id may not subscribe to, "" if there is
// none.
func (h *Handler) refuses(ctx context.Context, asker Asker, id Identity, scopes []string) (scope string, err error) {
	if h.cfg.Authorize == nil {
		return "", nil
	}
	ctx = context.WithValue(ctx, askerKey{}, asker)
	for _, scope := range scopes {
		ok, err := h.cfg.Authorize(ctx, id, scope)
		if err != nil || !ok {
			return scope, err
		}
	}
	return "", nil
}

// askAfter returns the time until a stream's permission is asked for again: not the
// same for all streams.
func (h *Handler) askAfter() time.Duration { return h.cfg.Recheck - mathrand.N(h.cfg.Recheck/4+1) }

// permitted returns nil once it is certain that the stream may go on: at once,
// unless it is time to ask again. As long as there is no answer, the client gets no
// more than a sign of life, and after another such time its end.
func (s *stream) permitted() error {
	if s.h.cfg.Authorize == nil || time.Now().Before(s.askAt) {
		return nil
	}
	for first, giveUp := true, s.askAt.Add(s.h.cfg.Recheck); ; first = false {
		scope, err := "", errUnsure
		if end := s.call(askTimeout, func(ctx context.Context) {
			scope, err = s.h.refuses(ctx, Asker{s.req.network, true}, s.req.id, s.req.scopes)
		}); end != nil {
			return end
		}
		switch {
		case err == nil && scope == "":
			s.askAt = time.Now().Add(s.h.askAfter())
			return nil
		case err == nil:
			return errRefused
		case !time.Now().Before(giveUp):
			return errUnsure
		case first:
			s.h.log.Warn("authorization has no answer, holding a stream", "err", err)
		}
		if err := s.hold(time.Second); err != nil {
			return err
		}
	}
}
