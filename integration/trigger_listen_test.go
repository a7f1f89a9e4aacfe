package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/listener"
)

// ear is a listener that runs as some role, with its bus.
type ear struct {
	d       *triggerDB
	l       *listener.Listener
	bus     *bus.Bus
	sub     *bus.Subscription
	log     *logText
	end     int
	queries queries
}

// queries counts what a listener asks.
type queries struct {
	mu  sync.Mutex
	all []string
}

func (q *queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, data.SQL)
	return ctx
}

func (q *queries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// count returns how many had text in them.
func (q *queries) count(text string) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, sql := range q.all {
		if strings.Contains(sql, text) {
			n++
		}
	}
	return n
}

// logText holds what was logged.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}
func (l *logText) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.String() }

// listen runs a listener as a role, the superuser if it is empty, until the test
// ends. Its subscription is a superuser's of these scopes.
func (d *triggerDB) listen(role string, cfg listener.Config, scopes ...string) *ear {
	d.Helper()
	conf, err := pgx.ParseConfig(d.url)
	if err != nil {
		d.Fatal(err)
	}
	if role != "" {
		conf.User, conf.Password = role, role
	}
	d.exec(`do $$ begin if to_regclass('public.fence') is null then
		create table public.fence (id int primary key); perform pgbell.attach('public.fence', array['end'], durable => false); end if; end $$`)
	e := &ear{d: d, log: new(logText)}
	conf.Tracer = &e.queries
	if e.bus, err = bus.New(bus.Config{QueueSize: 1 << 16}); err != nil {
		d.Fatal(err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if e.l, err = listener.New(conf, e.bus, cfg); err != nil {
		d.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.l.Run(ctx) }()
	d.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			d.Errorf("the listener ended: %v", err)
		}
	})
	e.sub = e.bus.Subscribe(append(scopes, "end"), bus.Options{})
	d.Cleanup(e.sub.Close)
	return e
}

// ready waits until the listener listens.
func (e *ear) ready() *ear {
	e.d.Helper()
	e.until("ready", func() bool { return e.l.Ready() == nil })
	return e
}

// unready waits until the listener says why it doesn't listen, in these words.
func (e *ear) unready(words ...string) {
	e.d.Helper()
	e.until("not ready: "+strings.Join(words, ", "), func() bool {
		err := e.l.Ready()
		return err != nil && containsAll(err.Error(), words)
	})
}

func (e *ear) until(what string, ok func() bool) {
	e.d.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !ok(); {
		if time.Now().After(deadline) {
			e.d.Fatalf("waited in vain: %s; it says %v, and logged\n%s", what, e.l.Ready(), e.log)
		}
		e.d.exec("select pg_sleep(0.005)")
	}
}

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// events returns what came since the last call. Durable feeds and others come by two
// ways, of which each has its end.
func (e *ear) events() (events []bus.ChangeEvent) {
	e.d.Helper()
	var ends []string
	finish := func() {
		e.end++
		e.d.exec(fmt.Sprintf(`select pgbell.publish('end', '%d')`, e.end), fmt.Sprintf(`insert into public.fence values (%d)`, e.end))
		ends = []string{fmt.Sprint(e.end), fmt.Sprintf(`{"id":%d}`, e.end)}
	}
	finish()
	ctx, cancel := context.WithTimeout(e.d.Context(), 10*time.Minute)
	defer cancel()
	for len(ends) > 0 {
		event, err := e.sub.Next(ctx)
		switch {
		case err != nil:
			e.d.Fatalf("no event: %v; it says %v, and logged\n%s", err, e.l.Ready(), e.log)
		case event.Scope != "end":
			events = append(events, event)
		case event.Op == bus.OpReset: // in place of the end: its feed was attached again just before
			finish()
		default:
			ends = slices.DeleteFunc(ends, func(end string) bool { return end == string(event.Data) || end == string(event.Key) })
		}
	}
	return events
}

// heard returns those as lines.
func (e *ear) heard() (all []string) {
	e.d.Helper()
	for _, event := range e.events() {
		text := line(event)
		if event.Reason != "" {
			text += " " + event.Reason
		}
		all = append(all, text)
	}
	return all
}

// hears fails the test unless statements give rise to just these events.
func (e *ear) hears(conn *pgx.Conn, statements string, want ...string) {
	e.d.Helper()
	e.d.execOn(conn, statements)
	e.d.same(e.heard(), want...)
}

// owned is a database where nobody who matters is a superuser: the owner of schema
// pgbell, one who owns a table and may act for that owner, a writer of the table, a
// role to listen with, and a role that may connect.
type owned struct {
	*triggerDB
	bell, app, clerk, ear, stranger string
}

// listenerGrants is what the manual says, for a role.
const listenerGrants = `select pgbell.grant_listener('%[1]s')`

func newOwned(t testing.TB, prepare ...string) owned {
	t.Helper()
	d := &triggerDB{TB: t, url: pgtest.Database(t)}
	d.writer, d.reader = d.connect(), d.connect()
	o := owned{d, d.role("bell"), d.role("app"), d.role("clerk"), d.role("ear"), d.role("stranger")}
	d.exec(fmt.Sprintf(`do $$ begin execute format('grant create on database %%I to %s', current_database()); end $$`, o.bell))
	for _, p := range prepare {
		d.exec(strings.NewReplacer("BELL", o.bell, "STRANGER", o.stranger).Replace(p))
	}
	conf := d.writer.Config()
	url := fmt.Sprintf("postgres://%s:%[1]s@%s:%d/%s", o.bell, conf.Host, conf.Port, conf.Database)
	if strings.HasPrefix(conf.Host, "/") {
		url = fmt.Sprintf("host=%s port=%d user=%s password=%[3]s dbname=%s", conf.Host, conf.Port, o.bell, conf.Database)
	}
	if err := pgtest.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	d.exec(
		fmt.Sprintf(`create schema app authorization %s; grant usage on schema app to public; grant %s to %[1]s`, o.app, o.bell),
		fmt.Sprintf(listenerGrants, o.ear))
	d.execOn(d.connectAs(o.app), `set search_path = app;
		create table t (id int primary key, p text, owner text);
		create table q (id int primary key, p text) partition by list (id); create table q1 partition of q default;
		create table v (id int primary key);
		select pgbell.attach('t', array['t', 'p:{p}'], payload => array['p']), pgbell.attach('q', array['q']),
			pgbell.attach('v', array['v', 'v:{id}'], durable => false);
		grant insert, update, delete on t, q, v to `+o.clerk)
	return o
}
