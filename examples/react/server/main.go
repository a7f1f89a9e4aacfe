// Command server is an app's own server with an API, a page that Vite has built, and
// pgbell inside. It is run where dist is.
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

	"github.com/gorilla/mux"
	"golang.org/x/sync/errgroup"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pglive"
)

// defaultAddr isn't that of pgbell serve or of its demo, which may run beside. It is
// also where vite.config.ts looks for the server.
const defaultAddr = "127.0.0.1:8001"

func main() {
	addr := flag.String("addr", defaultAddr, "where to listen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(ctx, os.Getenv("DATABASE_URL"), "dist", ln); ctx.Err() == nil {
		log.Fatal(err)
	}
}

// run serves on ln until ctx is done, and returns why it ended.
func run(ctx context.Context, databaseURL, dist string, ln net.Listener) error {
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
	lives, err := pglive.New(db.Config().ConnConfig, events, pglive.Config{Role: "react_tasks_live"})
	if err != nil {
		return err
	}
	bell, err := sse.NewHandler(events, sse.Config{Replay: l.Replay, Ready: l.Ready, Live: lives})
	if err != nil {
		lives.Close()
		return err
	}

	r := mux.NewRouter()
	bell.Register(r)
	r.PathPrefix("/api/").Handler(http.NewCrossOriginProtection().Handler(api{db}.routes()))
	r.PathPrefix("/").Handler(http.FileServer(http.Dir(dist)))
	web := &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	log.Printf("the page is at http://%s", ln.Addr())

	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return l.Run(ctx) })
	work.Go(func() error { return lives.Run(ctx) })
	work.Go(func() error { return web.Serve(ln) })
	<-ctx.Done()            // a signal, or one of them has failed
	bell.Drain(time.Second) // the streams end one by one: not all their clients come back at once
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if web.Shutdown(late) != nil { // a browser holds a connection that it doesn't use
		web.Close()
	}
	_ = work.Wait()
	return context.Cause(ctx)
}
