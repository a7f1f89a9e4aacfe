package repo

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestClientsOfTheManualResume runs the samples of docs/clients.md against streams that are cut
// and refused. Each must come back with the last id of a whole block, and fetch once for each
// change or reset.
func TestClientsOfTheManualResume(t *testing.T) {
	const address = "http://127.0.0.1:8080/"
	samples := map[string]string{}
	for _, b := range blocks(t, "docs/clients.md") {
		if strings.Contains(b.text, address) {
			samples[b.lang] = b.text
		}
	}
	for _, test := range []struct {
		lang, file string
		command    []string
		needs      []string
		want       string // last
	}{
		{"python", "listen.py", []string{"python3"}, []string{"python3"}, `closed: {"reason":"disconnected"}`},
		{"mjs", "listen.mjs", []string{"node"}, []string{"node"}, "closed: disconnected"},
		{"go", "listen.go", []string{"go", "run"}, []string{"go"}, `closed: {"reason":"disconnected"}`},
		{"bash", "listen.sh", []string{"bash"}, []string{"bash", "curl"}, `closed: {"reason":"disconnected"}`},
	} {
		t.Run(test.lang, func(t *testing.T) {
			text, ok := samples[test.lang]
			if !ok {
				t.Fatalf("no sample of %s", test.lang)
			}
			for _, program := range test.needs {
				if _, err := exec.LookPath(program); err != nil {
					t.Skipf("%s is not installed: .ci/setup test does that", program)
				}
			}
			server := newCutting(t)
			dir := t.TempDir()
			for name, text := range map[string]string{
				test.file:      strings.ReplaceAll(text, address, server.URL+"/"),
				"pgbell.js":    readFile(t, "js/pgbell.js"),
				"package.json": `{"type":"module"}`,
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), test.command[0], append(test.command[1:], test.file)...)
			cmd.Dir = dir
			var errs strings.Builder
			cmd.Stderr = &errs
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s%s", err, out, errs.String())
			}
			if want := "fetch\nfetch\nfetch\n" + test.want + "\n"; string(out) != want {
				t.Errorf("it printed\n%swant\n%s", out, want)
			}
			if got, want := server.asked(), " c3 c3 c4"; got != want {
				t.Errorf("it asked with the last ids %q, want %q", got, want)
			}
		})
	}
}

// cutting answers one request after the other as a server does that ends at a bad moment.
type cutting struct {
	*httptest.Server
	mu  sync.Mutex
	ids []string // that were asked with
}

func newCutting(t *testing.T) *cutting {
	c := &cutting{}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *cutting) asked() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.ids, " ")
}

func (c *cutting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const ready = "retry: 10\n\nevent: ready\nid: %s\ndata: {\"cursor\":\"%[1]s\",\"scopes\":[\"project:7\"]}\n\n"
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = r.URL.Query().Get("since") // as pgbell.js has it
	}
	c.mu.Lock()
	c.ids = append(c.ids, last)
	n := len(c.ids)
	c.mu.Unlock()
	if n == 2 { // a proxy, while pgbell restarts
		http.Error(w, "bad gateway", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	switch n {
	case 1: // cut within a block, whose id says nothing yet
		fmt.Fprintf(w, ready, "c1")
		fmt.Fprint(w, ": a comment\n\nevent: project:7\nid: c2\ndata: {\"scope\":\"project:7\",\"op\":\"update\"}\n\nid: c3\n\n")
		fmt.Fprint(w, "event: project:7\nid: c4\ndata: {\"scope\":\"project:7\",\"op\":\"reset\"}\n")
	case 3:
		fmt.Fprintf(w, ready, "c3")
		fmt.Fprint(w, "event: project:7\nid: c4\ndata: {\"scope\":\"project:7\",\"op\":\"reset\"}\n\n")
	default:
		fmt.Fprintf(w, ready, "c4")
		fmt.Fprint(w, "event: close\ndata: {\"reason\":\"disconnected\"}\n\n")
		return
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		panic(err)
	}
	panic(http.ErrAbortHandler)
}
