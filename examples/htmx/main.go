// Command htmx is a task board whose pages stay up to date by themselves: Go, htmx
// and pgbell in one process. It keeps its tables in schema board of the database that
// DATABASE_URL names, and makes them at its first start.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8000", "where to listen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(ctx, os.Getenv("DATABASE_URL"), ln); ctx.Err() == nil {
		log.Fatal(err)
	}
}

// run serves the board on ln until ctx is done, and returns why it ended.
func run(ctx context.Context, databaseURL string, ln net.Listener) error {
	defer ln.Close()
	db, err := connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := install(ctx, db); err != nil {
		return fmt.Errorf("install: %w", err)
	}

	events, err := bus.New(bus.Config{})
	if err != nil {
		return err
	}
	l, err := listener.New(db.Config().ConnConfig, events, listener.Config{})
	if err != nil {
		return err
	}
	bell, err := sse.NewHandler(events, sse.Config{Authenticate: whoAsks, Groups: groupsIn(db), Replay: l.Replay, Ready: l.Ready})
	if err != nil {
		return err
	}
	web := &http.Server{Handler: routes(db, bell), ReadHeaderTimeout: 5 * time.Second}
	log.Printf("the board is at http://%s", ln.Addr())

	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return l.Run(ctx) })
	work.Go(func() error { return web.Serve(ln) })
	<-ctx.Done()            // a signal, or one of the two has failed
	bell.Drain(time.Second) // the streams end one by one: not all their clients come back at once
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if web.Shutdown(late) != nil { // a browser holds a connection that it doesn't use
		web.Close()
	}
	_ = work.Wait()
	return context.Cause(ctx)
}
