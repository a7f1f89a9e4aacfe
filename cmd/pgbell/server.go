package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pgauth"
	"github.com/pgbell/pgbell/sse/pglive"
)

// server is a bus, a listener that feeds it, and the HTTP side that serves it:
// how a library user would wire them, too.
type server struct {
	conf       *pgx.ConnConfig
	listener   net.Listener                    // closed by run
	web        sse.Config                      // but for what run sets: Replay, Ready, Hijack, Logger
	authorizer *pgauth.Authorizer              // that web asks, for permission or groups; nil if it doesn't. Closed by run
	live       *pglive.Config                  // nil keeps no live queries
	pages      http.Handler                    // answers what is not pgbell's own; nil for nothing
	tls        *tls.Config                     // nil is plain HTTP
	guard      func(http.Handler) http.Handler // decides who may ask; nil leaves it to authenticate
	drain      time.Duration
	retention  time.Duration // 0 is an hour
	poll       bool          // never ask writers to ring
	status     bool          // serve the status page
	named      bool          // only to users that have a name
	anonymous  bool          // no user has one
	log        *slog.Logger
}

// run serves until ctx is done, then drains and returns nil.
func (s *server) run(ctx context.Context) error {
	defer s.listener.Close()
	if s.retention == 0 {
		s.retention = time.Hour
	}
	past, feeds := newHistory(), newFeedWatch(s.conf, s.log)
	feeds.anonymous = s.anonymous
	b, err := bus.New(bus.Config{OnReset: past.reset, Logger: s.log})
	if err != nil {
		return err
	}
	lag := newLag()
	var looking *watchers
	onRecord := func(r journal.Record) {
		lag.observe(r)
		past.observe(r)
		if r.Attach {
			feeds.look()
		}
		if d := r.Disconnect; d != nil {
			if s.authorizer != nil {
				s.authorizer.Forget(d.UserID)
			}
			if d.Scope == "" {
				looking.disconnect(d.UserID)
			}
		}
	}
	if s.authorizer != nil {
		defer s.authorizer.Close()
	}
	l, err := listener.New(s.conf, b, listener.Config{OnRecord: onRecord, Retention: s.retention, Poll: s.poll, Logger: s.log})
	if err != nil {
		return err
	}
	s.web.Replay, s.web.Ready, s.web.Hijack, s.web.Logger = l.Replay, ready(l), true, s.log
	var live *pglive.Engine
	if s.live != nil {
		if live, err = newLive(ctx, s.conf, b, *s.live, s.log); err != nil {
			return err
		}
		s.web.Live = live
	}
	h, err := sse.NewHandler(b, s.web)
	if err != nil {
		return err
	}
	identify := func(r *http.Request) (sse.Identity, error) { return h.Identify(r, s.named) }
	if looking, err = newWatchers(ctx, identify, s.log); err != nil {
		return err
	}
	router := mux.NewRouter()
	h.Register(router)
	router.Handle("/pgbell.js", moduleHandler()).Methods(http.MethodGet, http.MethodHead)
	router.Handle("/metrics", metricsHandler(stats{b, l, h, live, past, feeds, s.retention}, lag)).Methods(http.MethodGet)
	page := &statusPage{
		bus: b, listener: l, handler: h, live: live, feeds: feeds, history: past, watchers: looking, database: s.conf.Database, retention: s.retention,
		named: s.named, log: s.log, started: time.Now(),
	}
	if s.status {
		page.register(router, s.pages == nil)
	}
	if s.pages != nil {
		router.PathPrefix("/").Handler(s.pages)
	}
	handler := bodies(router)
	if s.guard != nil {
		handler = s.guard(handler)
	}
	web, scheme := newWeb(handler, s.log), "http"
	serve := web.Serve
	if s.tls != nil {
		web.TLSConfig, scheme = s.tls, "https"
		serve = func(ln net.Listener) error { return web.ServeTLS(ln, "", "") }
	}
	s.log.Info("serving", "url", scheme+"://"+s.listener.Addr().String(), "version", thisBuild().Version)

	// The listener outlives ctx: streams get their events until they are drained.
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	work, failed := errgroup.WithContext(alive)
	work.Go(func() error { return l.Run(alive) })
	work.Go(func() error { feeds.run(alive); return nil })
	if live != nil {
		work.Go(func() error { return live.Run(alive) })
	}
	work.Go(func() error { page.run(alive); return nil })
	work.Go(func() error {
		if err := serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTP: %w", err)
		}
		return nil
	})
	work.Go(func() error {
		defer stop()
		select {
		case <-ctx.Done():
			h.Drain(s.drain)
		case <-failed.Done():
			h.Drain(0) // Shutdown waits for no hijacked stream
		}
		return shutDown(web)
	})
	if err := work.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	s.log.Info("stopped")
	return nil
}

// ready puts what keeps the listener from its work into words for an operator.
func ready(l *listener.Listener) func() error {
	return func() error {
		err := l.Ready()
		if err == nil {
			return nil
		}
		return errors.New(describe(err))
	}
}

// shutDown lets the requests under way end, for a while.
func shutDown(web *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := web.Shutdown(ctx); err != nil {
		return web.Close()
	}
	return nil
}
