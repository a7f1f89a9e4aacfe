package sse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
)

// resultTimeout is how long a client waits for a result.
const resultTimeout = 10 * time.Second

// live answers GET /live/name?a=1: the result of a live query, as a stream would tell of it.
func (h *Handler) live(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		h.refuse(w, r, methodNotAllowed.problem("Only GET asks for a result."))
		return
	}
	if h.cfg.Live == nil {
		h.refuse(w, r, noLiveQuery.problem("This server keeps no live queries: it takes pgbell serve --live-role."))
		return
	}
	if !h.rate.allow(clientAddr(r, h.cfg.TrustedProxies)) {
		h.refuse(w, r, tooFast.problem("Too many requests from your address."))
		return
	}
	q, id, p := h.admitLive(r)
	if p != nil {
		h.refuse(w, r, p)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), resultTimeout)
	defer cancel()
	// Who doesn't hear the database, doesn't know what has changed.
	fresh := h.hears() != nil || strings.Contains(r.Header.Get("Cache-Control"), "no-cache")
	result, err := h.cfg.Live.Result(ctx, id, q, fresh)
	if err != nil {
		h.refuse(w, r, h.noResult(err))
		return
	}
	tag := `"` + result.Rows.ETag() + `"`
	w.Header().Set("ETag", "W/"+tag)
	w.Header().Set("Cache-Control", "private, no-cache")
	cursor := marked(result.Cursor, h.mark)
	w.Header().Set("Pgbell-Cursor", cursor)
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body, err := json.Marshal(struct {
		Live   string          `json:"live"`
		Cursor string          `json:"cursor"`
		Rows   json.RawMessage `json:"rows"`
	}{q.String(), cursor, result.Rows.JSON()})
	if err != nil {
		h.refuse(w, r, h.noResult(fmt.Errorf("the result is no JSON: %w", err)))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n')) //nolint:errcheck // the client's loss
}

// admitLive says what r asks for, and for whom, if that is allowed.
func (h *Handler) admitLive(r *http.Request) (LiveQuery, Identity, *problem) {
	id, err := h.Identify(r, false)
	if err != nil {
		return LiveQuery{}, Identity{}, h.unknown(err)
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return LiveQuery{}, Identity{}, badLiveQuery.problem("The query string is malformed: " + err.Error() + ".")
	}
	for _, name := range h.cfg.NoArguments {
		values.Del(name)
	}
	q, err := newLiveQuery(mux.Vars(r)["query"], values.Encode())
	if err != nil {
		return LiveQuery{}, Identity{}, badLiveQuery.problem("The live query can't be read: " + err.Error() + ".")
	}
	asker := h.asker(r)
	if p := h.joinGroups(r.Context(), asker, &id); p != nil {
		return LiveQuery{}, Identity{}, p
	}
	return q, id, h.permit(r.Context(), asker, id, []string{q.liveScope()})
}

// noResult is the refusal for an error of Live.
func (h *Handler) noResult(err error) *problem {
	argument := (*ArgumentError)(nil)
	switch {
	case errors.Is(err, ErrNoQuery):
		return noLiveQuery.problem("There is no live query of this name: select pgbell.live('...') makes one of a function.")
	case errors.As(err, &argument):
		return badLiveQuery.problem("The live query can't be asked so: " + err.Error() + ".")
	}
	h.log.Warn("a live query has no result", "err", err)
	return noLiveResult.problem("The live query has no result at the moment: the server's log says why.")
}

// rowsIn says which rows the frames of live queries have.
type rowsIn int

const (
	noRows    rowsIn = iota // none: the client fetches them
	allRows                 // those of the result
	deltaRows               // what is another, where the client is known to have the others
)

// readRows reads which rows are asked for.
func readRows(query url.Values) (rowsIn, *problem) {
	switch values := query["rows"]; {
	case len(values) == 0:
		return noRows, nil
	case len(values) == 1 && values[0] == "all":
		return allRows, nil
	case len(values) == 1 && values[0] == "delta":
		return deltaRows, nil
	}
	return noRows, badRequest.problem("rows is all or delta, as in rows=all.")
}

// readLives reads the live queries asked for.
func (h *Handler) readLives(asked []string) ([]LiveQuery, *problem) {
	if len(asked) > 0 && h.cfg.Live == nil {
		return nil, badLiveQuery.problem("This server keeps no live queries: it takes pgbell serve --live-role.")
	}
	var lives []LiveQuery
	for _, text := range asked {
		q, err := parseLive(text)
		switch {
		case err != nil:
			return nil, badLiveQuery.problem(fmt.Sprintf("A live query can't be read: %v. Write it as in live=project_board%%3Fp%%3D7.", err))
		case slices.ContainsFunc(lives, func(other LiveQuery) bool { return other.String() == q.String() }):
			continue
		case len(lives) == h.cfg.MaxLive:
			return nil, badLiveQuery.problem(fmt.Sprintf("More live queries than one stream may have: %d.", h.cfg.MaxLive))
		}
		lives = append(lives, q)
	}
	return lives, nil
}
