package bus_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pgbell/pgbell/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newBus(t testing.TB, cfg bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// subscribe subscribes to scopes for as long as the test runs.
func subscribe(t testing.TB, b *bus.Bus, opts bus.Options, scopes ...string) *bus.Subscription {
	s := b.Subscribe(scopes, opts)
	t.Cleanup(s.Close)
	return s
}

// as are the options of a user's subscription.
func as(user string) bus.Options {
	return bus.Options{Connection: &bus.Connection{UserID: user, SessionID: "session of " + user}}
}

// drain takes what is there now. Emit is synchronous: no need to wait.
func drain(s *bus.Subscription) []bus.ChangeEvent {
	var got []bus.ChangeEvent
	for {
		e, ok := s.TryNext()
		if !ok {
			return got
		}
		got = append(got, e)
	}
}

// brief writes events as "scope/origin" and "reset scope": tests use origin as the
// name of an event.
func brief(events []bus.ChangeEvent) string {
	var words []string
	for _, e := range events {
		if e.Op == bus.OpReset {
			words = append(words, "reset "+e.Scope)
			continue
		}
		words = append(words, e.Scope+"/"+e.Origin)
	}
	return strings.Join(words, ", ")
}

func wantBrief(t testing.TB, s *bus.Subscription, want string) {
	t.Helper()
	if got := brief(drain(s)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// emit emits an event called name.
func emit(b *bus.Bus, scope, name string) {
	b.Emit(bus.ChangeEvent{Scope: scope, Op: bus.OpUpdate, Origin: name})
}

// pass lets d pass on the fake clock of a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

// logbook collects log records.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// take returns the records since the last take.
func (l *logbook) take(t testing.TB) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var records []map[string]any
	for line := range strings.Lines(l.buf.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	l.buf.Reset()
	return records
}

// together runs n goroutines that begin at once, and waits for them.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}
