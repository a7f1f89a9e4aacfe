package sse

import (
	"net/http"
	"time"
)

// sendAway answers with a stream that ends at once, after it said when to come
// back. A refusal would be final: an EventSource gives up for good on any status
// but 200 (WHATWG HTML, 9.2.3). The connection is closed, so that the next try can
// reach another server.
func (h *Handler) sendAway(w http.ResponseWriter) {
	for name, value := range streamHeaders {
		w.Header().Set(name, value)
	}
	w.Header().Set("Connection", "close")
	b := takeFrames()
	defer b.free()
	b.retry(retryAfter())
	w.Write(b.bytes()) //nolint:errcheck // the client's loss
}

// Drain ends the streams, each at a random time within d, so that their clients do
// not all come back at once. A stream's queue is written before it ends. From the
// call on /readyz fails and new streams end at once. Drain returns when all streams
// have ended, at the latest after d and the write timeout. There is no way back; a
// second call only waits.
func (h *Handler) Drain(d time.Duration) {
	d = max(d, 0)
	h.gate.close(d)
	h.log.Info("draining streams", "streams", h.gate.count(), "over", d.String())
	late := time.NewTimer(d + h.cfg.WriteTimeout)
	defer late.Stop()
	select {
	case <-h.gate.empty:
	case <-late.C:
		h.log.Warn("streams left after draining", "streams", h.gate.count())
	}
}
