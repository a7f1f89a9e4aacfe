package sse

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pgbell/pgbell/journal/scope"
)

// ErrUnavailable is what an AuthenticateFunc's error wraps when it can't tell at the
// moment. It should log why by itself: each request that fails so is logged at the
// level of debug only, as anybody can send any number of them.
var ErrUnavailable = errors.New("authentication unavailable")

// maxUserID is the longest user id there is, in bytes.
const maxUserID = scope.MaxName

// Identity is the user who asks.
type Identity struct {
	UserID  string    // at most 1024 bytes, no control characters; empty means anonymous: sees only what everyone may see
	Expires time.Time // ends the stream; the zero value never does
	Groups  []string  // that the user is in, at most 1000; not asked for if there is Config.Groups. An anonymous user is in none
	Scopes  []string  // what [ByScopes] allows: scopes, and with a trailing * all that begin so; nil if the credentials don't say
}

// check says what is wrong with id, if anything.
func (id Identity) check(now time.Time) error {
	switch {
	case len(id.UserID) > maxUserID:
		return errors.New("user id too long")
	case !utf8.ValidString(id.UserID):
		return errors.New("user id is not UTF-8")
	case strings.ContainsFunc(id.UserID, unicode.IsControl):
		return errors.New("user id with a control character")
	case id.expired(now):
		return errors.New("identity expired")
	}
	return nil
}

func (id Identity) expired(now time.Time) bool {
	return !id.Expires.IsZero() && !now.Before(id.Expires)
}

// Anonymous is the AuthenticateFunc that knows nobody.
func Anonymous(*http.Request) (Identity, error) { return Identity{}, nil }

// HeaderAuth returns an AuthenticateFunc for servers behind a proxy that has
// authenticated the user and says in header who it is. The header is believed only
// from an address in trusted, which must be the proxy's own: anybody who can
// connect from there can be anyone. From elsewhere it is ignored. Without it, or if
// it is empty, the request is anonymous. A header that is there twice is refused:
// a proxy may have added its own behind one that the client sent.
func HeaderAuth(header string, trusted []netip.Prefix) AuthenticateFunc {
	return HeaderGroups(header, "", trusted)
}

// HeaderGroups is HeaderAuth with the user's groups, separated by commas, in another
// header, which is believed where header is. Groups without a user are nobody's.
func HeaderGroups(header, groups string, trusted []netip.Prefix) AuthenticateFunc {
	header = http.CanonicalHeaderKey(header)
	return func(r *http.Request) (Identity, error) {
		values := r.Header[header]
		if len(values) == 0 || !isIn(trusted, peerAddr(r)) {
			return Identity{}, nil
		}
		if len(values) > 1 {
			return Identity{}, errors.New(header + " is there more than once")
		}
		id := Identity{UserID: values[0]}
		if groups == "" {
			return id, nil
		}
		switch all := r.Header.Values(groups); len(all) {
		case 0:
		case 1:
			for name := range strings.SplitSeq(all[0], ",") {
				if name = strings.TrimSpace(name); name != "" {
					id.Groups = append(id.Groups, name)
				}
			}
		default:
			return Identity{}, errors.New(groups + " is there more than once")
		}
		return id, nil
	}
}

// Identify says who asks, for a route that stands beside the handler's own: it
// believes what a stream would. named refuses the anonymous. An error is for
// Refuse; it wraps ErrUnavailable if who asks can't be told at the moment.
func (h *Handler) Identify(r *http.Request, named bool) (Identity, error) {
	id, err := h.cfg.Authenticate(r)
	if err == nil {
		err = id.check(time.Now())
	}
	if err == nil && named && id.UserID == "" {
		err = errors.New("nobody is named")
	}
	if err != nil {
		return Identity{}, fmt.Errorf("identify: %w", err)
	}
	return id, nil
}

// Refuse answers r with what Identify found wrong, as a stream would be refused.
func (h *Handler) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	h.refuse(w, r, h.unknown(err))
}

// unknown is the refusal for an error of authentication.
func (h *Handler) unknown(err error) *problem {
	h.log.Debug("credentials refused", "err", err)
	if errors.Is(err, ErrUnavailable) {
		return noAuthentication.problem("Who asks can't be told at the moment.")
	}
	return badCredentials.problem("The request's credentials are missing, malformed or expired.")
}
