package leaks

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/sse"
)

// seams are the places where a mutant's part can be set in. The zero value sets in
// none.
type seams struct {
	servers      int                                // how many there are; 0 is one
	record       func(b *bus.Bus, r journal.Record) // sees what is to be emitted, and may alter its changes
	replay       func(sse.ReplayFunc) sse.ReplayFunc
	authenticate func(sse.AuthenticateFunc) sse.AuthenticateFunc
	authorize    sse.AuthorizeFunc
	groups       func(sse.GroupsFunc) sse.GroupsFunc
	regroup      func(user string) string // for whom pgbell.regroup is called; "" for nobody
	handler      func(http.Handler) http.Handler
	trigger      func(table, function string) string // each of a feed, after it was attached
}

// world is a database with its feeds, servers as cmd/pgbell wires them, clients, and
// the history that tells what they are due.
type world struct {
	t       rapid.TB
	db      *database
	seams   seams
	queue   int // of a subscription; 0 is pgbell's own
	tables  []*table
	rows    rows
	members []member
	teams   teams // of members
	held    *tx   // a transaction that is open on the second session
	history []*change
	clients []*client

	servers    []*server
	fast, slow *http.Client
	closed     bool
	wake       chan struct{}
	barriers   int
	cursors    []cursor // from pgbell.cursor()

	frames, events, resets, repeats, bytes int
	faults                                 []string
}

// cursor is one with how much of the history it covers.
type cursor struct {
	text string
	at   int
}

func (w *world) fault(format string, args ...any) {
	if len(w.faults) < 20 {
		w.faults = append(w.faults, fmt.Sprintf(format, args...))
	}
}

// mayAsk is the rule for scopes: the private ones are ann's.
func mayAsk(user, scope string) bool { return !strings.HasPrefix(scope, "private:") || user == "ann" }

func newWorld(t rapid.TB, db *database, queue int, seams seams) *world {
	w := &world{t: t, db: db, seams: seams, queue: queue, rows: rows{}, wake: make(chan struct{}, 1)}
	w.tables = []*table{
		{name: "docs", each: "doc", durable: true, audience: []string{"owner", "team:{project_id}", "team:{members}"}},
		{name: "notes", each: "note", durable: true},
		{name: "quick", each: "quick", audience: []string{"owner", "members", "team:{project_id}"}},
		{name: "parts", each: "part", durable: true, partitioned: true, audience: []string{"team:{members}", "owner"}},
	}
	for _, tb := range w.tables {
		w.exec("select pgbell.detach($1::text::regclass)", tb.name)
		w.exec("truncate " + tb.name)
		w.rows[tb.name] = map[string]*row{}
		w.attach(tb)
	}
	w.attachMembers()
	w.exec("truncate fence, pgbell.journal") // else each world takes longer to start
	w.history = nil                          // nobody listened
	w.fast, w.slow = &http.Client{Transport: new(http.Transport)}, &http.Client{Transport: slowly()}
	for range max(1, w.seams.servers) {
		w.servers = append(w.servers, w.start())
	}
	return w
}

// close ends all, also after a failure. The second time it does nothing.
func (w *world) close() {
	if w.closed {
		return
	}
	w.closed = true
	for _, c := range w.clients {
		c.disconnect()
	}
	if w.held != nil {
		w.held.rollback()
	}
	w.fast.CloseIdleConnections()
	w.slow.CloseIdleConnections()
	for _, s := range w.servers {
		s.stop()
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.db.writer.Exec(context.Background(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// attach attaches tb as it says. Who listens to its scopes is told.
func (w *world) attach(tb *table) {
	var payload []string
	if tb.durable {
		payload = []string{"secret"}
	}
	w.exec("select pgbell.attach($1::text::regclass, $2, audience => $3, payload => $4, durable => $5)",
		tb.name, tb.scopes(), tb.audience, payload, tb.durable)
	tb.attached = true
	w.history = append(w.history, &change{table: tb, reset: true})
	w.edit(tb.name)
}

func (w *world) detach(tb *table) {
	w.exec("select pgbell.detach($1::text::regclass)", tb.name)
	tb.attached = false
	w.history = append(w.history, &change{table: tb, reset: true})
}

func (w *world) woken() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// barrier returns once all that was committed has arrived at those who read. Nothing
// orders what comes by the journal and what comes by notifications alone: a number
// goes each way, and goes again where a reset took its place.
func (w *world) barrier() {
	w.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for again := true; ; {
		if again {
			w.barriers++
			w.exec("insert into fence values ($1)", w.barriers)
			w.exec("select pgbell.publish('sync', jsonb_build_object('n', $1::int))", w.barriers)
		}
		passed := true
		again = false
		for _, c := range w.clients {
			if c.cut() {
				c.disconnect()
			}
			if !c.reads() {
				continue
			}
			c.mu.Lock()
			passed = passed && c.fenced.sync >= w.barriers && c.fenced.fence >= w.barriers
			again = again || c.fenced.lost
			c.fenced.lost = false
			c.mu.Unlock()
		}
		if passed {
			return
		}
		if again {
			continue
		}
		select {
		case <-w.wake:
		case <-late.C:
			w.t.Fatalf("LOST: barrier %d did not arrive within %v: %s", w.barriers, patience, w.where())
		}
	}
}

// where says how far each client is.
func (w *world) where() string {
	var b strings.Builder
	for _, c := range w.clients {
		c.mu.Lock()
		fmt.Fprintf(&b, "%s reads %v, %+v, last %.300q; ", c.name, c.reads(), c.fenced, c.raw[max(0, len(c.raw)-300):])
		c.mu.Unlock()
	}
	return b.String()
}

// check checks all clients, after a barrier.
func (w *world) check() {
	w.barrier()
	for _, c := range w.clients {
		if c.conn == nil {
			continue
		}
		c.learn(0)
		if c.conn.stall {
			continue
		}
		c.check()
		c.lost()
		c.passed, c.touched = len(w.history), false
	}
	slices.Sort(w.faults)
}

// add adds up what was checked in w and o.
func (w *world) add(o *world) {
	w.frames += o.frames
	w.events += o.events
	w.resets += o.resets
	w.repeats += o.repeats
	for _, c := range o.clients {
		w.bytes += c.scanned
	}
}

func (w *world) String() string {
	return fmt.Sprintf("%d frames checked: %d events that were due, %d resets, %d repeats; %d bytes", w.frames, w.events, w.resets, w.repeats, w.bytes)
}
