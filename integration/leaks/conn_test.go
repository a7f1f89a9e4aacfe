package leaks

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	"pgregory.net/rapid"
)

// conn is one connection of a client.
type conn struct {
	stop   context.CancelFunc
	ready  chan struct{} // closed at the ready frame
	done   chan struct{} // closed at the end
	gate   chan struct{} // the reader holds it while it reads: who takes it stalls the client
	stall  bool
	slept  bool   // it was stalled: after 10 s it may be cut
	cursor string // of the ready frame
}

// since says from where a connection is to go on: one of its fields, or none.
type since struct{ param, header string }

// connect opens a stream, and returns once that is ready.
func (c *client) connect(t rapid.TB, from since) {
	c.passed = 0
	c.touched = true // by what its cursor does not cover
	ctx, cancel := context.WithCancel(context.Background())
	query := url.Values{"scope": c.scopes}
	if from.param != "" {
		query.Set("since", from.param)
	}
	if c.origin != "" {
		query.Set("origin", c.origin)
	}
	req, err := c.request(ctx, "/events", query, from.header)
	if err != nil {
		t.Fatal(err)
	}
	web := c.w.fast
	if c.slow {
		web = c.w.slow
	}
	resp, err := web.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(resp.Body)
		cancel()
		resp.Body.Close()
		t.Fatalf("%s (user %q) asks for %q: %s: %s %v", c.name, c.user, c.scopes, resp.Status, body, err)
	}
	c.conn = &conn{stop: cancel, ready: make(chan struct{}), done: make(chan struct{}), gate: make(chan struct{}, 1)}
	go c.read(resp.Body, c.conn)
	select {
	case <-c.conn.ready:
	case <-c.conn.done:
		t.Fatalf("%s: the stream ended before it was ready", c.name)
	case <-time.After(patience):
		t.Fatalf("%s: not ready within %v", c.name, patience)
	}
}

// read reads a stream to its end.
func (c *client) read(body io.ReadCloser, conn *conn) {
	defer c.w.woken()
	defer close(conn.done)
	defer body.Close()
	r := &eventReader{in: bufio.NewReaderSize(io.TeeReader(&gated{body, conn.gate}, c), 512)}
	for {
		f, err := r.next()
		if err != nil {
			return
		}
		c.take(f, conn)
	}
}

// gated reads while nobody else holds the gate.
type gated struct {
	io.Reader
	gate chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	g.gate <- struct{}{}
	<-g.gate
	return g.Reader.Read(p)
}

func (c *client) take(f frame, conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.id != "" {
		c.lastID = f.id
	}
	switch {
	case f.data == "":
		return
	case f.name == "ready":
		var d struct{ Cursor string }
		if json.Unmarshal([]byte(f.data), &d) == nil {
			conn.cursor = d.Cursor
		}
		close(conn.ready)
		return
	case f.name == "close": // the end of the stream, which comes next
		return
	}
	c.frames = append(c.frames, f)
	if f.name == "sync" || f.name == "fence" {
		var d struct {
			Op        string
			Data, Key struct{ N int }
		}
		switch err := json.Unmarshal([]byte(f.data), &d); {
		case err != nil: // the check says so
		case d.Op == "reset":
			c.fenced.lost = true
		default:
			c.fenced.sync, c.fenced.fence = max(c.fenced.sync, d.Data.N), max(c.fenced.fence, d.Key.N)
		}
		c.w.woken()
	}
}

// disconnect ends the connection, if there is one, and checks what came by it: a reset
// among it stands for nothing later.
func (c *client) disconnect() {
	if c.conn == nil {
		return
	}
	c.conn.stop()
	c.unstall()
	<-c.conn.done
	c.conn = nil
	c.check()
}

// stall lets the client read no more, unstall lets it go on.
func (c *client) stall() {
	if c.conn != nil && !c.conn.stall {
		c.conn.gate <- struct{}{}
		c.conn.stall, c.conn.slept = true, true
	}
}

func (c *client) unstall() {
	if c.conn != nil && c.conn.stall {
		<-c.conn.gate
		c.conn.stall = false
	}
}

// reads says whether what is sent to the client arrives.
func (c *client) reads() bool { return c.conn != nil && !c.conn.stall }

// cut says whether the connection, which has been stalled, has ended.
func (c *client) cut() bool {
	if !c.reads() || !c.conn.slept {
		return false
	}
	select {
	case <-c.conn.done:
		return true
	default:
		return false
	}
}

// ended waits for the connection to end by itself.
func (c *client) ended() bool {
	select {
	case <-c.conn.done:
		return true
	case <-time.After(patience):
		return false
	}
}
