package listener

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/journal"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience is after how long without what must come a test gives up. It is no measure of speed.
const patience = 10 * time.Minute

// example has a durable feed, on tasks, and one that isn't, on notes.
var example = pgtest.Template{Make: setUp}

func setUp(ctx context.Context, url string) error {
	if err := pgtest.Migrate(ctx, url); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `
		create table tasks (id bigint primary key, project int not null default 1, n bigint not null default 0);
		select pgbell.attach('tasks', array['tasks', 'project:{project}', 'task:{id}'], payload => array['n']);
		create table notes (id bigint primary key, n bigint not null default 0, owner text);
		select pgbell.attach('notes', array['notes', 'note:{id}'], durable => false);
		create table fence (id bigint primary key);
		select pgbell.attach('fence', array['end'], durable => false)`)
	return err
}

// world is a running Listener with its bus, and what a test does to the database.
type world struct {
	t       testing.TB
	url     string
	conf    *pgx.ConnConfig
	bus     *bus.Bus
	l       *Listener
	log     *logs
	queries *queries
	db      *pgx.Conn
	stop    func() // ends the Listener and waits for it
}

// options change the world before its Listener runs.
type options struct {
	Config
	conf  func(*pgx.ConnConfig)
	query func(sql string) // called before each query of the Listener
	limit int              // of bytes held
	queue int
	apart bool // no connection of the test's own, no waiting for readiness
}

// start runs a Listener until the test ends.
func start(t testing.TB, url string, o options) *world {
	t.Helper()
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, url: url, conf: conf, log: newLogs(), queries: &queries{before: o.query}}
	conf.Tracer = w.queries
	if o.conf != nil {
		o.conf(conf)
	}
	if o.queue == 0 {
		o.queue = 1 << 20
	}
	if w.bus, err = bus.New(bus.Config{QueueSize: o.queue}); err != nil {
		t.Fatal(err)
	}
	o.Logger = slog.New(w.log)
	if w.l, err = New(conf, w.bus, o.Config); err != nil {
		t.Fatal(err)
	}
	if o.limit > 0 {
		w.l.limit, w.l.tail.Limit = o.limit, o.limit
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error)
	go func() { done <- w.l.Run(ctx) }()
	enough := errors.New("the test is over")
	w.stop = sync.OnceFunc(func() {
		cancel(enough)
		if err := <-done; !errors.Is(err, enough) {
			t.Errorf("Run returned %v", err)
		}
		if w.l.Ready() == nil {
			t.Error("ready after the end")
		}
	})
	t.Cleanup(w.stop)
	if !o.apart {
		w.db = connect(t, url)
		w.ready()
	}
	return w
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	execOn(w.t, w.db, sql, args...)
}

func execOn(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// ask returns the one value that sql gives.
func ask[T any](t testing.TB, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var answer T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

// await waits until ok holds.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late, tick := time.After(patience), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (w *world) ready() {
	w.t.Helper()
	await(w.t, "the listener is ready", func() bool { return w.l.Ready() == nil })
}

// notReady waits until Ready says why not, in words that have all of these among them.
func (w *world) notReady(words ...string) {
	w.t.Helper()
	var err error
	defer func() {
		if w.t.Failed() {
			w.t.Logf("Ready says: %v", err)
		}
	}()
	await(w.t, "not ready: "+strings.Join(words, ", "), func() bool {
		err = w.l.Ready()
		return err != nil && !slices.ContainsFunc(words, func(s string) bool { return !strings.Contains(err.Error(), s) })
	})
}

// cursor is pgbell.cursor() of now.
func (w *world) cursor() journal.Cursor {
	w.t.Helper()
	return parse(w.t, ask[string](w.t, w.db, "select pgbell.cursor()"))
}

func parse(t testing.TB, text string) journal.Cursor {
	t.Helper()
	c, err := journal.ParseCursor(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
