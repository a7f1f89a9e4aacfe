package sse

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
)

// refusal is one reason for not answering a request.
type refusal struct {
	name   string // ends the type of its problems
	title  string
	status int
	header map[string]string
}

var (
	retrySoon = map[string]string{"Retry-After": "5"} // seconds: the refusal is for the moment

	methodNotAllowed = &refusal{"method-not-allowed", "Method not allowed", http.StatusMethodNotAllowed,
		map[string]string{"Allow": http.MethodGet}}
	// EventSource can't follow a challenge, but RFC 9110 asks for one, and Bearer is
	// the one for which no browser opens a dialog.
	badCredentials = &refusal{"bad-credentials", "No or bad credentials", http.StatusUnauthorized,
		map[string]string{"WWW-Authenticate": `Bearer realm="pgbell"`}}
	noAuthentication = &refusal{"authentication-unavailable", "Can't tell who asks", http.StatusServiceUnavailable, retrySoon}
	badRequest       = &refusal{"bad-request", "Query can't be read", http.StatusBadRequest, nil}
	noScope          = &refusal{"no-scope", "No scope", http.StatusBadRequest, nil}
	badScope         = &refusal{"bad-scope", "Bad scope", http.StatusBadRequest, nil}
	tooManyScopes    = &refusal{"too-many-scopes", "Too many scopes", http.StatusBadRequest, nil}
	badCursor        = &refusal{"bad-cursor", "Malformed cursor", http.StatusBadRequest, nil}
	notAllowed       = &refusal{"scope-not-allowed", "Scope not allowed", http.StatusForbidden, nil}
	notAuthorized    = &refusal{"authorization-unavailable", "Can't tell whether the scope is allowed", http.StatusServiceUnavailable, retrySoon}
	tooManyStreams   = &refusal{"too-many-streams", "Too many streams", http.StatusServiceUnavailable, retrySoon}
	tooManyOfUser    = &refusal{"too-many-streams-of-user", "Too many streams of one user", http.StatusTooManyRequests, retrySoon}
	tooFast          = &refusal{"too-fast", "Too many requests", http.StatusTooManyRequests, retrySoon}
	tooManyGroups    = &refusal{"too-many-groups", "Too many groups", http.StatusForbidden, nil}
	noGroups         = &refusal{"groups-unavailable", "Can't tell which groups the user is in", http.StatusServiceUnavailable, retrySoon}
	noLiveQuery      = &refusal{"no-live-query", "No such live query", http.StatusNotFound, nil}
	badLiveQuery     = &refusal{"bad-live-query", "Bad live query", http.StatusBadRequest, nil}
	noLiveResult     = &refusal{"live-query-unavailable", "No result at the moment", http.StatusServiceUnavailable, retrySoon}
	cannotStream     = &refusal{"cannot-stream", "Can't stream", http.StatusInternalServerError, nil}

	allRefusals = []*refusal{
		methodNotAllowed, badCredentials, noAuthentication, badRequest, noScope, badScope, tooManyScopes, badCursor,
		notAllowed, notAuthorized, tooManyStreams, tooManyOfUser, tooFast, tooManyGroups, noGroups, noLiveQuery, badLiveQuery, noLiveResult, cannotStream,
	}
)

// problem is a refusal with the particulars of a request, in the form of RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Scope  string `json:"scope,omitempty"` // the scope that is not allowed

	why *refusal
}

// problem returns what to answer. Nothing secret may be in detail.
func (why *refusal) problem(detail string) *problem {
	return &problem{
		Type:   "urn:pgbell:problem:" + why.name,
		Title:  why.title,
		Status: why.status,
		Detail: detail,
		why:    why,
	}
}

// refuse answers with p. Nothing may have been written before.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, p *problem) {
	h.refused[p.why.name].Add(1)
	h.log.Debug("request refused", "path", r.URL.Path, "reason", p.why.name, "status", p.Status)
	body, err := json.Marshal(p)
	if err != nil { // strings and a number: it can't
		panic(err)
	}
	for name, value := range p.why.header {
		w.Header().Set(name, value)
	}
	reply(w, p.Status, "application/problem+json", string(body))
}

// refusals counts refusals by name.
type refusals map[string]*atomic.Uint64

// newRefusals returns counters of all reasons, at 0: a monitor can't see that a counter
// grew which begins at 1.
func newRefusals() refusals {
	c := make(refusals, len(allRefusals))
	for _, why := range allRefusals {
		c[why.name] = new(atomic.Uint64)
	}
	return c
}

func (c refusals) counts() map[string]uint64 {
	counts := make(map[string]uint64, len(c))
	for name, n := range c {
		counts[name] = n.Load()
	}
	return counts
}
