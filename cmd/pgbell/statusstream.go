package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/pgbell/pgbell/sse"
)

const (
	maxWatchers   = 32
	watcherBeat   = 15 * time.Second // the longest a watcher hears nothing
	watcherAsk    = 25 * time.Second // how long a permission to watch holds
	watcherWrites = 10 * time.Second // for each write
)

// watchers are those who look at the page. The zero value is ready to use.
type watchers struct {
	mu  sync.Mutex
	all map[*watcher]bool
}

type watcher struct {
	user  string
	parts chan map[string]string // the newest alone
	leave chan struct{}
	left  sync.Once
}

func (ws *watchers) any() bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.all) > 0
}

// enter adds one, or returns nil if there are too many.
func (ws *watchers) enter(user string) *watcher {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.all) >= maxWatchers {
		return nil
	}
	if ws.all == nil {
		ws.all = make(map[*watcher]bool)
	}
	w := &watcher{user: user, parts: make(chan map[string]string, 1), leave: make(chan struct{})}
	ws.all[w] = true
	return w
}

func (ws *watchers) remove(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.all, w)
}

// tell gives parts to all. They are not to be changed. Who is slow gets the next.
func (ws *watchers) tell(parts map[string]string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		select {
		case <-w.parts:
		default:
		}
		w.parts <- parts // nobody else sends
	}
}

// disconnect ends what a user watches.
func (ws *watchers) disconnect(user string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		if w.user == user {
			w.left.Do(func() { close(w.leave) })
		}
	}
}

// events answers with the parts of the page that change, each time they do. It is no
// stream of the bus: it counts as no subscriber, and shows in no presence.
func (p *statusPage) events(w http.ResponseWriter, r *http.Request) {
	id, err := p.handler.Identify(r, p.named)
	if err != nil {
		p.handler.Refuse(w, r, err)
		return
	}
	me := p.watchers.enter(id.UserID)
	if me == nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "Too many look at this page.", http.StatusServiceUnavailable)
		return
	}
	defer p.watchers.remove(me)
	for name, value := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no",
	} {
		w.Header().Set(name, value)
	}
	out := statusWriter{w: w, rc: http.NewResponseController(w)}
	// Else what the server writes to end the response could wait for ever.
	defer func() { _ = out.rc.SetWriteDeadline(time.Now().Add(watcherWrites)) }()
	if out.write("retry: 3000\n\n") != nil {
		return
	}
	if reason := p.watch(r, id, me, &out); reason != "" {
		_ = out.event("close", map[string]string{"reason": reason})
	}
}

// watch writes until the end, and says why there is no use in coming back, if there
// is none.
func (p *statusPage) watch(r *http.Request, id sse.Identity, me *watcher, out *statusWriter) (reason string) {
	var expired <-chan time.Time
	if !id.Expires.IsZero() {
		timer := time.NewTimer(time.Until(id.Expires))
		defer timer.Stop()
		expired = timer.C
	}
	ask, beat := time.NewTicker(watcherAsk), time.NewTicker(watcherBeat)
	defer ask.Stop()
	defer beat.Stop()
	shown := make(map[string]string)
	for {
		var err error
		select {
		case <-r.Context().Done():
			return ""
		case <-p.ended:
			return ""
		case <-expired:
			return "expired"
		case <-me.leave:
			return "disconnected"
		case <-ask.C:
			// One who can't be told apart is asked for again, and sees but counts meanwhile.
			if now, err := p.handler.Identify(r, p.named); err != nil && !errors.Is(err, sse.ErrUnavailable) || err == nil && now.UserID != id.UserID {
				return "no longer allowed"
			}
		case <-beat.C:
			err = out.write(":\n\n")
		case parts := <-me.parts:
			changed := make(map[string]string)
			for name, html := range parts {
				if shown[name] != html {
					changed[name] = html
				}
			}
			if shown = parts; len(changed) > 0 {
				beat.Reset(watcherBeat)
				err = out.event("status", changed)
			}
		}
		if err != nil {
			return ""
		}
	}
}

// statusWriter writes frames, each with a deadline.
type statusWriter struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (o *statusWriter) event(name string, data any) error {
	text, err := json.Marshal(data) // on one line
	if err != nil {                 // strings only: it can't
		return err
	}
	return o.write("event: " + name + "\ndata: " + string(text) + "\n\n")
}

func (o *statusWriter) write(frame string) error {
	if err := o.rc.SetWriteDeadline(time.Now().Add(watcherWrites)); err != nil {
		return err
	}
	if _, err := o.w.Write([]byte(frame)); err != nil {
		return err
	}
	if err := o.rc.Flush(); err != nil {
		return err
	}
	// HTTP/2 resets a stream whose deadline passes, even if nothing is being written.
	return o.rc.SetWriteDeadline(time.Time{})
}
