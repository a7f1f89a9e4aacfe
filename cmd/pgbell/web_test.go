package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/sse"
)

// pipes is a listener whose connections are net.Pipes, for a synctest bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.conns <- there
	return here
}

// fake is a server in a synctest bubble.
type fake struct {
	*pipes
	bus     *bus.Bus
	handler *sse.Handler
	web     *http.Server
}

// inFakeTime serves streams by the real handlers in a bubble. It wants none to be
// left in the end.
func inFakeTime(t *testing.T, f func(t *testing.T, s *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(bus.Config{})
		if err != nil {
			t.Fatal(err)
		}
		b.Advance("1-1:1:")
		h, err := sse.NewHandler(b, sse.Config{})
		if err != nil {
			t.Fatal(err)
		}
		web, l := newWeb(bodies(h), slog.New(slog.DiscardHandler)), &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		web.Protocols = new(http.Protocols)
		web.Protocols.SetHTTP1(true)
		web.Protocols.SetUnencryptedHTTP2(true) // which is the same but for the handshake
		done := make(chan error)
		go func() { done <- web.Serve(l) }()
		f(t, &fake{l, b, h, web})
		if err := web.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		time.Sleep(time.Second) // until drip has seen the end
		synctest.Wait()
		if n := b.Stats().Subscriptions; n != 0 {
			t.Errorf("%d subscriptions left", n)
		}
	})
}

// cutAfter returns when the server ended a connection, and what it said before.
func cutAfter(t *testing.T, conn net.Conn) (time.Duration, string) {
	t.Helper()
	began := time.Now()
	said, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	return time.Since(began), string(said)
}

// drip writes a byte a second, for as long as it can.
func drip(conn net.Conn, text string) {
	for i := 0; ; i++ {
		if _, err := conn.Write([]byte{text[i%len(text)]}); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

func TestSlowHeadersAreCut(t *testing.T) {
	for name, start := range map[string]string{
		"from the first byte": "",
		"in a header":         "GET /events?scope=a HTTP/1.1\r\nHost: x\r\nX-",
	} {
		inFakeTime(t, func(t *testing.T, s *fake) {
			conn := s.dial()
			go drip(conn, start+strings.Repeat("a", 1000))
			if took, _ := cutAfter(t, conn); took != requestTimeout {
				t.Errorf("%s: cut after %v, want %v", name, took, requestTimeout)
			}
		})
	}
	inFakeTime(t, func(t *testing.T, s *fake) {
		if took, said := cutAfter(t, s.dial()); took != requestTimeout || said != "" {
			t.Errorf("one who says nothing is cut after %v with %q, want %v", took, said, requestTimeout)
		}
	})
}

func TestBodyOfAGETIsNotWaitedFor(t *testing.T) {
	for _, path := range []string{"/events?scope=a", "/presence?scope=a", "/healthz", "/nowhere"} {
		for _, framing := range []string{"Content-Length: 1000000", "Transfer-Encoding: chunked", "Content-Length: 9\r\nExpect: 100-continue"} {
			inFakeTime(t, func(t *testing.T, s *fake) {
				conn := s.dial()
				defer conn.Close()
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", path, framing)
				began := time.Now()
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatalf("%s, %s: %v", path, framing, err)
				}
				if took := time.Since(began); resp.StatusCode != http.StatusBadRequest || took > 0 {
					t.Errorf("%s, %s: %s after %v, want 400 at once", path, framing, resp.Status, took)
				}
				go drip(conn, "5\r\nxxxxx\r\n")
				if took, _ := cutAfter(t, conn); took > requestTimeout {
					t.Errorf("%s, %s: cut after %v, want %v at most", path, framing, took, requestTimeout)
				}
			})
		}
	}
}

func TestSlowBodyIsCut(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s *fake) {
		conn := s.dial()
		fmt.Fprintf(conn, "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
		go drip(conn, "x")
		if took, said := cutAfter(t, conn); took > 2*requestTimeout || !strings.HasPrefix(said, "HTTP/1.1 405") {
			t.Errorf("cut after %v with %q, want 405", took, said)
		}
	})
}

func TestGarbageAfterARequestEndsTheConnection(t *testing.T) {
	inFakeTime(t, func(t *testing.T, s *fake) {
		conn := s.dial()
		go io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01 garbage\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") //nolint:errcheck // cut while it writes
		took, said := cutAfter(t, conn)
		if !strings.HasPrefix(said, "HTTP/1.1 200") || !strings.Contains(said, "HTTP/1.1 400") || strings.Count(said, "HTTP/1.1 ") != 2 || took > requestTimeout {
			t.Errorf("after %v got %q, want a 200, a 400 and the end", took, said)
		}
	})
	inFakeTime(t, func(t *testing.T, s *fake) {
		conn := s.dial()
		go io.WriteString(conn, "GET /events?scope=a HTTP/1.1\r\nHost: x\r\n\r\n"+strings.Repeat("garbage", 1000)) //nolint:errcheck // nobody reads all of it
		lines := bufio.NewScanner(conn)
		for lines.Scan() && lines.Text() != "event: ready" {
		}
		if s.bus.Stats().Subscriptions != 1 {
			t.Error("garbage behind it ends a stream")
		}
		conn.Close() // which net/http sees no more; the next heartbeat does
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := s.bus.Stats().Subscriptions; n != 0 {
			t.Errorf("%d subscriptions of one who is gone", n)
		}
	})
}

func TestLongRequestsAreRefused(t *testing.T) {
	_, server := beginServe(t, "postgres://u@127.0.0.1:1/d")
	long := strings.Repeat("x", 140<<10)
	for name, test := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"header":              {"/healthz", []string{"X-Long", long}, 431},
		"URL":                 {"/healthz?" + long, nil, 431},
		"URL within":          {"/healthz?" + long[:100<<10], nil, 200},
		"a hundred long ones": {"/events?" + strings.Repeat("&scope="+strings.Repeat("%41", 256), 100), nil, 200},
	} {
		if resp := ask(t, "GET", server+test.path, test.header...); resp.StatusCode != test.want {
			t.Errorf("%s: got %s, want %d", name, resp.Status, test.want)
		}
	}
}

// A client must not be able to add to what is kept for ever, nor to read there what
// others asked for.
func TestMetricsHaveNothingOfARequestInThem(t *testing.T) {
	_, server := beginServe(t, "postgres://u@127.0.0.1:1/d", "--auth", "header")
	series := func() []string {
		_, text := get(t, server+"/metrics")
		var names []string
		for _, line := range strings.Split(text, "\n") {
			if name, _, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "#") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	provoke := func(word string) {
		for _, path := range []string{"/events?scope=" + word, "/events?scope=&x=" + word, "/presence?scope=" + word, "/" + word, "/events?since=" + word + "&scope=a"} {
			ask(t, "GET", server+path, "X-Forwarded-User", word, "User-Agent", word)
			ask(t, "POST", server+path, "X-Forwarded-User", word)
		}
	}
	provoke("zebra1")
	before := series()
	for i := range 20 {
		provoke(fmt.Sprintf("zebra%d", i+2))
	}
	after := series()
	if !slices.Equal(before, after) {
		t.Errorf("the series changed from %q to %q", before, after)
	}
	label := regexp.MustCompile(`(\w+)="`)
	for _, name := range after {
		if strings.Contains(name, "zebra") {
			t.Errorf("%s has a word of a request in it", name)
		}
		for _, found := range label.FindAllStringSubmatch(name, -1) {
			if !slices.Contains([]string{"reason", "answer", "state", "le", "quantile", "version", "commit", "goversion"}, found[1]) {
				t.Errorf("%s: label %s", name, found[1])
			}
		}
	}
}
