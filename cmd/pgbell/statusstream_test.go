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
		ws, err := newWatchers(ended, func(r *http.Request) (sse.Identity, error) { return h.Identify(r, true) }, log)
		if err != nil {
			t.Fatal(err)
		}
		s.page = &statusPage{
			bus: s.bus, listener: l, handler: h, feeds: newFeedWatch(conf, log), history: past, watchers: ws, database: "d",
			retention: time.Hour, named: true, log: log, started: time.Now(),
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
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { // as net/http does
				panic(p)
			}
		}()
		router.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/status/events", nil))
	}()
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
		name         string
		do           func(s *statusBubble)
		after, until time.Duration
		said         string
	}{
		{"the token expires", func(s *statusBubble) {}, 90 * time.Second, 90 * time.Second, "expired"},
		{"the credentials are no longer good", func(s *statusBubble) {
			time.Sleep(30 * time.Second)
			err := errors.New("revoked")
			s.fails.Store(&err)
		}, 30 * time.Second, 55 * time.Second, "no longer allowed"},
		{"they are another's", func(s *statusBubble) {
			time.Sleep(30 * time.Second)
			s.who.Store(&sse.Identity{UserID: "bob"})
		}, 30 * time.Second, 55 * time.Second, "no longer allowed"},
		{"nobody can tell for a while", func(s *statusBubble) {
			time.Sleep(30 * time.Second)
			err := fmt.Errorf("%w: down", sse.ErrUnavailable)
			s.fails.Store(&err)
		}, 90 * time.Second, 90 * time.Second, "expired"},
		{"disconnected", func(s *statusBubble) {
			time.Sleep(30 * time.Second)
			s.page.watchers.disconnect("bob")
			time.Sleep(10 * time.Second)
			s.page.watchers.disconnect("alice")
			s.page.watchers.disconnect("alice")
		}, 40 * time.Second, 40 * time.Second, "disconnected"},
		{"the server drains", func(s *statusBubble) { time.Sleep(30 * time.Second); s.end() }, 30 * time.Second, 30 * time.Second, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			statusInFakeTime(t, func(t *testing.T, s *statusBubble) {
				s.who.Store(&sse.Identity{UserID: "alice", Expires: time.Now().Add(90 * time.Second)})
				go test.do(s)
				took, got := s.watch(t.Context())
				if took < test.after || took > test.until || got.said != test.said {
					t.Errorf("ended after %v with %q, want %v to %v with %q", took, got.said, test.after, test.until, test.said)
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

func TestWatchersAreToldWhatTheyDoNotHave(t *testing.T) {
	ws, err := newWatchers(t.Context(), sse.Anonymous, nil)
	if err != nil {
		t.Fatal(err)
	}
	look := func(session string) *bus.Subscription {
		s := ws.bus.Subscribe([]string{statusScope}, bus.Options{Connection: &bus.Connection{SessionID: session}})
		t.Cleanup(s.Close)
		return s
	}
	want := func(s *bus.Subscription, want ...string) {
		t.Helper()
		for _, want := range append(want, "") {
			e, _ := s.TryNext()
			got := string(e.Data)
			if e.Op == bus.OpReset {
				got = "reset"
			}
			if got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
	}
	first := look("1")
	ws.tell(map[string]string{"a": "1", "b": "1"})
	want(first, `{"a":"1","b":"1"}`)
	ws.tell(map[string]string{"a": "1", "b": "2"})
	want(first, `{"b":"2"}`)
	ws.tell(map[string]string{"a": "1", "b": "2"})
	want(first)

	second := look("2")
	ws.tell(map[string]string{"a": "1", "b": "3"})
	want(second, `{"a":"1","b":"3"}`)
	ws.tell(map[string]string{"a": "2", "b": "3"}) // which the first has no room for
	want(second, `{"a":"2"}`)
	want(first, `{"a":"1","b":"3"}`, "reset")
	ws.tell(map[string]string{"a": "2", "b": "3"})
	want(first, `{"a":"2","b":"3"}`)
}
