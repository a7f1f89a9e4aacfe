package wire

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
// enough, without a timer. Once the stream is lent, its goroutine is woken for little:
// while it waits, a writer serves the stream.
type socket struct {
	conn    endpoint // nil until open
	chunked bool     // the response is: not over HTTP/1.0
	state   atomic.Uint32

	writer   *writer
	lent     atomic.Pointer[Served] // nil: the writer may not serve the stream
	turn     sync.Mutex             // held by the goroutine that serves it
	settleAt time.Time              // of the writer; zero: it need not look again

	readBy  time.Time // the deadlines that were set; zero for none
	stale   bool      // the read deadline may be another
	writeBy time.Time
	broken  bool   // a write or a read failed
	unsent  []byte // what a writer had no room for: goes before all else

	noise int // bytes that the client has sent
	scrap [32]byte
}

// The states of a socket. A call of Wake that finds it waiting interrupts the Read, or
// queues the socket for its writer. The stream's goroutine may take it back from the
// queue; it waits for the end of a writer's turn before it goes on.
const (
	isBusy uint32 = iota
	isWaiting
	isWoken
	isQueued
	isServed
	isServedAgain // woken meanwhile
)

var longAgo = time.Unix(1, 0)

// endpoint is what a socket needs of a net.Conn.
type endpoint interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

func (c *socket) Open(w http.ResponseWriter, r *http.Request, by time.Time) error {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("hijack: %w, %w", err, http.ErrNotSupported)
	}
	c.conn = bare(conn)
	c.noise = buf.Reader.Buffered()
	chunked := r.ProtoAtLeast(1, 1)
	if err := c.Write(head(w.Header(), chunked), by); err != nil {
		return err
	}
	c.chunked = chunked
	return nil
}

// framing are headers that net/http would not have taken over as they are.
var framing = map[string]bool{
	"Connection": true, "Content-Length": true, "Keep-Alive": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// head returns the beginning of a response. "Connection: close" is left out where chunks
// say whether the response is complete: Node's fetch would take any end for a complete one.
func head(header http.Header, chunked bool) []byte {
	var b bytes.Buffer
	begin, end := "HTTP/1.1 200 OK\r\n", "Transfer-Encoding: chunked\r\n\r\n"
	if !chunked {
		begin, end = "HTTP/1.0 200 OK\r\n", "Connection: close\r\n\r\n"
	}
	b.WriteString(begin)
	if err := header.WriteSubset(&b, framing); err != nil { // to memory: it can't
		panic(err)
	}
	if _, set := header["Date"]; !set {
		b.WriteString("Date: " + time.Now().UTC().Format(http.TimeFormat) + "\r\n")
	}
	b.WriteString(end)
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

func (c *socket) Write(b []byte, by time.Time) error {
	if err := c.limit(by); err != nil {
		return err
	}
	if err := c.write(c.unsent); err != nil {
		return err
	}
	c.unsent = nil
	framed := c.frame(b)
	defer framed.free()
	return c.write(framed.bytes())
}

// write writes b as it is, if there is anything in it.
func (c *socket) write(b []byte) error {
	if c.broken { // perhaps amid a frame
		return net.ErrClosed
	}
	if len(b) == 0 {
		return nil
	}
	_, err := c.conn.Write(b)
	c.broken = err != nil
	return err
}

func (c *socket) Wait(until time.Time) error {
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
	// From here on Wake interrupts, and does so after the deadline above was set. One
	// that is late, and interrupts another Read than it meant to, does no harm.
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

func (c *socket) Wake() {
	for {
		state, next := c.state.Load(), isWoken
		switch {
		case state == isServed:
			next = isServedAgain
		case state == isWaiting && c.lent.Load() != nil:
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

// interrupt makes Wait return.
func (c *socket) interrupt() { _ = c.conn.SetReadDeadline(longAgo) }

func (c *socket) Lend(s Served) {
	if _, ok := c.conn.(sender); ok {
		c.lent.Store(&s)
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
		switch (*c.lent.Load()).Serve(Turn{c}) {
		case Done:
			if c.state.CompareAndSwap(isServed, isWaiting) {
				return
			}
			c.state.Store(isServed)
		case More:
			c.state.Store(isQueued)
			c.writer.add(c)
			return
		case HandBack:
			c.state.Store(isWoken)
			c.interrupt()
			return
		}
	}
}

func (c *socket) Context() context.Context { return context.Background() }

// Finish writes the last chunk, unless what was to be written before it was not.
func (c *socket) Finish(by time.Time) {
	if c.chunked && c.Write(nil, by) == nil {
		_ = c.write(lastChunk)
	}
	c.Abort(by)
}

// Abort closes the connection. Were there anything left to read by then, or did it
// come later, TCP would answer with a reset, at which the client may throw away the
// last frames unread (RFC 9112, 9.6).
func (c *socket) Abort(by time.Time) {
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
