package sse

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDrainEndsStreamsSpreadOverItsTime(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		const n = 40
		ends := make(chan time.Time, n)
		for range n {
			c := w.open("scope=a")
			go func() {
				defer func() { ends <- time.Now() }()
				for {
					if _, err := c.next(); err != nil {
						if !cut(err) {
							t.Error(err)
						}
						return
					}
				}
			}()
		}
		begin := time.Now()
		w.h.Drain(10 * time.Second)
		drained := time.Since(begin)
		if got := w.h.Stats().Streams; got != 0 {
			t.Errorf("%d streams after Drain", got)
		}
		perSecond := make(map[int]int)
		var last time.Duration
		for range n {
			after := (<-ends).Sub(begin)
			last = max(last, after)
			perSecond[int(after.Seconds())]++
		}
		if last > 10*time.Second || drained != last {
			t.Errorf("last stream ended after %v, Drain after %v, want both at once and within 10s", last, drained)
		}
		for second, ended := range perSecond {
			if ended > n/2 {
				t.Errorf("%d of %d streams ended in second %d", ended, n, second)
			}
		}
	})
}

func TestDrainTurnsReadinessOffAndSendsNewStreamsAway(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		asked := 0
		w := overPipe(t, settings{Config: Config{Authenticate: func(*http.Request) (Identity, error) {
			asked++
			return Identity{}, nil
		}}})
		c := w.open("scope=a")
		done := make(chan struct{})
		go func() { defer close(done); w.h.Drain(time.Hour) }()
		synctest.Wait()
		if resp := w.get("/readyz"); resp.StatusCode != 503 || w.body(resp) != "shutting down: no new streams are accepted\n" {
			t.Errorf("readyz: got %s", resp.Status)
		}
		if resp := w.get("/healthz"); resp.StatusCode != 200 {
			t.Errorf("healthz: got %s", resp.Status)
		}
		resp := w.get("/events?scope=a")
		read, err := io.ReadAll(resp.Body)
		if body := string(read); !cut(err) || resp.StatusCode != 200 || resp.Close || resp.Header.Get("Content-Type") != "text/event-stream" ||
			!regexp.MustCompile(`^retry: [2-4]\d{3}\n\n$`).MatchString(body) {
			t.Errorf("events: got %s, %v, %q, %v, want a stream that says when to come back, and is cut", resp.Status, resp.Header, body, err)
		}
		if asked != 1 {
			t.Errorf("asked %d times who it is, want once, for the open stream", asked)
		}
		// Those that are open go on until their time comes.
		w.bus.Emit(change("a", 1))
		c.wantEvent(cursor(1), changeData("a"))
		c.wantCut()
		<-done
	})
}

func TestDrainWritesTheQueueFirst(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		c := w.open("scope=a")
		w.bus.Emit(change("a", 0))
		synctest.Wait() // it is being written
		long := change("a", 1)
		long.Origin = strings.Repeat("x", maxBatch/10)
		for range 100 {
			w.bus.Emit(long)
		}
		go w.h.Drain(0)
		synctest.Wait()
		for range 101 {
			c.nextEvent()
		}
		c.wantCut()
	})
}

func TestDrainEndsStreamsThatWaitForReady(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{unready: true})
		c := w.dial("scope=a")
		c.want(retry)
		begin := time.Now()
		w.h.Drain(10 * time.Second)
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		c.wantCut()
	})
}

func TestDrainWaitsNoLongerThanAWriteTakes(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		w.open("scope=a") // and reads no more
		w.bus.Emit(change("a", 1))
		synctest.Wait()
		begin := time.Now()
		w.h.Drain(2 * time.Second)
		if took := time.Since(begin); took > 12*time.Second {
			t.Errorf("took %v, want at most 2s and the write timeout", took)
		}
		synctest.Wait()
		if got := w.h.Stats(); got.Streams != 0 || got.Cut != 1 {
			t.Errorf("got %+v, want the stuck stream cut", got)
		}
	})
}

func TestDrainWithoutStreamsReturnsAtOnceAndTwice(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		begin := time.Now()
		w.h.Drain(time.Hour)
		w.h.Drain(-time.Hour)
		if took := time.Since(begin); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

// A request that Authorize holds up is not a stream yet, and must not become one.
func TestStreamAdmittedWhileDrainingEndsAtOnce(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var w *world
		w = overPipe(t, settings{Config: Config{Authenticate: func(*http.Request) (Identity, error) {
			w.h.Drain(0)
			return Identity{}, nil
		}}})
		resp := w.get("/events?scope=a")
		if body, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.HasPrefix(string(body), "retry: ") || !cut(err) {
			t.Errorf("got %s, %q, %v, want a stream that says when to come back", resp.Status, body, err)
		}
		if got := w.h.Stats().Streams; got != 0 {
			t.Errorf("%d streams are open", got)
		}
	})
}

// The server ends a response by one more write.
func TestClientThatDoesNotReadDoesNotHoldUpShutdown(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		w.open("scope=a") // and reads no more
		w.h.Drain(0)
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := w.srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v, want the connection cut after the write timeout", err)
		}
	})
}

func TestDrainEndsAStreamWhoseQueueNeverEmpties(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{})
		c := w.open("scope=a")
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		emitted := make(chan struct{})
		defer func() { stop(); <-emitted }()
		go func() {
			defer close(emitted)
			e := change("a", 1)
			e.Origin = strings.Repeat("x", 1000)
			for ctx.Err() == nil {
				w.bus.Emit(e)
				time.Sleep(time.Millisecond)
			}
		}()
		var begin time.Time
		for n := 0; ; n++ {
			if n == 100 { // the reader is behind by now
				begin = time.Now()
				go w.h.Drain(0)
			}
			if _, err := c.next(); err != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("took %v, want about the write timeout", took)
		}
	})
}
