//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/r3labs/sse/v2"
)

// serveNaive is the server that everybody writes. The mutex and the map of
// subscribers are those of the library.
func serveNaive(ctx context.Context, databaseURL string) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "listen changes"); err != nil {
		return err
	}
	server := sse.New()
	server.AutoStream = true  // a stream for each scope, made when the first one asks
	server.AutoReplay = false // it keeps each event for ever, and sends all to who comes
	mux := http.NewServeMux()
	mux.Handle("/events", server)
	if err := serveHTTP(mux); err != nil {
		return err
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		var change struct {
			ID  int64
			Row struct {
				ProjectID int `json:"project_id"`
			}
		}
		if err := json.Unmarshal([]byte(n.Payload), &change); err != nil {
			return err
		}
		for _, scope := range []string{fmt.Sprintf("project:%d", change.Row.ProjectID), fmt.Sprintf("task:%d", change.ID)} {
			server.Publish(scope, &sse.Event{Event: []byte(scope), Data: []byte(n.Payload)})
		}
	}
}

// serveHTTP serves on a port of its own and says where. It goes on until the process ends.
func serveHTTP(h http.Handler) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		fmt.Fprintln(os.Stderr, http.Serve(ln, h))
		os.Exit(1)
	}()
	fmt.Printf("serving on http://%s\n", ln.Addr())
	return nil
}
