package listener

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/journal/scope"
)

// Config tunes a Listener. The zero value is ready to use.
type Config struct {
	// Tick is how often the journal is read where no notification comes; 0 means 1s.
	// Each reading also proves the connection alive.
	Tick time.Duration

	// Timeout is how long Postgres may take to answer before the connection is given
	// up; 0 means 10s.
	Timeout time.Duration

	// Retention is how long the journal keeps a change at least; 0 means 1h. Several
	// listeners of one database should agree on it.
	Retention time.Duration

	// Poll says never to ask writers to ring: the journal is read every few
	// milliseconds, up to 50 while nothing comes. Where all listeners of a database do,
	// two-phase commit works, which Postgres refuses to a transaction that notified.
	// Feeds that aren't durable ring all the same.
	Poll bool

	// OnRecord, if set, is called for each record before its events are emitted, by
	// the goroutine of Run. It must not block.
	OnRecord func(journal.Record)

	Logger *slog.Logger // nil discards
}

// Listener reads the changes of one database and emits them on a bus. All methods
// may be called from any goroutine, Run once.
type Listener struct {
	conf  *pgx.ConnConfig
	bus   *bus.Bus
	cfg   Config
	log   *slog.Logger
	tail  journal.Tail
	name  string // tells one listener from another
	limit int    // bytes of records that are held at once, the tail's apart

	// Of Run's goroutine alone.
	cursor   journal.Cursor // all that it covers was emitted; zero until the first reading
	mark     string         // the last answer of pgbell.catalog_mark; empty: none yet
	volatile map[string][]scope.Template

	definitions journal.Definitions

	mu           sync.Mutex
	notReady     error     // nil: connected and caught up
	caughtUp     time.Time // when it last was
	since        time.Time // when notReady last became nil, or ceased to be; zero: it never was
	queueUsage   float64
	polling      bool
	journalBytes int64
	feeds        map[string][]scope.Template // = volatile, for Replay; nil before the first reading

	replaying chan struct{} // holds a token while a replay has a connection: one at a time

	connections, readings, records, notifications, ignored atomic.Uint64
}

// Stats are a Listener's counters since it was made.
type Stats struct {
	Connected     bool      // and caught up
	Since         time.Time // when it came to be so, or ceased to be; zero: it never was
	CaughtUp      time.Time // when all that was committed had been emitted for the last time; zero: never
	Connections   uint64    // how often it connected
	Polling       bool      // it is busy, or told to: it reads every few milliseconds and asks no writer to ring
	Readings      uint64    // of the journal
	Records       uint64    // read from the journal, or received from feeds that aren't durable
	Notifications uint64
	Ignored       uint64 // notifications that were malformed or of a feed that isn't known

	// As of the last look, at most a minute ago while connected.
	QueueUsage   float64 // of the server's notification queue, 0 to 1
	JournalBytes int64   // on disk, with indexes
}

// progress is why a listener that has just started isn't ready yet.
type progress string

func (p progress) Error() string { return string(p) }

// New returns a Listener that emits the changes of conf's database on b. It does
// no I/O. conf is copied.
func New(conf *pgx.ConnConfig, b *bus.Bus, cfg Config) (*Listener, error) {
	if conf == nil || b == nil {
		return nil, errors.New("listener: no connection settings or no bus")
	}
	for name, d := range map[string]*time.Duration{"tick": &cfg.Tick, "timeout": &cfg.Timeout, "retention": &cfg.Retention} {
		if *d < 0 {
			return nil, fmt.Errorf("listener: %s is %v: must not be negative", name, *d)
		}
	}
	setDefault(&cfg.Tick, time.Second)
	setDefault(&cfg.Timeout, 10*time.Second)
	setDefault(&cfg.Retention, time.Hour)
	conf = conf.Copy()
	conf.OnNotification = nil // else pgx doesn't keep them for WaitForNotification
	l := &Listener{
		conf: conf, bus: b, cfg: cfg, log: cfg.Logger, limit: journal.MaxTail,
		name: rand.Text(), notReady: progress("not connected yet"), replaying: make(chan struct{}, 1),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Run listens until ctx is done, then returns its cause. A lost connection is
// made again, with a growing and jittered pause of at most 5 s; it never gives up.
func (l *Listener) Run(ctx context.Context) error {
	const first, longest = 100 * time.Millisecond, 5 * time.Second
	pause := first
	var last string
	for {
		err := l.session(ctx, func() { pause, last = first, "" })
		if ctx.Err() != nil {
			l.setReady(errors.New("shutting down"))
			return context.Cause(ctx)
		}
		l.setReady(err)
		if trouble := withoutNumbers(err.Error()); trouble != last {
			l.log.Warn("not connected, retrying", "err", err)
			last = trouble
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + mathrand.N(pause/2)):
		}
		pause = min(2*pause, longest)
	}
}

// withoutNumbers makes the same trouble the same text: ports differ each time.
func withoutNumbers(text string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, text)
}

// Ready returns nil while the listener is connected and caught up, else why not.
func (l *Listener) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.notReady != nil {
		return l.notReady
	}
	// Not before the connection is given up: that says more.
	if late := time.Since(l.caughtUp); late > l.cfg.Tick+l.cfg.Timeout+l.cfg.Timeout/4 {
		return fmt.Errorf("not caught up: %v since the journal was last read to its end", late.Round(time.Second))
	}
	return nil
}

// setProgress has Ready say how far the first connection is. Once one has failed, why
// it did says more.
func (l *Listener) setProgress(p progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.notReady.(progress); ok {
		l.notReady = p
	}
}

// lastCaughtUp returns when all that was committed had been emitted for the last time.
func (l *Listener) lastCaughtUp() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.caughtUp
}

// setReady sets what Ready returns, and returns what it was.
func (l *Listener) setReady(err error) (before error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.caughtUp = time.Now()
	}
	if (err == nil) != (l.notReady == nil) {
		l.since = time.Now()
	}
	before, l.notReady = l.notReady, err
	return before
}

// Stats returns the counters as they are now.
func (l *Listener) Stats() Stats {
	l.mu.Lock()
	usage, bytes, since, caughtUp, polling := l.queueUsage, l.journalBytes, l.since, l.caughtUp, l.polling
	l.mu.Unlock()
	return Stats{
		Since:         since,
		CaughtUp:      caughtUp,
		QueueUsage:    usage,
		JournalBytes:  bytes,
		Connected:     l.Ready() == nil,
		Connections:   l.connections.Load(),
		Polling:       polling,
		Readings:      l.readings.Load(),
		Records:       l.records.Load(),
		Notifications: l.notifications.Load(),
		Ignored:       l.ignored.Load(),
	}
}
