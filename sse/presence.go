package sse

import (
	"encoding/json"
	"net/http"

	"github.com/pgbell/pgbell/bus"
)

// presence answers GET /presence: who has a stream on a scope, for those who may
// have one themselves.
func (h *Handler) presence(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		h.refuse(w, r, methodNotAllowed.problem("Only GET asks who is present."))
		return
	}
	if !h.rate.allow(clientAddr(r, h.cfg.TrustedProxies)) {
		h.refuse(w, r, tooFast.problem("Too many requests from your address."))
		return
	}
	req, p := h.admit(r, 1)
	if p != nil {
		h.refuse(w, r, p)
		return
	}
	if len(req.scopes) == 0 {
		h.refuse(w, r, noScope.problem("Say whose subscribers you ask for, as in ?scope=project:7."))
		return
	}
	body, err := json.Marshal(struct {
		Scope       string           `json:"scope"`
		Connections []bus.Connection `json:"connections"`
	}{req.scopes[0], h.bus.Presence(req.scopes[0])})
	if err != nil { // strings and times of ours: it can't
		panic(err)
	}
	reply(w, http.StatusOK, "application/json", string(body))
}
