package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/cmd/pgbell/webpage"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pglive"
	"github.com/pgbell/pgbell/triggers"
)

func statusFlag() cli.Flag {
	return boolFlag("status", true, "serve a status page at /, for whoever --auth knows; it shows table names and counts, no rows and no scopes")
}

var (
	//go:embed status
	statusFiles embed.FS

	statusTemplates = template.Must(template.New("status").Funcs(template.FuncMap{"listWords": listWords}).ParseFS(statusFiles, "status/*.html"))
)

// statusParts are the templates of the parts of the page that change.
var statusParts = []string{"top", "troubles", "charts", "facts", "scopes", "feeds", "resets"}

// statusPage shows people how a server is doing.
type statusPage struct {
	bus       *bus.Bus
	listener  *listener.Listener
	handler   *sse.Handler
	live      *pglive.Engine // nil keeps no live queries
	feeds     *feedWatch
	history   *history
	watchers  *watchers
	database  string
	retention time.Duration
	named     bool // the anonymous may not see it
	log       *slog.Logger
	started   time.Time

	mu        sync.Mutex // guards what follows
	groups    []group
	users     int
	anonymous int
	countedAt time.Time
	counting  time.Duration // how long it took
}

// register adds the page's routes to r: at /, unless that is taken, and at /status.
func (p *statusPage) register(r *mux.Router, root bool) {
	page := r.Methods(http.MethodGet, http.MethodHead).Subrouter()
	page.Use(webpage.Headers)
	if root {
		page.HandleFunc("/", p.page)
	}
	page.HandleFunc("/status", p.page)
	for _, name := range []string{"style.css", "script.js", "icon.svg"} {
		page.HandleFunc("/status/"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, statusFiles, "status/"+name)
		})
	}
	r.HandleFunc("/status/events", p.events).Methods(http.MethodGet)
}

// page answers with what there is to show now.
func (p *statusPage) page(w http.ResponseWriter, r *http.Request) {
	_, err := p.handler.Identify(r, p.named)
	switch {
	case err == nil:
		p.render(w, http.StatusOK, "page.html", p.view())
	case strings.Contains(r.Header.Get("Accept"), "text/html") && !errors.Is(err, sse.ErrUnavailable):
		w.Header().Set("WWW-Authenticate", `Bearer realm="pgbell"`) // RFC 9110 asks for a challenge; no browser opens a dialog at this one
		p.render(w, http.StatusUnauthorized, "who.html", nil)
	default:
		p.handler.Refuse(w, r, err)
	}
}

// events answers with the stream of what changes.
func (p *statusPage) events(w http.ResponseWriter, r *http.Request) {
	if _, err := p.handler.Identify(r, p.named); err != nil { // the handler counts its refusals
		p.handler.Refuse(w, r, err)
		return
	}
	p.watchers.ServeHTTP(w, r)
}

func (p *statusPage) render(w http.ResponseWriter, code int, name string, data any) {
	var b bytes.Buffer
	if err := statusTemplates.ExecuteTemplate(&b, name, data); err != nil {
		p.log.Error("the status page can't be rendered", "err", err)
		http.Error(w, "The page can't be rendered.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	w.Write(b.Bytes()) //nolint:errcheck // the client's loss
}

// parts renders what changes, by the id of its element.
func (p *statusPage) parts() (map[string]string, error) {
	v, parts := p.view(), make(map[string]string)
	for _, name := range statusParts {
		var b bytes.Buffer
		if err := statusTemplates.ExecuteTemplate(&b, name, v); err != nil {
			return nil, err
		}
		parts[name] = b.String()
	}
	return parts, nil
}

// run keeps the history until ctx is done, and tells the watchers what has changed.
func (p *statusPage) run(ctx context.Context) {
	p.history.run(ctx, p.totals, func() {
		if !p.watchers.any() {
			return
		}
		p.feeds.watched()
		parts, err := p.parts()
		if err != nil {
			p.log.Error("the status page can't be rendered", "err", err)
			return
		}
		p.watchers.tell(parts)
	})
}

func (p *statusPage) totals() totals {
	b, h := p.bus.Stats(), p.handler.Stats()
	return totals{events: b.Emitted, frames: h.Frames, lost: b.Dropped + h.Cut, position: p.bus.Position()}
}

// grouped counts who is subscribed. That takes time where there are very many
// scopes, so that it then happens less often.
func (p *statusPage) grouped(feeds []triggers.Feed) (users, anonymous int, groups []group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if began := time.Now(); p.countedAt.IsZero() || began.Sub(p.countedAt) > 50*p.counting {
		census := p.bus.Census()
		p.users, p.anonymous, p.groups = census.Users, census.Anonymous, groupScopes(census.Scopes, feeds)
		p.countedAt, p.counting = began, time.Since(began)
	}
	return p.users, p.anonymous, p.groups
}
