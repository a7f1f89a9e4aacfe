package sse

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// overSocket is overTCP with streams that are hijacked.
func overSocket(t *testing.T, set settings) *world {
	set.hijack = true
	return overTCP(t, set)
}

// hand is a client that writes its request by hand.
func hand(t *testing.T, w *world, query string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET /events?%s HTTP/1.1\r\nHost: x\r\n\r\n", query); err != nil {
		t.Fatal(err)
	}
	return conn
}

// readUntil reads until there was text, and perhaps more.
func readUntil(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	var got []byte
	for some := make([]byte, 4096); !bytes.Contains(got, []byte(text)); {
		n, err := conn.Read(some)
		if err != nil {
			t.Fatalf("got %q, %v, want %q", got, err, text)
		}
		got = append(got, some[:n]...)
	}
}

// hijacked says whether a stream of w is.
func (w *world) hijacked() bool {
	w.h.gate.mu.Lock()
	defer w.h.gate.mu.Unlock()
	for s := range w.h.gate.open {
		if s.server != nil {
			return true
		}
	}
	return false
}

// left waits until no stream of w is left.
func left(t *testing.T, w *world) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); w.h.Stats().Streams > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d streams are left", w.h.Stats().Streams)
		}
	}
}

func TestHijackedStreamHasTheHeadersOfAResponse(t *testing.T) {
	cors := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "https://app.test")
			w.Header().Set("Access-Control-Allow-Credentials", "true")
			w.Header().Add("Vary", "Origin")
			w.Header().Add("Vary", "Accept")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("X-Forged", "a\r\nX-Other: b")
			next.ServeHTTP(w, r)
		})
	}
	headers := make(map[bool]http.Header)
	for _, hijack := range []bool{false, true} {
		w := overTCP(t, settings{wrap: cors, hijack: hijack})
		resp := w.dial("scope=a").resp
		if diff := cmp.Diff([]string{"chunked"}, resp.TransferEncoding); diff != "" {
			t.Errorf("hijacked %v: transfer encoding (-want +got):\n%s", hijack, diff)
		}
		if resp.Close || w.hijacked() != hijack || resp.StatusCode != http.StatusOK || resp.Proto != "HTTP/1.1" {
			t.Errorf("hijacked %v: got %s %s, to be closed: %v", hijack, resp.Proto, resp.Status, resp.Close)
		}
		if date, err := http.ParseTime(resp.Header.Get("Date")); err != nil || time.Since(date).Abs() > time.Minute {
			t.Errorf("hijacked %v: got Date %q", hijack, resp.Header.Get("Date"))
		}
		resp.Header.Del("Date")
		resp.Header.Del("Connection")
		headers[hijack] = resp.Header
	}
	if diff := cmp.Diff(headers[false], headers[true]); diff != "" {
		t.Errorf("(-response +hijacked):\n%s", diff)
	}
}

func TestLengthSetByAMiddlewareIsNotSent(t *testing.T) {
	w := overSocket(t, settings{wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "7")
			w.Header().Set("Transfer-Encoding", "chunked")
			next.ServeHTTP(w, r)
		})
	}})
	c := w.open("scope=a")
	w.bus.Emit(change("a", 1))
	c.wantEvent(cursor(1), changeData("a"))
}

func TestHandlerReturnsWhileAHijackedStreamGoesOn(t *testing.T) {
	returned := make(chan struct{})
	w := overSocket(t, settings{wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			close(returned)
		})
	}})
	c := w.open("scope=a")
	<-returned
	w.bus.Emit(change("a", 1))
	c.wantEvent(cursor(1), changeData("a"))
}

func TestClientThatLeavesIsNoLongerPresent(t *testing.T) {
	for _, abrupt := range []bool{false, true} {
		w := overSocket(t, settings{})
		conn := hand(t, w, "scope=a")
		readUntil(t, conn, "event: ready\n")
		if n := len(w.bus.Presence("a")); n != 1 {
			t.Fatalf("%d are present", n)
		}
		if abrupt {
			if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // a reset
				t.Fatal(err)
			}
		}
		conn.Close()
		left(t, w)
		if n := len(w.bus.Presence("a")); n != 0 {
			t.Errorf("%d are present", n)
		}
	}
}

func TestWhatAClientSendsAfterItsRequestIsIgnored(t *testing.T) {
	w := overSocket(t, settings{})
	conn := hand(t, w, "scope=a")
	const pipelined = "GET /events?scope=b HTTP/1.1\r\nHost: x\r\n\r\n"
	if _, err := io.WriteString(conn, pipelined+"\x00\xff"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, conn, "event: ready\n")
	if _, err := io.WriteString(conn, pipelined); err != nil {
		t.Fatal(err)
	}
	w.bus.Emit(change("a", 1))
	readUntil(t, conn, changeData("a")+"\n\n")
	if n := w.bus.Stats().Subscriptions; n != 1 {
		t.Errorf("%d subscriptions", n)
	}
}

func TestClientThatKeepsSendingIsCut(t *testing.T) {
	w := overSocket(t, settings{})
	conn := hand(t, w, "scope=a")
	readUntil(t, conn, "event: ready\n")
	sent := 0
	for {
		n, err := conn.Write(make([]byte, 1000))
		if sent += n; err != nil {
			break
		}
	}
	left(t, w)
	t.Logf("cut after %d bytes", sent)
}

// One that sent something which nobody read would else get a reset in place of the
// end.
func TestLastFrameIsReceivedInWhole(t *testing.T) {
	for range 20 {
		w := overSocket(t, settings{Config: Config{Authenticate: func(*http.Request) (Identity, error) {
			return Identity{UserID: "alice"}, nil
		}}})
		conn := hand(t, w, "scope=a")
		readUntil(t, conn, "event: ready\n")
		if _, err := io.WriteString(conn, "noise"); err != nil {
			t.Fatal(err)
		}
		w.bus.CloseUser("alice")
		rest, err := io.ReadAll(conn)
		if err != nil || !strings.HasSuffix(string(rest), "event: close\ndata: {\"reason\":\"disconnected\"}\n\n\r\n0\r\n\r\n") {
			t.Fatalf("got %q, %v", rest, err)
		}
		conn.Close()
		left(t, w)
	}
}

func TestIdentityExpiresOverSockets(t *testing.T) {
	expires := time.Now().Add(time.Second)
	w := overSocket(t, settings{Config: Config{Heartbeat: time.Hour, Authenticate: func(*http.Request) (Identity, error) {
		return Identity{UserID: "alice", Expires: expires}, nil
	}}})
	c := w.open("scope=a")
	c.wantClose("expired")
	if early := time.Until(expires); early > 0 {
		t.Errorf("ended %v before the identity expired", early)
	}
}

func TestShutdownEndsHijackedStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := overPipe(t, settings{hijack: true})
		clients := []*client{w.open("scope=a"), w.open("scope=a")}
		if err := w.srv.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			c.wantCut() // without a word: they are to come back
		}
		synctest.Wait()
		if got := w.h.Stats().Streams; got != 0 {
			t.Errorf("%d streams", got)
		}
	})
}

// Of two servers with one handler.
func TestShutdownOfAnotherServerEndsNoStream(t *testing.T) {
	w := overSocket(t, settings{})
	other := httptest.NewServer(w.h)
	defer other.Close()
	resp, err := other.Client().Get(other.URL + "/events?scope=a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	c := w.open("scope=a")
	if err := other.Config.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); !cut(err) {
		t.Errorf("the server's own stream: %v, want it cut", err)
	}
	w.bus.Emit(change("a", 1))
	c.wantEvent(cursor(1), changeData("a"))
}

func TestHijackedStreamOverTLS(t *testing.T) {
	w, handler := newWorld(t, &settings{hijack: true, Config: Config{Heartbeat: 20 * time.Millisecond, Authenticate: func(*http.Request) (Identity, error) {
		return Identity{UserID: "alice"}, nil
	}}})
	srv := httptest.NewUnstartedServer(handler)
	srv.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	w.url, w.client = srv.URL, srv.Client()
	c := w.open("scope=a")
	if c.resp.ProtoMajor != 1 || c.resp.TLS == nil || !w.hijacked() {
		t.Errorf("got %s, hijacked %v, want a hijacked TLS connection", c.resp.Proto, w.hijacked())
	}
	for i := range uint64(3) {
		c.want(comment) // the wait has timed out
		w.bus.Emit(change("a", i))
		c.wantEvent(cursor(1), changeData("a"))
	}
	w.bus.CloseUser("alice")
	c.wantClose("disconnected")
	left(t, w)
}

// As is HTTP/2, whose connection is not the stream's own.
func TestResponseThatHidesHijackIsServedAsItIs(t *testing.T) {
	w := overSocket(t, settings{wrap: wrapWriter(func(w http.ResponseWriter) http.ResponseWriter { return noHijack{w} })})
	c := w.open("scope=a")
	if w.hijacked() {
		t.Error("it was hijacked")
	}
	w.bus.Emit(change("a", 1))
	c.wantEvent(cursor(1), changeData("a"))
}

// noHijack can flush and set deadlines, and no more.
type noHijack struct{ inner http.ResponseWriter }

func (w noHijack) Header() http.Header         { return w.inner.Header() }
func (w noHijack) Write(b []byte) (int, error) { return w.inner.Write(b) }
func (w noHijack) WriteHeader(status int)      { w.inner.WriteHeader(status) }
func (w noHijack) FlushError() error           { return http.NewResponseController(w.inner).Flush() }
func (w noHijack) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(w.inner).SetWriteDeadline(t)
}

func TestPanicOfAHookEndsItsStreamAlone(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		calls := 0
		w := overPipe(t, settings{Config: Config{Authorize: func(context.Context, Identity, string) (bool, error) {
			if calls++; calls > 1 { // once the stream has begun
				panic("of a hook")
			}
			return true, nil
		}}})
		c := w.dial("scope=a")
		c.wantCut() // after a time without an answer
	})
}
