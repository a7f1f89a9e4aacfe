package sse

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/journal/scope"
)

// request is what an admitted request asks for, and for whom.
type request struct {
	id      Identity
	network netip.Addr     // its Asker's
	scopes  []string       // canonical, none twice
	lives   []LiveQuery    // none twice
	rows    rowsIn         // in their frames
	whole   []LiveQuery    // whose result the client hasn't, whatever since says
	since   journal.Cursor // zero: from now on
	mark    string         // that came with since
	origins []string       // whose changes to leave out

	window, spread time.Duration // how long an event may wait for others of its scope: see burst
}

// admit reads r and asks whether it may be answered: who asks, for what, and
// whether that is allowed. It writes nothing.
func (h *Handler) admit(r *http.Request, maxScopes int) (request, *problem) {
	id, err := h.Identify(r, false)
	if err != nil {
		return request{}, h.unknown(err)
	}
	req, p := h.readRequest(r, maxScopes)
	if p != nil {
		return request{}, p
	}
	asker := h.asker(r)
	req.network = asker.Network
	if p := h.joinGroups(r.Context(), asker, &id); p != nil {
		return request{}, p
	}
	req.id = id
	if p := h.permit(r.Context(), asker, id, req.names()); p != nil {
		return request{}, p
	}
	return req, nil
}

// permit asks whether id may have what is named.
func (h *Handler) permit(ctx context.Context, asker Asker, id Identity, names []string) *problem {
	switch scope, err := h.refuses(ctx, asker, id, names); {
	case err != nil:
		h.log.Warn("authorization has no answer", "err", err)
		return notAuthorized.problem("Whether the scope is allowed can't be told at the moment.")
	case scope != "":
		p := notAllowed.problem(fmt.Sprintf("You may not subscribe to %s.", scope))
		p.Scope = scope
		return p
	}
	return nil
}

// names are what an AuthorizeFunc is asked about.
func (req *request) names() []string {
	if len(req.lives) == 0 {
		return req.scopes
	}
	names := slices.Clone(req.scopes)
	for _, q := range req.lives {
		names = append(names, q.liveScope())
	}
	return names
}

// readRequest reads the parameters of r.
func (h *Handler) readRequest(r *http.Request, maxScopes int) (request, *problem) {
	// Not r.URL.Query(), which drops what it can't read: a scope dropped is a
	// subscriber that waits for ever.
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return request{}, badRequest.problem("The query string is malformed: " + err.Error() + ".")
	}
	var req request
	var p *problem
	if req.lives, p = h.readLives(query["live"]); p != nil {
		return request{}, p
	}
	if req.whole, p = h.readLives(query["whole"]); p != nil {
		return request{}, p
	}
	if req.rows, p = readRows(query); p != nil {
		return request{}, p
	}
	if len(query["scope"]) > 0 || len(req.lives) == 0 {
		if req.scopes, p = readScopes(query["scope"], maxScopes); p != nil {
			return request{}, p
		}
	}
	if req.since, req.mark, p = readCursor(r.Header.Get("Last-Event-ID"), query); p != nil {
		return request{}, p
	}
	for _, origin := range query["origin"] {
		if origin != "" { // else all changes without an origin
			req.origins = append(req.origins, strings.Clone(origin)) // not the whole address
		}
	}
	if req.window, p = readWait(query, "coalesce"); p != nil {
		return request{}, p
	}
	if req.spread, p = readWait(query, "spread"); p != nil {
		return request{}, p
	}
	return req, nil
}

// maxWait is the most that may be asked for by coalesce and spread each.
const maxWait = time.Minute

// readWait reads how long an event may wait, 0 if nothing is said.
func readWait(query url.Values, name string) (time.Duration, *problem) {
	switch values := query[name]; {
	case len(values) == 0:
		return 0, nil
	case len(values) > 1:
		return 0, badRequest.problem(fmt.Sprintf("There is more than one %s=.", name))
	}
	d, err := time.ParseDuration(query.Get(name))
	if err != nil || d < 0 || d > maxWait {
		return 0, badRequest.problem(fmt.Sprintf("%s is a time from 0s to %v, as in %s=200ms.", name, maxWait, name))
	}
	return d, nil
}

// readScopes brings the scopes asked for to their canonical form.
func readScopes(asked []string, limit int) ([]string, *problem) {
	if len(asked) == 0 {
		return nil, noScope.problem("Say what to listen to, as in ?scope=tasks&scope=project:7.")
	}
	var scopes []string
	for _, name := range asked {
		if name == "" {
			return nil, badScope.problem("A scope is empty.")
		}
		if len(name) <= scope.MaxBytes { // else it does not become shorter
			name = scope.Canonical(name)
		}
		switch {
		case len(name) > scope.MaxBytes:
			return nil, badScope.problem(fmt.Sprintf("A scope is longer than %d bytes, percent-encoding included.", scope.MaxBytes))
		case scope.Reserved(name):
			return nil, badScope.problem(fmt.Sprintf("%q is a reserved name, not a scope.", name))
		case slices.Contains(scopes, name):
			continue
		case len(scopes) == limit:
			return nil, tooManyScopes.problem(fmt.Sprintf("More scopes than can be asked for at once: %d.", limit))
		}
		scopes = append(scopes, name)
	}
	return scopes, nil
}

// sinceNames are the parameters that say from where to resume, the first that does
// before the others: polyfills of EventSource, which can't send the header to other
// origins, add one of the first two, and leave the since that the address had at first.
var sinceNames = []string{"Last-Event-ID", "lastEventId", "since"}

// readCursor reads from where to resume. The header wins over the parameters: a browser
// sends it when it comes back, to the address it had at first.
func readCursor(lastEventID string, query url.Values) (_ journal.Cursor, mark string, _ *problem) {
	given := lastEventID != ""
	for _, name := range sinceNames {
		values := query[name]
		switch {
		case given || len(values) == 0:
			continue
		case len(values) > 1:
			return journal.Cursor{}, "", badCursor.problem(fmt.Sprintf("There is more than one %s=.", name))
		}
		lastEventID = values[0]
		given = lastEventID != "" || name == "since" // a polyfill that has no last id yet sends an empty one
	}
	if !given {
		return journal.Cursor{}, "", nil
	}
	text, mark, _ := strings.Cut(lastEventID, markSeparator)
	cursor, err := journal.ParseCursor(text)
	if err != nil {
		return journal.Cursor{}, "", badCursor.problem(
			"The text to resume from is not a cursor. It comes from the id of a frame or from pgbell.cursor(), unchanged.")
	}
	return cursor, strings.Clone(mark), nil
}
