package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pgbell/pgbell/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eachWire runs test over ordinary responses, and over hijacked connections.
func eachWire(t *testing.T, test func(*testing.T)) {
	t.Helper()
	t.Run("response", test)
	t.Run("socket", test)
}

// eachWireInBubble is eachWire with time that is fake.
func eachWireInBubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	eachWire(t, func(t *testing.T) { synctest.Test(t, test) })
}

// hijacks says which of the two it is.
func hijacks(t testing.TB) bool { return strings.Contains(t.Name(), "/socket") }

// world is a handler that is served.
type world struct {
	t      *testing.T
	bus    *bus.Bus
	h      *Handler
	url    string
	client *http.Client
	srv    *http.Server // of overPipe
}

// settings of a world. The zero value is a bus that has the position cursor(1).
type settings struct {
	Config
	queue   int
	unready bool // leave the bus without a position
	hijack  bool // as does a test of eachWire
	wrap    func(http.Handler) http.Handler

	// Of overPipe's server.
	readTimeout, writeTimeout time.Duration
	protocols                 *http.Protocols
	conn                      func(net.Conn) net.Conn // wraps its connections, of overPipe
}

func newWorld(t *testing.T, set *settings) (*world, http.Handler) {
	t.Helper()
	b, err := bus.New(bus.Config{QueueSize: set.queue})
	if err != nil {
		t.Fatal(err)
	}
	if !set.unready {
		b.Advance(cursor(1))
	}
	set.Hijack = set.hijack || hijacks(t)
	h, err := NewHandler(b, set.Config)
	if err != nil {
		t.Fatal(err)
	}
	h.mark = ""                      // so that ids are plain, and all clients its own: TestOnlyOwnClientsAreKnown has one
	t.Cleanup(func() { h.Drain(0) }) // no server waits for hijacked streams
	var handler http.Handler = h
	if set.wrap != nil {
		handler = set.wrap(h)
	}
	return &world{t: t, bus: b, h: h}, handler
}

// overTCP serves over the loopback interface.
func overTCP(t *testing.T, set settings) *world {
	t.Helper()
	w, handler := newWorld(t, &set)
	srv := httptest.NewUnstartedServer(handler)
	srv.Start()
	w.url, w.client = srv.URL, srv.Client()
	t.Cleanup(srv.Close)
	return w
}

// overPipe serves over net.Pipe, for a synctest bubble: the time is fake, and a
// write blocks until the client reads.
func overPipe(t *testing.T, set settings) *world {
	t.Helper()
	w, handler := newWorld(t, &set)
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{}), wrap: set.conn}
	srv := &http.Server{Handler: handler, Protocols: set.protocols, ReadTimeout: set.readTimeout, WriteTimeout: set.writeTimeout}
	w.srv = srv
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	tr := &http.Transport{DialContext: l.dial, Protocols: set.protocols}
	w.url, w.client = "http://pgbell.test", &http.Client{Transport: tr}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return w
}

type pipeListener struct {
	conns  chan net.Conn
	wrap   func(net.Conn) net.Conn // nil for as they are
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		if l.wrap != nil {
			c = l.wrap(c)
		}
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// get sends a request. The test's end cancels it.
func (w *world) get(path string, header ...string) *http.Response {
	return w.do(http.MethodGet, path, header...)
}

func (w *world) do(method, path string, header ...string) *http.Response {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { cancel(); resp.Body.Close() })
	return resp
}

// body reads a whole answer.
func (w *world) body(resp *http.Response) string {
	w.t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// open opens a stream and reads up to its ready frame.
func (w *world) open(query string, header ...string) *client {
	w.t.Helper()
	c := w.dial(query, header...)
	c.want(retry)
	if got := c.want(event); got.name != "ready" {
		w.t.Fatalf("got %v, want the ready frame", got)
	}
	return c
}

// dial opens a stream and reads nothing.
func (w *world) dial(query string, header ...string) *client {
	w.t.Helper()
	resp := w.get("/events?"+query, header...)
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("GET /events?%s: %s: %s", query, resp.Status, w.body(resp))
	}
	return &client{t: w.t, resp: resp, parser: newParser(resp.Body)}
}

// client reads a stream.
type client struct {
	t    *testing.T
	resp *http.Response
	*parser
}

// want reads the next item, which must be of kind.
func (c *client) want(kind kind) item {
	c.t.Helper()
	it, err := c.next()
	if err != nil {
		c.t.Fatalf("got %v, want %s", err, kind)
	}
	if it.kind != kind {
		c.t.Fatalf("got %v, want %s", it, kind)
	}
	return it
}

// wantEvent reads on to the next event, which must have this id and data.
func (c *client) wantEvent(id, data string) {
	c.t.Helper()
	it := c.nextEvent()
	if it.id != id || it.data != data {
		c.t.Fatalf("got  %v\nwant id %s, data %s", it, id, data)
	}
}

// nextEvent reads on to the next event.
func (c *client) nextEvent() item {
	c.t.Helper()
	for {
		it, err := c.next()
		if err != nil {
			c.t.Fatalf("got %v, want an event", err)
		}
		if it.kind == event {
			return it
		}
	}
}

// wantCut reads on to where the stream is cut, with no event before: the client is to
// come back.
func (c *client) wantCut() {
	c.t.Helper()
	if err := c.wantEnd(); !cut(err) {
		c.t.Fatalf("the stream ends with %v, want it cut", err)
	}
}

// cut says whether err, of a read, is that of a response that was not complete.
func cut(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || err != nil && strings.Contains(err.Error(), "INTERNAL_ERROR; received from peer")
}

// wantEnd reads on to the end of the stream, where no event may come before.
func (c *client) wantEnd() error {
	c.t.Helper()
	for {
		it, err := c.next()
		if err != nil {
			return err
		}
		if it.kind == event {
			c.t.Fatalf("got %v, want the end of the stream", it)
		}
	}
}

// wantClose reads on to the stream's end, of which its client is told why, with no
// event before: the response is complete.
func (c *client) wantClose(reason string) {
	c.t.Helper()
	if it := c.nextEvent(); it.name != "close" || it.data != `{"reason":"`+reason+`"}` {
		c.t.Fatalf("got %v, want the close frame, %s", it, reason)
	}
	if err := c.wantEnd(); err != io.EOF {
		c.t.Fatalf("the stream ends with %v, want a complete one", err)
	}
}

// cursor is one that covers the transactions below n.
func cursor(n uint64) string { return fmt.Sprintf("ab-%d:%d:", n, n) }

// change is an event of scope made by transaction tx.
func change(scope string, tx uint64) bus.ChangeEvent {
	return bus.ChangeEvent{Scope: scope, Op: bus.OpInsert, Table: "public.t", Tx: tx}
}

// changeData is the data of the frame of change(scope, ...).
func changeData(scope string) string {
	return fmt.Sprintf(`{"scope":%q,"op":"insert","table":"public.t"}`, scope)
}

// resetData is the data of a reset's frame.
func resetData(scope, reason string) string {
	return fmt.Sprintf(`{"scope":%q,"op":"reset","reason":%q}`, scope, reason)
}
