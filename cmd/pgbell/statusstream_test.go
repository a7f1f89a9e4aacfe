package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
)

// statusBubble is a status page in a synctest bubble, and who may see it.
type statusBubble struct {
	page  *statusPage
	bus   *bus.Bus
	who   atomic.Pointer[sse.Identity]
	fails atomic.Pointer[error]
	end   context.CancelFunc // drains
}

func statusInFakeTime(t *testing.T, f func(t *testing.T, s *statusBubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &statusBubble{}
		s.who.Store(&sse.Identity{UserID: "alice"})
		conf, err := pgx.ParseConfig(nowhere)
		if err != nil {
			t.Fatal(err)
		}
		past, log := newHistory(), slog.New(slog.DiscardHandler)
		if s.bus, err = bus.New(bus.Config{OnReset: past.reset}); err != nil {
			t.Fatal(err)
		}
		l, err := listener.New(conf, s.bus, listener.Config{})
		if err != nil {
			t.Fatal(err)
		}
		h, err := sse.NewHandler(s.bus, sse.Config{Authenticate: func(*http.Request) (sse.Identity, error) {
			if err := s.fails.Load(); err != nil {
				return sse.Identity{}, *err
			}
			return *s.who.Load(), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ended, end := context.WithCancel(t.Context())
		s.end = end
		s.page = &statusPage{
			bus: s.bus, listener: l, handler: h, feeds: newFeedWatch(conf, log), history: past, watchers: &watchers{}, database: "d",
			retention: time.Hour, named: true, ended: ended.Done(), log: log, started: time.Now(),
		}
		alive, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.page.run(alive); close(done) }()
		f(t, s)
		end()
		stop()
		<-done
		synctest.Wait()
		if s.page.watchers.any() {
			t.Error("somebody still looks")
		}
	})
}

// flushing is a recorder that has deadlines.
type flushing struct{ *httptest.ResponseRecorder }

func (flushing) SetWriteDeadline(time.Time) error { return nil }

// watch looks until the stream's end, and returns how long that was and what came.
func (s *statusBubble) watch(ctx context.Context) (time.Duration, *statusEvents) {
	router, w := mux.NewRouter(), flushing{httptest.NewRecorder()}
	s.page.register(router, true)
	began := time.Now()
	router.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/status/events", nil))
	lines := bufio.NewScanner(w.Body)
	lines.Buffer(nil, 1<<20)
	got := &statusEvents{lines: lines, parts: map[string]string{}}
	got.all.WriteString(fmt.Sprint(w.Code, " "))
	for got.next() {
	}
	return time.Since(began), got
}

func TestStatusStreamEndsAsAStreamWould(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(s *statusBubble)
		took time.Duration
		said string
	}{
		{"the token expires", func(s *statusBubble) {}, 90 * time.Second, "expired"},
		{"the credentials are no longer good", func(s *statusBubble) {
			time.Sleep(30 * time.Second)
			err := errors.New("revoked")
			s.fails.Store(&err)
		}, 50 * time.Second, "no longer allowed"},
		{"they are another's", func(s *statusBubble) {
			time.Sleep(30 * time.Second)
			s.who.Store(&sse.Identity{UserID: "bob"})
		}, 50 * time.Second, "no longer allowed"},
		{"nobody can tell for a while", func(s *statusBubble) {
			time.Sleep(30 * time.Second)
			err := fmt.Errorf("%w: down", sse.ErrUnavailable)
			s.fails.Store(&err)
		}, 90 * time.Second, "expired"},
		{"disconnected", func(s *statusBubble) {
			time.Sleep(30 * time.Second)
			s.page.watchers.disconnect("bob")
			time.Sleep(10 * time.Second)
			s.page.watchers.disconnect("alice")
			s.page.watchers.disconnect("alice")
		}, 40 * time.Second, "disconnected"},
		{"the server drains", func(s *statusBubble) { time.Sleep(30 * time.Second); s.end() }, 30 * time.Second, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			statusInFakeTime(t, func(t *testing.T, s *statusBubble) {
				s.who.Store(&sse.Identity{UserID: "alice", Expires: time.Now().Add(90 * time.Second)})
				go test.do(s)
				took, got := s.watch(t.Context())
				if took != test.took || got.said != test.said {
					t.Errorf("ended after %v with %q, want %v with %q", took, got.said, test.took, test.said)
				}
				if !strings.Contains(got.parts["troubles"], "not connected yet") {
					t.Errorf("it came to show %q", got.parts)
				}
			})
		})
	}
}

func TestStatusStreamIsNoSubscriber(t *testing.T) {
	statusInFakeTime(t, func(t *testing.T, s *statusBubble) {
		ctx, leave := context.WithCancel(t.Context())
		go s.watch(ctx)
		time.Sleep(1500 * time.Millisecond)
		if got := s.bus.Stats(); got.Subscriptions != 0 || s.page.handler.Stats().Streams != 0 {
			t.Errorf("it counts as a subscriber: %+v, %+v", got, s.page.handler.Stats())
		}
		leave()
		synctest.Wait()
		if s.page.watchers.any() {
			t.Error("nobody looks any more, and the page is still made")
		}
	})
}

func TestStatusStreamsAreLimited(t *testing.T) {
	statusInFakeTime(t, func(t *testing.T, s *statusBubble) {
		ctx, leave := context.WithCancel(t.Context())
		for range maxWatchers {
			go s.watch(ctx)
		}
		synctest.Wait()
		if _, got := s.watch(t.Context()); !strings.HasPrefix(got.all.String(), "503 ") {
			t.Errorf("one more got %s, want 503", &got.all)
		}
		leave()
		synctest.Wait()
		ctx, leave = context.WithTimeout(t.Context(), 2*time.Second)
		defer leave()
		if took, got := s.watch(ctx); took != 2*time.Second || len(got.parts) == 0 {
			t.Errorf("the next was let in for %v and saw %q", took, got.parts)
		}
	})
}
