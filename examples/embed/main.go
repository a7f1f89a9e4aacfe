// Command embed is somebody's own server with pgbell inside. Its database is migrated.
package main

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	log.Print(run(ctx, os.Getenv("DATABASE_URL"), must(net.Listen("tcp", "127.0.0.1:8000"))))
}

// run serves on ln until ctx is done, and returns why it ended.
func run(ctx context.Context, databaseURL string, ln net.Listener) error {
	// Who asks is for your own server to know: this one has a proxy that says so.
	whoAsks := sse.HeaderAuth("X-Forwarded-User", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	b := must(bus.New(bus.Config{}))
	l := must(listener.New(must(pgx.ParseConfig(databaseURL)), b, listener.Config{Logger: slog.Default()}))
	h := must(sse.NewHandler(b, sse.Config{Authenticate: whoAsks, Replay: l.Replay, Ready: l.Ready}))
	r := mux.NewRouter()
	h.Register(r) // /events and the other routes of pgbell
	r.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "Hello\n") })
	web := &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	log.Print("http://", ln.Addr())

	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return l.Run(ctx) })
	work.Go(func() error { return web.Serve(ln) })
	<-ctx.Done()         // a signal, or one of the two has failed
	h.Drain(time.Second) // the streams end one by one: not all their clients come back at once
	_ = web.Shutdown(context.WithoutCancel(ctx))
	_ = work.Wait()
	return context.Cause(ctx)
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
