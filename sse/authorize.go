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
		if !strings.HasPrefix(asked, livePrefix) {
			begin = scope.Canonical(begin)
		}
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

// AskerOf returns for whom ctx, an AuthorizeFunc's or a GroupsFunc's, is: the zero Asker of
// any other.
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

// asks says whether anybody is asked about the stream while it lives.
func (s *stream) asks() bool { return s.h.cfg.Authorize != nil || s.asksGroups() }

// due says whether it is time to ask: permitted will.
func (s *stream) due(now time.Time) bool {
	return s.stale() || s.asks() && !now.Before(s.askAt)
}

// permitted returns nil once it is certain that the stream may go on, with the groups of
// now: at once, unless it is time to ask again. As long as there is no answer, the client
// gets no more than a sign of life, and after another such time its end.
func (s *stream) permitted() error {
	now := time.Now()
	if !s.due(now) {
		return nil
	}
	giveUp := now.Add(s.h.cfg.Recheck)
	if !now.Before(s.askAt) {
		giveUp = s.askAt.Add(s.h.cfg.Recheck)
	}
	for first := true; ; first = false {
		var a ruling
		err := errUnsure
		if end := s.call(askTimeout, func(ctx context.Context) { a, err = s.ask(ctx) }); end != nil {
			return end
		}
		if err == nil {
			s.heed(a)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errTooManyGroups):
			s.h.log.Warn("a stream ends", "session", s.session, "err", err)
			return errRefused
		case err == errRefused: //nolint:errorlint // ask's own
			return err
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

// ruling is the answer to what was asked while the stream waited.
type ruling struct {
	groups []string
	asked  uint64 // the bus's Regroups when they were asked for
	until  time.Time
}

// ask asks what is to be asked now. It changes nothing of the stream.
func (s *stream) ask(ctx context.Context) (a ruling, err error) {
	asker, id := Asker{s.req.network, true}, s.req.id
	if s.asksGroups() {
		if a.groups, a.asked, err = s.h.groupsOf(ctx, asker, id, s.sub.Stale()); err != nil {
			return a, err
		}
		id.Groups = a.groups
	} else {
		id.Groups = s.sub.Groups()
	}
	if a.until = s.askAt; time.Now().Before(a.until) {
		return a, nil
	}
	switch scope, err := s.h.refuses(ctx, asker, id, s.req.names()); {
	case err != nil:
		return a, err
	case scope != "":
		return a, errRefused
	}
	a.until = time.Now().Add(s.h.askAfter())
	return a, nil
}

// heed goes on with a ruling.
func (s *stream) heed(a ruling) {
	s.askAt = a.until
	if s.asksGroups() {
		s.regroup(a.groups, a.asked)
	}
}
