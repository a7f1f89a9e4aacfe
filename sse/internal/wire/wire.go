package wire

import (
	"context"
	"net/http"
	"time"
)

// Wire is what a stream writes to. All but Wake are for the stream's goroutine, and
// all but Wake and Context come after Open.
type Wire interface {
	// Open sends the status and the headers. On http.ErrNotSupported nothing was
	// sent; any other error comes again with the first Write.
	Open(w http.ResponseWriter, r *http.Request, by time.Time) error

	// Write sends b. It fails with os.ErrDeadlineExceeded if that is not done by then;
	// it may do so sooner, by at most an eighth of the time that was left.
	Write(b []byte, by time.Time) error

	// Wait returns once Wake was called since the last Wait, at until, or sooner. It
	// does not wait if until has passed; the zero until is never. An error says that
	// the client is gone.
	Wait(until time.Time) error

	// Wake may be called before Open and after Finish too. It does not block.
	Wake()

	// Lend lets a writer serve the stream while it waits, if the wire has one, rather
	// than return from Wait at each Wake.
	Lend(s Served)

	// Context is for what is asked on behalf of the stream. It need not be done when
	// the client is gone.
	Context() context.Context

	// Finish ends the response, by that time, and says that it is complete: many clients
	// don't come back then.
	Finish(by time.Time)

	// Abort ends the response, by that time, so that the client sees that there was to be
	// more, unless it speaks HTTP/1.0. It may panic with http.ErrAbortHandler.
	Abort(by time.Time)
}

// New returns the wire for an answer to r. It takes over the connection, at Open, if
// writers is not nil and w and r allow it.
func New(w http.ResponseWriter, r *http.Request, writers *Writers) (wire Wire, hijacks bool) {
	if writers != nil && r.ProtoMajor == 1 && canHijack(w) {
		return &socket{writer: writers.assign()}, true
	}
	return newResponse(), false
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
