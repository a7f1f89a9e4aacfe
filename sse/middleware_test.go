package sse

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/mux"
)

// wrapped hides all of a ResponseWriter but what http.ResponseController finds by
// Unwrap, as a well-made middleware does.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// opaque hides Flush for good.
type opaque struct{ http.ResponseWriter }

// flushOnly can flush, but knows no deadlines.
type flushOnly struct{ http.ResponseWriter }

func (w flushOnly) Flush() {}

func wrapWriter(wrap func(http.ResponseWriter) http.ResponseWriter) mux.MiddlewareFunc {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(wrap(w), r) })
	}
}

// warnings is a logger that passes on the messages of its warnings.
type warnings func(msg string)

func (f warnings) logger() *slog.Logger { return slog.New(warningHandler{f: f}) }

type warningHandler struct {
	slog.Handler
	f warnings
}

func (h warningHandler) Enabled(_ context.Context, l slog.Level) bool  { return l >= slog.LevelWarn }
func (h warningHandler) Handle(_ context.Context, r slog.Record) error { h.f(r.Message); return nil }
func (h warningHandler) WithAttrs([]slog.Attr) slog.Handler            { return h }

func TestFramesPassThroughMiddleware(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{wrap: func(h http.Handler) http.Handler {
			r := mux.NewRouter()
			through := wrapWriter(func(w http.ResponseWriter) http.ResponseWriter { return wrapped{w} })
			r.Use(through, through)
			h.(*Handler).Register(r)
			return through(r)
		}})
		c := w.open("scope=a")
		w.bus.Emit(change("a", 1))
		c.wantEvent(cursor(1), changeData("a"))
	})
}

func TestWriterThatCantStreamIsAProblem(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
			"no Flush":    func(w http.ResponseWriter) http.ResponseWriter { return opaque{w} },
			"no deadline": func(w http.ResponseWriter) http.ResponseWriter { return flushOnly{w} },
		} {
			logged := make(chan string, 1)
			w := overTCP(t, settings{
				wrap:   func(h http.Handler) http.Handler { return wrapWriter(wrap)(h) },
				Config: Config{Logger: warnings(func(msg string) { logged <- msg }).logger()},
			})
			resp := w.get("/events?scope=a")
			body := w.body(resp)
			if resp.StatusCode != http.StatusInternalServerError || resp.Header.Get("Content-Type") != "application/problem+json" ||
				resp.Header.Get("X-Accel-Buffering") != "" || !strings.Contains(body, ":cannot-stream") {
				t.Errorf("%s: got %s, %v, %s", name, resp.Status, resp.Header, body)
			}
			if msg := <-logged; !strings.Contains(msg, "http.ResponseController") {
				t.Errorf("%s: logged %q", name, msg)
			}
			if got := w.bus.Stats().Subscriptions; got != 0 {
				t.Errorf("%s: %d subscriptions left", name, got)
			}
		}
	})
}

func TestTimeoutsOfTheServerDoNotEndAStream(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{readTimeout: 5 * time.Second, writeTimeout: 5 * time.Second})
		c := w.open("scope=a")
		for range 3 {
			c.want(comment) // each after 15s
		}
		w.bus.Emit(change("a", 1))
		c.wantEvent(cursor(1), changeData("a"))
	})
}

func http2Only() *http.Protocols {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &p
}

func TestHTTP2StreamOutlivesTheWriteTimeout(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{protocols: http2Only()})
		c := w.open("scope=a")
		if c.resp.ProtoMajor != 2 {
			t.Fatalf("got %s", c.resp.Proto)
		}
		for range 3 {
			c.want(comment) // each after more than the 10s of a write
		}
		w.bus.Emit(change("a", 1))
		c.wantEvent(cursor(1), changeData("a"))
	})
}

func TestHTTP2ClientThatDoesNotReadIsCut(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{protocols: http2Only()})
		w.open("scope=a")
		reader := w.open("scope=a")
		e := change("a", 1)
		e.Origin = strings.Repeat("x", 100_000)
		for range 80 { // more than the window of the stream, 4 MB
			w.bus.Emit(e)
			reader.nextEvent()
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := w.h.Stats(); got.Cut != 1 || got.Streams != 1 {
			t.Errorf("got %+v, want one cut and one open", got)
		}
		w.bus.Emit(change("a", 1))
		reader.wantEvent(cursor(1), changeData("a"))
	})
}
