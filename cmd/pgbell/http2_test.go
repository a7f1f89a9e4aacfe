package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
)

func TestManyStreamsShareAnHTTP2Connection(t *testing.T) {
	const many = 300 // more than Go's own limit for a connection
	db := migrated(t)
	exec1(t, db, `create table news (id int primary key)`)
	mustRun(t, db, "attach", "news", "--scope", "news")
	// All that a request can pass through is on its way.
	p, server, pair := beginTLS(t, db, "--drain", "1s", "--cors-origin", "https://app.example.com")
	client := pair.tlsClient(t, true)
	var dials atomic.Int64
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	var streams []*stream
	for range many {
		streams = append(streams, openStream(t, client, server+"/events?scope=news"))
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	exec1(t, db, `insert into news values (1)`)
	for i, s := range streams {
		if event, data := s.next(); event != "news" {
			t.Fatalf("stream %d: got %q %s, want news", i, event, data)
		}
	}
	if code := p.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
	for i, s := range streams {
		if event, data := s.next(); event != "" || s.body.Err() == nil {
			t.Fatalf("stream %d goes on with %q %s, %v, want it cut", i, event, data, s.body.Err())
		}
	}
}

// Types and flags of frames, RFC 9113, section 6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8

	endStream  = 0x1
	endHeaders = 0x4
	endAll     = 0x5 // of the stream and of its headers
)

// http2Conn speaks just enough HTTP/2 to open streams and to see what ends them.
type http2Conn struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (c http2Conn) send(kind, flags byte, id byte, payload string) {
	c.t.Helper()
	head := []byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, id}
	if _, err := c.Write(append(head, payload...)); err != nil {
		c.t.Error(err)
	}
}

// openHTTP2 opens a stream on a connection. The windows are as large as can be:
// nothing but the connection holds the server up.
func openHTTP2(t *testing.T, conn net.Conn) http2Conn {
	t.Helper()
	c := http2Conn{t, conn, bufio.NewReader(conn)}
	const path = "/events?scope=a"
	go func() { // a pipe has no buffer, and the server speaks early
		io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") //nolint:errcheck // the next write tells
		c.send(frameSettings, 0, 0, "\x00\x04\x7f\xff\xff\xff")
		c.send(frameWindowUpdate, 0, 0, "\x7f\xff\x00\x00")
		c.send(frameHeaders, endAll, 1, "\x82\x86\x01\x01x\x04"+string(rune(len(path)))+path) // GET, http, authority x
	}()
	return c
}

// next returns the next frame.
func (c http2Conn) next() (kind, flags byte, payload string, err error) {
	head := make([]byte, 9)
	if _, err := io.ReadFull(c.in, head); err != nil {
		return 0, 0, "", err
	}
	body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(c.in, body)
	return head[3], head[4], string(body), err
}

// until reads up to data that has text in it.
func (c http2Conn) until(text string) {
	c.t.Helper()
	for {
		kind, _, payload, err := c.next()
		if err != nil {
			c.t.Fatalf("waiting for %q: %v", text, err)
		}
		if kind == frameData && strings.Contains(payload, text) {
			return
		}
	}
}

func TestDrainEndsHTTP2StreamsAndSaysGoodbye(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s *fake) {
		c := openHTTP2(t, s.dial())
		c.until("event: ready")
		stopped := make(chan error)
		go func() {
			s.handler.Drain(0)
			stopped <- shutDown(s.web)
		}()
		var ended, goodbye bool
		for {
			kind, flags, payload, err := c.next()
			if err != nil {
				break
			}
			ended = ended || kind == frameReset
			if kind == frameData && flags&endStream != 0 {
				t.Error("the stream is complete: its client would not come back")
			}
			// The code: 0 is no error.
			goodbye = goodbye || kind == frameGoAway && payload[4:8] == "\x00\x00\x00\x00"
		}
		if !ended || !goodbye {
			t.Errorf("the stream's end came: %v, GOAWAY: %v; want both", ended, goodbye)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// A GET with a body is refused, and the other streams of its connection go on.
func TestHTTP2BodyOfAGETEndsItsStreamAlone(t *testing.T) {
	for _, own := range []bool{false, true} { // true as in a server of one's own
		inFakeTime(t, func(t *testing.T, s *fake) {
			if own {
				s.web.Handler = s.handler
			}
			c := openHTTP2(t, s.dial())
			defer c.Close()
			until := func(text string) {
				t.Helper()
				for {
					kind, _, payload, err := c.next()
					if kind == frameGoAway || err != nil {
						t.Fatalf("waiting for %q: GOAWAY, or %v", text, err)
					}
					if kind == frameData && strings.Contains(payload, text) {
						return
					}
				}
			}
			until("event: ready")
			const path = "/events?scope=a"
			go c.send(frameHeaders, endHeaders, 3, "\x82\x86\x01\x01x\x04"+string(rune(len(path)))+path)
			until("bad-request")
			s.bus.Emit(bus.ChangeEvent{Scope: "a", Op: bus.OpPublish, Cursor: "1-1:1:"})
			until("publish")
		})
	}
}

func TestHTTP2ConnectionThatIsNotReadIsClosed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s *fake) {
		c := openHTTP2(t, s.dial())
		c.until("event: ready")
		s.bus.Emit(bus.ChangeEvent{Scope: "a", Op: bus.OpPublish, Origin: strings.Repeat("x", 1<<20), Cursor: "1-1:1:"})
		time.Sleep(2*requestTimeout + time.Second)
		began := time.Now()
		if _, err := io.Copy(io.Discard, c.in); err != nil && err != io.ErrClosedPipe {
			t.Error(err)
		}
		if left := time.Since(began); left != 0 {
			t.Errorf("after the time for writes the connection was open for %v more", left)
		}
	})
}
