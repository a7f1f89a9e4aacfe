package sse

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

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
	h.log.Debug("credentials refused", "err", err)
	h.refuse(w, r, unknown(err))
}

// unknown is the refusal for an error of authentication.
func unknown(err error) *problem {
	if errors.Is(err, ErrUnavailable) {
		return noAuthentication.problem("Who asks can't be told at the moment.")
	}
	return badCredentials.problem("The request's credentials are missing, malformed or expired.")
}
