package sse

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"
)

// wire is what a stream writes to, and the only place where it waits. All but wake
// are for the stream's goroutine, and that but open after open.
type wire interface {
	// open sends the status and the headers. On http.ErrNotSupported nothing was
	// sent; any other error comes again with the first write.
	open(w http.ResponseWriter, r *http.Request, by time.Time) error

	// write sends b. It fails with os.ErrDeadlineExceeded if that is not done by then;
	// it may do so sooner, by at most an eighth of the time that was left.
	write(b []byte, by time.Time) error

	// wait returns once wake was called since the last wait, at until, or sooner. It
	// does not wait if until has passed; the zero until is never. An error says that
	// the client is gone.
	wait(until time.Time) error

	// wake may be called from anywhere, before open and after finish too. It does
	// not block.
	wake()

	// lend lets a writer serve the stream while it waits, if the wire has one, rather
	// than return from wait at each wake.
	lend(s served)

	// context is what is asked on behalf of the stream in. It need not be done when
	// the client is gone.
	context() context.Context

	// finish ends the response, by that time.
	finish(by time.Time)
}

// newWire returns the wire for an answer to r.
func (h *Handler) newWire(w http.ResponseWriter, r *http.Request) wire {
	if h.cfg.Hijack && r.ProtoMajor == 1 && canHijack(w) {
		return &socket{writer: h.writers.assign()}
	}
	return newResponse()
}

// canHijack says whether http.ResponseController finds a way to.
func canHijack(w http.ResponseWriter) bool {
	for {
		switch inner := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = inner.Unwrap()
		default:
			return false
		}
	}
}

// response is the wire of an ordinary response, of whichever version of HTTP.
type response struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	ctx   context.Context // done when the client is gone
	woken chan struct{}
	due   *time.Timer
}

func newResponse() *response {
	c := &response{woken: make(chan struct{}, 1), due: time.NewTimer(time.Hour)}
	c.due.Stop()
	return c
}

func (c *response) open(w http.ResponseWriter, r *http.Request, by time.Time) error {
	c.w, c.rc, c.ctx = w, http.NewResponseController(w), r.Context()
	if err := c.rc.SetWriteDeadline(by); err != nil {
		return err
	}
	return c.rc.Flush()
}

func (c *response) write(b []byte, by time.Time) error {
	if err := c.rc.SetWriteDeadline(by); err != nil {
		return err
	}
	_, err := c.w.Write(b)
	if err == nil {
		err = c.rc.Flush()
	}
	if err != nil {
		if !time.Now().Before(by) { // HTTP/2 says otherwise
			err = os.ErrDeadlineExceeded
		}
		return err
	}
	// HTTP/2 resets a stream whose deadline passes, even if nothing is being written.
	return c.rc.SetWriteDeadline(time.Time{})
}

func (c *response) wait(until time.Time) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if !until.IsZero() {
		d := time.Until(until)
		if d <= 0 {
			return nil
		}
		c.due.Reset(d)
		defer c.due.Stop()
	}
	select {
	case <-c.woken:
	case <-c.due.C:
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
	return nil
}

func (c *response) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// lend does nothing: a ResponseWriter is for one goroutine alone.
func (c *response) lend(served) {}

func (c *response) context() context.Context { return c.ctx }

// finish leaves the end to the server. Without a deadline its last write could wait
// for ever.
func (c *response) finish(by time.Time) { _ = c.rc.SetWriteDeadline(by) }

// unsupported is an error for which nothing was sent.
func unsupported(err error) bool { return errors.Is(err, http.ErrNotSupported) }
