package wire

import (
	"context"
	"net/http"
	"os"
	"time"
)

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

func (c *response) Open(w http.ResponseWriter, r *http.Request, by time.Time) error {
	c.w, c.rc, c.ctx = w, http.NewResponseController(w), r.Context()
	if err := c.rc.SetWriteDeadline(by); err != nil {
		return err
	}
	return c.rc.Flush()
}

func (c *response) Write(b []byte, by time.Time) error {
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

func (c *response) Wait(until time.Time) error {
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

func (c *response) Wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// Lend does nothing: a ResponseWriter is for one goroutine alone.
func (c *response) Lend(Served) {}

func (c *response) Context() context.Context { return c.ctx }

// Finish leaves the end to the server. Without a deadline the server's last write
// could wait for ever.
func (c *response) Finish(by time.Time) { _ = c.rc.SetWriteDeadline(by) }

// Abort has the server end the response without its last chunk or, over HTTP/2, by
// RST_STREAM, unless the client is gone.
func (c *response) Abort(by time.Time) {
	c.Finish(by)
	if c.ctx.Err() == nil {
		panic(http.ErrAbortHandler)
	}
}
