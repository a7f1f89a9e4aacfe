//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// plainServer has one scope, no database and no library: about the least that the
// fan-out costs. What is posted to /emit goes to all streams.
type plainServer struct {
	hijack bool // take the connection from net/http, with which its buffers go

	mu      sync.Mutex
	streams map[chan []byte]bool
}

func servePlain(ctx context.Context, hijack bool) error {
	s := &plainServer{hijack: hijack, streams: make(map[chan []byte]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", s.stream)
	mux.HandleFunc("POST /emit", s.emit)
	if err := serveHTTP(mux); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (s *plainServer) emit(_ http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	frame := fmt.Appendf(nil, "event: project:1\ndata: %s\n\n", data)
	s.mu.Lock()
	defer s.mu.Unlock()
	for queue := range s.streams {
		select {
		case queue <- frame:
		default: // lost: the client counts
		}
	}
}

func (s *plainServer) stream(w http.ResponseWriter, r *http.Request) {
	queue := make(chan []byte, 64)
	s.mu.Lock()
	s.streams[queue] = true
	s.mu.Unlock()
	if !s.hijack {
		w.Header().Set("Content-Type", "text/event-stream")
		s.write(w, http.NewResponseController(w).Flush, r.Context().Done(), queue)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	go func() {
		defer conn.Close()
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"); err != nil {
			return
		}
		s.write(conn, func() error { return nil }, nil, queue)
	}()
}

// write writes what is queued until the client is gone.
func (s *plainServer) write(w io.Writer, flush func() error, gone <-chan struct{}, queue chan []byte) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, queue)
	}()
	for flush() == nil {
		select {
		case frame := <-queue:
			if _, err := w.Write(frame); err != nil {
				return
			}
		case <-gone:
			return
		}
	}
}
