package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/sse"
)

const (
	maxWatchers = 32
	statusScope = "status" // the only one of the watchers' bus
)

// watchers are the browsers that show the page: subscribers of a bus of its own, so
// that they neither count nor show among the database's. Only tell is not safe for
// concurrent use.
type watchers struct {
	bus      *bus.Bus
	streams  *sse.Handler
	ended    context.Context   // done when the server drains
	told     map[string]string // the parts that all sessions have; nil: not all have the same
	sessions map[string]bool   // to which told was told
}

// newWatchers returns watchers without any. identify says who asks for a stream, and
// whether its user may still have it.
func newWatchers(ended context.Context, identify sse.AuthenticateFunc, log *slog.Logger) (*watchers, error) {
	ws := &watchers{ended: ended}
	var err error
	ws.bus, err = bus.New(bus.Config{
		QueueSize: 1, // what is newer takes the place of what was not read
		OnDrop:    func(string, bus.ChangeEvent) { ws.told = nil },
	})
	if err != nil {
		return nil, err
	}
	ws.bus.Advance("0") // or streams wait for a database to be heard
	ws.streams, err = sse.NewHandler(ws.bus, sse.Config{
		Authenticate: func(r *http.Request) (sse.Identity, error) { return identify(askedBy(r.Context())) },
		Authorize: func(ctx context.Context, id sse.Identity, _ string) (bool, error) {
			now, err := identify(askedBy(ctx))
			// A user who can't be told at the moment keeps the stream until the next time.
			return errors.Is(err, sse.ErrUnavailable) || err == nil && now.UserID == id.UserID, nil
		},
		MaxStreams: maxWatchers,
		Logger:     log,
	})
	return ws, err
}

type askedKey struct{}

// askedBy returns the request that a watcher's stream answers.
func askedBy(ctx context.Context) *http.Request {
	r := ctx.Value(askedKey{}).(*http.Request)
	return r.WithContext(ctx)
}

// ServeHTTP answers with the parts of the page that change, each time they do. What
// the request says is for identify alone: an id that it resumes from is of no journal.
func (ws *watchers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), askedKey{}, r))
	defer cancel()
	defer context.AfterFunc(ws.ended, cancel)()
	r = r.WithContext(ctx)
	r.URL, r.Header = &url.URL{Path: "/events", RawQuery: "scope=" + statusScope}, nil
	ws.streams.ServeHTTP(w, r)
}

func (ws *watchers) any() bool { return ws.bus.Stats().Subscriptions > 0 }

// disconnect ends what a user watches.
func (ws *watchers) disconnect(user string) { ws.bus.CloseUser(user) }

// tell emits the parts that have changed: all of them, if not all watchers have the
// others. parts are not to be changed.
func (ws *watchers) tell(parts map[string]string) {
	sessions := make(map[string]bool)
	for _, c := range ws.bus.Presence(statusScope) {
		if sessions[c.SessionID] = true; !ws.sessions[c.SessionID] {
			ws.told = nil
		}
	}
	changed := maps.Clone(parts)
	maps.DeleteFunc(changed, func(name, html string) bool { return ws.told[name] == html })
	ws.told, ws.sessions = parts, sessions
	if len(changed) == 0 {
		return
	}
	data, err := json.Marshal(changed)
	if err != nil { // strings only: it can't
		panic(err)
	}
	ws.bus.Emit(bus.ChangeEvent{Scope: statusScope, Op: bus.OpPublish, Data: data})
}
