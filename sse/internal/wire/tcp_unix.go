//go:build unix

package wire

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// tcp is a TCP connection as a file. Each wake-up of a stream is an error of a Read:
// net wraps every one in an error of its own, which makes garbage of 80 bytes, twice
// the memory of an idle server when it is busy.
type tcp struct {
	*os.File
	raw     syscall.RawConn
	receive func(fd uintptr) bool

	fd int // open until Close

	into []byte // what Read was called with, and what it is to return
	n    int
	err  error

	interrupted bool      // the last Read was
	looked      time.Time // when the socket was last read from
	look        bool
}

// bare returns conn, or what is cheaper in its place.
func bare(conn net.Conn) endpoint {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	f, err := c.File() // a duplicate
	if err != nil {
		return conn
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return conn
	}
	t := &tcp{File: f, raw: raw}
	t.receive = t.tryRead
	if raw.Control(func(fd uintptr) { t.fd = int(fd) }) != nil {
		f.Close()
		return conn
	}
	c.Close()
	return t
}

// Read returns what the client sends, or its end. To look at the socket before it waits
// is a system call, which finds nothing after most wakes: a fifth of all that a frame
// costs. Read does not look if it did so not long ago. Then the poller tells of all
// that comes while a Read waits; what came between two Reads is seen when the stream
// settles.
func (t *tcp) Read(b []byte) (int, error) {
	t.into = b
	now := time.Now()
	if t.look = !t.interrupted || now.Sub(t.looked) >= SettleAfter; t.look {
		t.looked = now
	}
	err := t.raw.Read(t.receive)
	if t.interrupted = err != nil; t.interrupted {
		return 0, err
	}
	return t.n, t.err
}

// tryRead reports false to be called again when there is something to read.
func (t *tcp) tryRead(fd uintptr) bool {
	if !t.look {
		t.look = true
		return false
	}
	for {
		t.n, t.err = syscall.Read(int(fd), t.into)
		switch {
		case t.err == syscall.EINTR:
			continue
		case t.err == syscall.EAGAIN:
			return false
		case t.err != nil:
			t.n = 0
		case t.n == 0:
			t.err = io.EOF
		}
		return true
	}
}

// send may be called beside Read, but not beside Close: it does not lock the file.
func (t *tcp) send(b []byte) int {
	for {
		n, err := write(t.fd, b)
		if err != syscall.EINTR {
			return max(n, 0)
		}
	}
}

// Write leaves to the file what there is no room for, so that only a write that waits takes
// the room on the stack for that.
func (t *tcp) Write(b []byte) (int, error) {
	n := t.send(b)
	if n == len(b) {
		return n, nil
	}
	rest, err := t.File.Write(b[n:])
	return n + rest, err
}

func (t *tcp) CloseWrite() error {
	t.interrupted = false // the client hangs up now: the next Read must not overlook it
	var err error
	if failed := t.raw.Control(func(fd uintptr) { err = syscall.Shutdown(int(fd), syscall.SHUT_WR) }); failed != nil {
		return failed
	}
	return err
}
