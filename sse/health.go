package sse

import (
	"errors"
	"net/http"
)

const plainText = "text/plain; charset=utf-8"

// healthz answers while the process is alive.
func (h *Handler) healthz(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusOK, plainText, "ok")
}

// readyz answers 200 if a new stream would work at once, else 503 and why not.
func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	err := h.hears()
	if h.gate.draining() {
		err = errors.New("shutting down: no new streams are accepted")
	}
	if err != nil {
		reply(w, http.StatusServiceUnavailable, plainText, err.Error())
		return
	}
	reply(w, http.StatusOK, plainText, "ok")
}

// hears returns nil if the bus is fed and caught up, else why not.
func (h *Handler) hears() error {
	if err := h.cfg.Ready(); err != nil {
		return err
	}
	if h.bus.Position() == "" {
		return errors.New("nothing was read from the database yet")
	}
	return nil
}
