package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"
)

// front is a proxy between the browser and the board, as there is one in
// production, with the faults of one.
type front struct {
	*httptest.Server

	mu      sync.Mutex
	target  string
	answer  func(path string) fault
	held    chan struct{}  // closed: no longer held
	asked   map[string]int // requests by path, since the fault began
	open    map[string]int // of them under way
	changed chan struct{}  // closed when one of the two has changed
}

// fault is what the front does in place of passing a request on.
type fault int

const (
	none       fault = iota
	badGateway       // answers 502, with a page of its own
	hangUp           // closes the connection
	hold             // passes it on when the fault is over
)

func newFront(t *testing.T) *front {
	f := &front{answer: func(string) fault { return none }, asked: map[string]int{}, open: map[string]int{}, held: make(chan struct{}), changed: make(chan struct{})}
	close(f.held)
	transport := &http.Transport{DisableKeepAlives: true} // spare connections would hold up the board's end
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Transport:     transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			f.mu.Lock()
			defer f.mu.Unlock()
			r.Out.URL.Scheme, r.Out.URL.Host = "http", f.target
		},
		ModifyResponse: comeBackSoon,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { refuse(w) },
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		what, held := f.answer(r.URL.Path), f.held
		f.count(r.URL.Path, 1)
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.count(r.URL.Path, -1)
		}()
		switch what {
		case badGateway:
			refuse(w)
			return
		case hangUp:
			panic(http.ErrAbortHandler)
		case hold:
			select {
			case <-held:
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.heal()
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

// comeBackSoon has an EventSource come back after 200 ms, where pgbell says 2 to 5 s.
func comeBackSoon(r *http.Response) error {
	if r.Header.Get("Content-Type") != "text/event-stream" {
		return nil
	}
	body := bufio.NewReader(r.Body)
	line, err := body.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "retry: ") {
		return fmt.Errorf("the stream begins with %q, %v: want retry", line, err)
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader("retry: 200\n"), body), r.Body}
	return nil
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = w.Write([]byte("<h1>Bad Gateway</h1>"))
}

// forward sets to whom requests are passed on.
func (f *front) forward(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = target
}

// breakWith has requests whose path begins with prefix met with a fault, until heal.
func (f *front) breakWith(what fault, prefix string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = make(chan struct{})
	f.asked = map[string]int{}
	f.answer = func(path string) fault {
		if strings.HasPrefix(path, prefix) {
			return what
		}
		return none
	}
}

// heal ends the fault.
func (f *front) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = func(string) fault { return none }
	select {
	case <-f.held:
	default:
		close(f.held)
	}
}

// waitAsked waits until n requests for path came since the fault began.
func (w *world) waitAsked(path string, n int) {
	w.Helper()
	w.until(func() bool { return w.front.asked[path] >= n }, "%s to be asked for %d times", path, n)
}

// asks returns how many requests for path came since the fault began.
func (f *front) asks(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[path]
}

// waitOpen waits until n answers to requests for path are under way.
func (w *world) waitOpen(path string, n int) {
	w.Helper()
	w.until(func() bool { return w.front.open[path] == n }, "%d answers to %s", n, path)
}

// until waits for what the front knows.
func (w *world) until(isTrue func() bool, format string, args ...any) {
	w.Helper()
	deadline := time.After(10 * time.Minute)
	for {
		w.front.mu.Lock()
		now, changed := isTrue(), w.front.changed
		w.front.mu.Unlock()
		if now {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			w.Fatalf("still waiting for "+format, args...)
		}
	}
}

// count notes that a request begins, or ends. f.mu is held.
func (f *front) count(path string, by int) {
	f.open[path] += by
	f.asked[path] += max(by, 0)
	close(f.changed)
	f.changed = make(chan struct{})
}
