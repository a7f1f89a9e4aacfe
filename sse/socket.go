package sse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxNoise is how many bytes a client may send after its request: it has nothing
	// to say, and to read costs.
	maxNoise = 4096

	// linger is how long a client has to hang up after the last frame.
	linger = time.Second
)

var errNoise = errors.New("client keeps sending")

// socket is the wire of a connection that was taken over from net/http, which keeps
// several times what a stream needs. The stream waits in a Read, which sees that the
// client is gone, and which a deadline in the past interrupts. So one goroutine is
// enough, without a timer. Once the stream is lent, it is woken for little: while it
// waits, a writer serves it.
type socket struct {
	conn  endpoint // nil until open
	state atomic.Uint32

	writer   *writer
	lent     served     // nil: nobody else may serve the stream
	turn     sync.Mutex // held by the goroutine that serves it
	settleAt time.Time  // of the writer; zero: it need not look again

	readBy  time.Time // the deadlines that were set; zero for none
	stale   bool      // the read deadline may be another
	writeBy time.Time
	broken  bool // a write or a read failed

	noise int // bytes that the client has sent
	scrap [32]byte
}

// The states of a socket. Who finds it waiting, and wakes it, has to interrupt the Read,
// or to queue it for its writer. The stream's goroutine may take it back from the
// queue, and makes a writer's turn end before it goes on.
const (
	isBusy uint32 = iota
	isWaiting
	isWoken
	isQueued
	isServed
	isServedAgain // woken meanwhile
)

// served is a stream as its writer knows it.
type served interface {
	// serve does what there is to do, without blocking, and says what is left.
	serve(turn) outcome
}

// turn is a writer's turn at a stream. What it can do is all that may be done in one.
type turn struct{ c *socket }

// send writes as much of b as there is room for. An error comes again with the
// next write.
func (t turn) send(b []byte) (n int) { return t.c.conn.(sender).send(b) }

// settle has the stream woken at that time, or a little later, unless it is called
// again before.
func (t turn) settle(at time.Time) { t.c.writer.settle(t.c, at) }

// outcome is what is left to do for a stream that was served.
type outcome int

const (
	nothing outcome = iota
	more            // of the same
	other           // that its own goroutine has to do
)

// sender is an endpoint that can be written to without blocking.
type sender interface {
	// send writes as much of b as there is room for. Its error comes again with the
	// next Write.
	send(b []byte) (n int)
}

var longAgo = time.Unix(1, 0)

// endpoint is what a socket needs of a net.Conn.
type endpoint interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

func (c *socket) open(w http.ResponseWriter, r *http.Request, by time.Time) error {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("hijack: %w, %w", err, http.ErrNotSupported)
	}
	c.conn = bare(conn)
	c.noise = buf.Reader.Buffered()
	return c.write(head(w.Header(), r), by)
}

// framing are headers that net/http would not have taken over as they are.
var framing = map[string]bool{
	"Connection": true, "Content-Length": true, "Keep-Alive": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// head returns the beginning of a response that ends with its connection.
func head(header http.Header, r *http.Request) []byte {
	var b bytes.Buffer
	proto := "HTTP/1.1"
	if !r.ProtoAtLeast(1, 1) {
		proto = "HTTP/1.0"
	}
	b.WriteString(proto + " 200 OK\r\n")
	if err := header.WriteSubset(&b, framing); err != nil { // to memory: it can't
		panic(err)
	}
	if _, set := header["Date"]; !set {
		b.WriteString("Date: " + time.Now().UTC().Format(http.TimeFormat) + "\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	return b.Bytes()
}

// limit sets the deadline of a write, or leaves one that is good enough: to set one
// costs.
func (c *socket) limit(by time.Time) error {
	if !c.writeBy.After(by) && by.Sub(c.writeBy) <= time.Until(by)/8 {
		return nil
	}
	c.writeBy = by
	return c.conn.SetWriteDeadline(by)
}

func (c *socket) write(b []byte, by time.Time) error {
	if err := c.limit(by); err != nil {
		return err
	}
	if c.broken { // perhaps amid a frame
		return net.ErrClosed
	}
	_, err := c.conn.Write(b)
	c.broken = c.broken || err != nil
	return err
}

func (c *socket) wait(until time.Time) error {
	if !until.IsZero() && !time.Now().Before(until) {
		return nil
	}
	if c.stale || !until.Equal(c.readBy) {
		if err := c.conn.SetReadDeadline(until); err != nil {
			c.broken = true
			return err
		}
		c.readBy, c.stale = until, false
	}
	// From here on wake interrupts, and after the deadline above was set. One that
	// is late, and interrupts another Read than it meant to, does no harm.
	if !c.state.CompareAndSwap(isBusy, isWaiting) {
		c.state.Store(isBusy)
		return nil
	}
	err := c.listen()
	c.turn.Lock()
	c.state.Store(isBusy)
	c.turn.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.stale = true
		return nil
	}
	c.broken = true
	return err
}

// listen reads, and throws away, until that fails.
func (c *socket) listen() error {
	for c.noise <= maxNoise {
		n, err := c.conn.Read(c.scrap[:])
		c.noise += n
		if err != nil {
			return err
		}
	}
	return errNoise
}

func (c *socket) wake() {
	for {
		state, next := c.state.Load(), isWoken
		switch {
		case state == isServed:
			next = isServedAgain
		case state == isWaiting && c.lent != nil:
			next = isQueued
		case state != isBusy && state != isWaiting:
			return // it will be looked at
		}
		if !c.state.CompareAndSwap(state, next) {
			continue
		}
		switch {
		case next == isQueued:
			c.writer.add(c)
		case state == isWaiting:
			c.interrupt()
		}
		return
	}
}

// interrupt has wait return.
func (c *socket) interrupt() { _ = c.conn.SetReadDeadline(longAgo) }

func (c *socket) lend(s served) {
	if _, ok := c.conn.(sender); ok {
		c.lent = s
	}
}

// serve is the writer's turn.
func (c *socket) serve() {
	c.turn.Lock()
	defer c.turn.Unlock()
	if !c.state.CompareAndSwap(isQueued, isServed) {
		return // the stream's goroutine goes on
	}
	for {
		switch c.lent.serve(turn{c}) {
		case nothing:
			if c.state.CompareAndSwap(isServed, isWaiting) {
				return
			}
			c.state.Store(isServed)
		case more:
			c.state.Store(isQueued)
			c.writer.add(c)
			return
		case other:
			c.state.Store(isWoken)
			c.interrupt()
			return
		}
	}
}

func (c *socket) context() context.Context { return context.Background() }

// finish closes the connection. Were there anything left to read by then, or did it
// come later, TCP would answer with a reset, at which the client may throw away the
// last frames unread (RFC 9112, 9.6).
func (c *socket) finish(by time.Time) {
	defer c.conn.Close()
	half, ok := c.conn.(interface{ CloseWrite() error })
	if c.broken || !ok {
		return
	}
	if c.conn.SetWriteDeadline(by) != nil || half.CloseWrite() != nil {
		return
	}
	if c.conn.SetReadDeadline(time.Now().Add(linger)) == nil {
		_ = c.listen()
	}
}
