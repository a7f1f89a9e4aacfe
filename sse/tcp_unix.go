//go:build unix

package sse

import (
	"io"
	"net"
	"os"
	"syscall"
)

// tcp is a TCP connection as a file. Each wake-up of a stream is an error of a Read:
// net wraps every one in an error of its own, which makes garbage of 80 bytes, twice
// the memory of an idle server when it is busy.
type tcp struct {
	*os.File
	raw     syscall.RawConn
	receive func(fd uintptr) bool

	into []byte // what Read was called with, and what it is to return
	n    int
	err  error
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
	c.Close()
	t := &tcp{File: f, raw: raw}
	t.receive = t.tryRead
	return t
}

func (t *tcp) Read(b []byte) (int, error) {
	t.into = b
	if err := t.raw.Read(t.receive); err != nil {
		return 0, err
	}
	return t.n, t.err
}

// tryRead reports false if there is nothing to read yet.
func (t *tcp) tryRead(fd uintptr) bool {
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

func (t *tcp) CloseWrite() error {
	var err error
	if failed := t.raw.Control(func(fd uintptr) { err = syscall.Shutdown(int(fd), syscall.SHUT_WR) }); failed != nil {
		return failed
	}
	return err
}
