package listener

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/journal/scope"
)

// wait returns when a writer rang, if any was asked to, at the latest after most. For
// that it sets the connection's own deadline: a context that ends some hundred times a
// second, while polling, takes half as much again.
func (s *session) wait(ctx context.Context, most time.Duration) error {
	conn := s.conn.PgConn().Conn()
	if err := conn.SetReadDeadline(time.Now().Add(most)); err != nil {
		return fmt.Errorf("wait for a notification: %w", err)
	}
	if ctx.Err() != nil { // else its end comes behind that deadline, and ends it: see interrupt
		return ctx.Err()
	}
	until := context.Background()
	for {
		n, err := s.conn.WaitForNotification(until)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !s.conn.IsClosed() && (until == over || pgconn.Timeout(err)):
			return conn.SetReadDeadline(time.Time{})
		case err != nil:
			return fmt.Errorf("wait for a notification: %w", err)
		}
		if s.notified(n) && !s.armed.IsZero() {
			s.pace.rang = time.Now()
			until = over // from here on only those that came already
		}
	}
}

// over is a context that is done.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// interrupt has what waits on the connection end with ctx. The returned function undoes
// that.
func (s *session) interrupt(ctx context.Context) (undo func()) {
	conn := s.conn.PgConn().Conn()
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.SetReadDeadline(time.Unix(1, 0)) // fails once it is closed
	})
	return func() {
		if !stop() {
			<-done
		}
		_ = conn.SetReadDeadline(time.Time{}) // fails then, too
	}
}

// notified emits a notification that is all there is to know of a change, or keeps it
// where groups may hear of it: who is in which may have changed before, which the journal
// tells. Of that and of others it says whether they are a reason to read the journal.
func (s *session) notified(n *pgconn.Notification) (bell bool) {
	s.notifications.Add(1)
	note, err := journal.ParseNotification(n.Payload, &s.definitions)
	templates, known := s.volatile[note.Table]
	switch {
	case err != nil:
		s.ignored.Add(1)
		s.log.Debug("ignored a notification", "err", err, "pid", n.PID)
	case note.Hello != "":
	case !note.Volatile:
		return true
	case !known || note.Unknown:
		s.ignored.Add(1)
		s.missed = true
		if known { // it was attached again, which the journal is about to tell
			s.unknown = append(s.unknown, note.Table)
		}
	default:
		r := &note.Record
		within(r, templates)
		certain := s.volatileOrder.Certain(r)
		r.Tx = 0 // no replay holds it: a stream that joins one must not take it for something that it has
		if namesGroups(r) || len(s.kept) > 0 {
			s.kept = append(s.kept, r)
			if !certain {
				s.kept = append(s.kept, resetOf(r.Table, templates, journal.ReasonOrder))
			}
			return true
		}
		s.emit(r)
		if !certain {
			s.reset(r.Table, templates, journal.ReasonOrder)
		}
	}
	return false
}

// namesGroups says whether a group may hear of a change of r.
func namesGroups(r *journal.Record) bool {
	return slices.ContainsFunc(r.Changes, func(c journal.Change) bool {
		return len(c.Audience.Groups()) > 0 || c.Old != nil && len(c.Old.Audience.Groups()) > 0
	})
}

// within limits what a notification says to the scopes of its own feed: those of
// durable feeds are not for anybody to ring who may connect. Of a feed that was
// attached again just now it may take away too much, but for that the journal has
// a reset.
func within(r *journal.Record, templates []scope.Template) {
	feed := &journal.Reset{Templates: templates}
	if r.Reset != nil {
		feed.Reason = r.Reset.Reason
		r.Reset = feed
		return
	}
	foreign := func(scope string) bool { return !feed.Matches(scope) }
	for i := range r.Changes {
		c := &r.Changes[i]
		c.Scopes = slices.DeleteFunc(c.Scopes, foreign)
		c.Data = nil // travels only through the journal: this is forged
		if c.Old != nil {
			c.Old.Scopes = slices.DeleteFunc(c.Old.Scopes, foreign)
		}
	}
}

// loadFeeds finds out which feeds are not durable.
func (s *session) loadFeeds(ctx context.Context) error {
	ctx, _, stop := s.watch(ctx)
	defer stop()
	feeds, err := journal.Volatile(ctx, s.conn)
	if err == nil {
		err = s.definitions.Load(ctx, s.conn)
	}
	if err != nil {
		return because(ctx, "read the feeds", err)
	}
	before := s.volatile
	s.volatile = feeds
	s.mu.Lock()
	s.feeds = feeds
	s.mu.Unlock()
	if !s.missed {
		return nil
	}
	s.missed = false
	for table, templates := range feeds {
		if _, known := before[table]; !known || slices.Contains(s.unknown, table) {
			s.reset(table, templates, "attached or renamed") // it may be what was missed
		}
	}
	s.unknown = nil
	return nil
}

func (s *session) reset(table string, templates []scope.Template, reason string) {
	s.emit(resetOf(table, templates, reason))
}

func resetOf(table string, templates []scope.Template, reason string) *journal.Record {
	return &journal.Record{Table: table, Op: bus.OpReset, Reset: &journal.Reset{Templates: templates, Reason: reason}}
}

var errDeaf = errors.New("notifications do not arrive: a connection pooler such as PgBouncer or RDS Proxy " +
	"hands each transaction to another session: connect to Postgres directly, or to the pooler in session mode")

// errUnproven is for a pooler that leaves no room for the second connection.
var errUnproven = errors.New("can't find out whether notifications arrive: a connection pooler is in between, and the second connection " +
	"that would tell was refused: connect to Postgres directly, or allow this user one connection more")

// prove finds out whether notifications arrive at all: behind a pooler in
// transaction mode LISTEN succeeds, and then nothing ever comes. The proof comes
// from a second connection, while this one is idle: what it sends itself, a pooler
// may well pass on with the answer. Other notifications are thrown away, since
// nothing was promised of them yet.
func (s *session) prove(ctx context.Context) error {
	hello := rand.Text()
	if err := s.greet(ctx, hello); err != nil { // too many connections, or a full notification queue
		if direct, askErr := s.isDirect(ctx); !direct || askErr != nil {
			why := err.Error()
			if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) {
				why = pgErr.Message
			}
			return cmp.Or(askErr, fmt.Errorf("%w: %s", errUnproven, why)) // not that it can't connect
		}
		s.log.Warn("can't find out whether notifications arrive", "err", err)
		return nil
	}
	s.setProgress(progress(fmt.Sprintf("connected, waiting for its own notification to arrive (%v at most)", s.cfg.Timeout)))
	limited, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	heard, err := s.hears(limited, hello)
	if heard || s.conn.IsClosed() {
		return err
	}
	// Deaf, or does Postgres not answer at all?
	ping, stop := context.WithTimeout(ctx, s.cfg.Timeout)
	defer stop()
	if _, err := s.conn.Exec(ping, "select 1"); err != nil {
		return errSilent
	}
	if heard, _ = s.hears(limited, hello); heard { // it came with the answer
		return nil
	}
	return errDeaf
}

func (s *session) greet(ctx context.Context, hello string) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close(conn)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	_, err = conn.Exec(ctx, `select pg_catalog.pg_notify('pgbell', '{"v":1,"hello":"`+hello+`"}')`)
	return err
}

// isDirect says whether Postgres itself is at the other end of the connection, which
// then is heard: poolers make up the process id that they give to their clients.
func (s *session) isDirect(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, errSilent)
	defer cancel()
	var pid uint32
	if err := s.conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
		return false, because(ctx, "ask for the process id", err)
	}
	return pid == s.conn.PgConn().PID(), nil
}

func (s *session) hears(ctx context.Context, hello string) (bool, error) {
	for {
		n, err := s.conn.WaitForNotification(ctx)
		if err != nil {
			return false, fmt.Errorf("wait for a notification: %w", err)
		}
		if note, err := journal.ParseNotification(n.Payload, &s.definitions); err == nil && note.Hello == hello {
			return true, nil
		}
	}
}
