package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

const (
	// requestTimeout is for all that a client sends, up to the last byte.
	requestTimeout = 10 * time.Second

	// maxStreams is for one HTTP/2 connection. A browser opens no second one to the
	// same origin: what is too much waits in silence until another stream ends, and
	// ours don't. Go's 250 can be all tabs of a busy user, or all users of a proxy.
	// A stream costs the same on whichever connection, so this is no limit on load.
	maxStreams = 1000
)

// newWeb returns the server that answers with h.
func newWeb(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           noSniff(h),
		ReadHeaderTimeout: requestTimeout, // also for TLS handshakes; no WriteTimeout: each frame has a deadline of its own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    128 << 10, // a hundred scopes, each byte percent-encoded, take 77 kB
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			// A frame's deadline ends its stream, not the connection, which would stay for
			// as long as a client that reads nothing likes.
			WriteByteTimeout: requestTimeout,
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

const bodyProblem = `{"type":"urn:pgbell:problem:bad-request","title":"GET with a body","status":%d,"detail":"A GET has no body here."}` + "\n"

// bodies refuses a GET with a body, and gives other bodies a time. Before the first
// byte of an answer, and again after the last, net/http over HTTP/1.1 reads what is
// left of a body; and until it has, it does not see that the client is gone. So a
// stream to a client that never ends its request would wait for ever.
func bodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
			http.Error(w, "Bodies can't be limited.", http.StatusInternalServerError)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		if r.ProtoMajor == 1 { // over HTTP/2 it would end all other streams of the connection
			w.Header().Set("Connection", "close") // else the answer waits for the body
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, bodyProblem, http.StatusBadRequest)
	})
}
