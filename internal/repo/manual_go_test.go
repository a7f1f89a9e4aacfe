package repo

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/sse"
)

// What follows up to mount is shown in docs/go.md.

// members knows who is in which project.
type members map[string][]string

func (m members) mayListen(_ context.Context, id sse.Identity, scope string) (bool, error) {
	for _, project := range m[id.UserID] {
		if scope == "project:"+project || strings.HasPrefix(scope, "project:"+project+":") {
			return true, nil
		}
	}
	return false, nil
}

// recorder notes the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find Flush and SetWriteDeadline.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// follow drops from the cache what changes, until the subscription ends.
func follow(ctx context.Context, b *bus.Bus, drop func(key string)) error {
	s := b.Subscribe([]string{"settings"}, bus.Options{})
	defer s.Close()
	for {
		e, err := s.Next(ctx)
		if err != nil {
			return err
		}
		if e.Op == bus.OpReset {
			drop("*") // anything may have changed
		} else {
			drop(string(e.Key))
		}
	}
}

// mount puts the streams under /live of an app's own routes.
func mount(mux *http.ServeMux, h *sse.Handler) {
	mux.Handle("/live/", http.StripPrefix("/live", h))
}

func TestGoOfTheManualWorks(t *testing.T) {
	b, err := bus.New(bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := sse.NewHandler(b, sse.Config{
		Authenticate: func(*http.Request) (sse.Identity, error) { return sse.Identity{UserID: "alice"}, nil },
		Authorize:    members{"alice": {"7"}}.mayListen,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux, statuses := http.NewServeMux(), make(chan int, 2)
	mount(mux, h)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{w, http.StatusOK}
		mux.ServeHTTP(rec, r)
		statuses <- rec.status
	}))
	defer server.Close()
	defer h.Drain(0)
	b.Advance("5ca1ab1e-700:700:")

	// An application's test would do so.
	resp, err := server.Client().Get(server.URL + "/live/events?scope=project:7")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && lines.Text() != "event: ready" {
	}
	b.Emit(bus.ChangeEvent{Scope: "project:7", Op: bus.OpInsert, Audience: bus.Only("alice")})
	for lines.Scan() && lines.Text() != "event: project:7" {
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}

	refused, err := server.Client().Get(server.URL + "/live/events?scope=project:70")
	if err != nil {
		t.Fatal(err)
	}
	refused.Body.Close()
	if status := <-statuses; status != http.StatusForbidden {
		t.Errorf("project:70: got %d, want 403", status)
	}

	ctx, stop := context.WithCancel(t.Context())
	dropped, ended := make(chan string), make(chan error)
	go func() { ended <- follow(ctx, b, func(key string) { dropped <- key }) }()
	for b.Stats().Subscriptions < 2 {
		runtime.Gosched()
	}
	b.Emit(bus.ChangeEvent{Scope: "settings", Op: bus.OpUpdate, Key: []byte(`{"id":1}`)})
	b.Reset(nil, bus.ChangeEvent{})
	if got := fmt.Sprint(<-dropped, <-dropped); got != `{"id":1}*` {
		t.Errorf("dropped %s", got)
	}
	stop()
	<-ended
}

// TestManualsGoIsCompiled: each block of Go in the manual is part of a file that is compiled, but for
// how it is indented.
func TestManualsGoIsCompiled(t *testing.T) {
	compiled, found := "", 0
	for _, pattern := range []string{"*.go", "*/*.go", "*/*/*.go", "*/*/*/*.go"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			compiled += flat(string(text))
		}
	}
	for name := range documents(t) {
		for _, b := range blocks(t, name) {
			if b.lang != "go" || name == "docs/clients.md" { // that is a program: TestClientsOfTheManualResume runs it
				continue
			}
			for _, piece := range regexp.MustCompile(`(?m)^\s*// \.\.\.$`).Split(b.text, -1) {
				if found++; !strings.Contains(compiled, flat(piece)) {
					t.Errorf("%s:%d: this is in no file:\n%s", name, b.line, piece)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no document shows Go: this test checks nothing")
	}
}

var space = regexp.MustCompile(`\s+`)

func flat(code string) string { return space.ReplaceAllString(code, " ") }
