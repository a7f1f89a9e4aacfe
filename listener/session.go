package listener

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// session is the life of one connection. It calls healthy once it has caught up,
// and always returns an error.
func (l *Listener) session(ctx context.Context, healthy func()) error {
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer l.close(conn)
	s := &session{Listener: l, conn: conn, reader: journal.Reader{DB: conn, Definitions: &l.definitions}, pace: pace{never: l.cfg.Poll}}
	if err := s.begin(ctx); err != nil {
		return err
	}
	l.connections.Add(1)
	every := min(time.Minute, max(l.cfg.Retention/10, time.Millisecond))
	load := time.Now()
	rotate, remind, look := load.Add(rand.N(every)), load.Add(every), load
	if err := s.measure(ctx); err != nil {
		return err
	}
	defer s.disarm()
	defer s.interrupt(ctx)()
	for {
		began, transactions, delivered := time.Now(), s.transactions, s.bus.Stats().Delivered
		if err := s.catchUp(ctx); err != nil {
			return err
		}
		s.readings.Add(1)
		s.emit(s.kept...)
		s.kept = emptied(s.kept)
		s.pace.read(time.Now(), s.transactions-transactions, s.bus.Stats().Delivered > delivered, s.cursor, time.Since(began))
		if err := s.arm(ctx); err != nil {
			return err
		}
		if now := time.Now(); now.After(look) {
			if err := s.look(ctx, now.After(remind)); err != nil {
				return err
			}
			if now.After(remind) {
				remind = now.Add(every)
			}
			took := time.Since(now)
			look = now.Add(max(lookEvery, 100*took)) // with very many partitions it takes a while
		}
		if before := l.setReady(nil); before != nil {
			healthy()
			l.log.Info("listening", "database", l.conf.Database, "cursor", l.cursor.String())
		}
		// Forged ones would have it read all the time.
		if s.missed && time.Since(load) >= l.cfg.Tick {
			if err := s.loadFeeds(ctx); err != nil {
				return err
			}
			load = time.Now()
		}
		if time.Now().After(rotate) {
			if err := errors.Join(s.rotate(ctx), s.measure(ctx)); err != nil {
				return err
			}
			rotate = time.Now().Add(rand.N(every))
		}
		if err := s.wait(ctx, s.pace.wait(s.cfg.Tick)); err != nil {
			return err
		}
	}
}

func (l *Listener) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, l.conf.Copy())
	if err != nil {
		return nil, err // says "failed to connect to ..." itself
	}
	if _, err = conn.Exec(ctx, settings); err != nil {
		l.close(conn)
		return nil, err
	}
	return conn, nil
}

// settings are those of each connection. The planner knows nothing of the newest
// rows, which are all that we read: it would start processes for the many that it
// expects. What we write is of no use after a crash, so that
// nothing has to wait for the disk. Our own deadlines hold while nothing comes; a
// limit for a whole statement would cut a long catching-up, again and again. Postgres is to
// convert nothing that it sends, since anybody may send a notification for which that fails,
// which ends the connection: what the journal has comes in UTF8 by pgbell.utf8.
const settings = `
set application_name = 'pgbell';
set client_encoding = 'SQL_ASCII';
set default_transaction_isolation = 'read committed';
set default_transaction_read_only = off;
set synchronous_commit = off;
set enable_seqscan = off;
set enable_bitmapscan = off;
set max_parallel_workers_per_gather = 0;
set jit = off;
set plan_cache_mode = force_generic_plan;
set statement_timeout = 0`

// close says goodbye to Postgres, but doesn't wait long for an answer.
func (l *Listener) close(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := conn.Close(ctx); err != nil {
		l.log.Debug("closing a connection", "err", err)
	}
}

type session struct {
	*Listener
	conn          *pgx.Conn
	reader        journal.Reader // of conn
	missed        bool           // something of a feed that wasn't known
	unknown       []string       // tables of feeds of which something came that could not be read yet
	volatileOrder journal.Sequence
	kept          []*journal.Record // of feeds that aren't durable, until the journal is read
	transactions  int               // read from the journal
	pace          pace
	armed         time.Time // until when writers were asked to ring; zero: not
	home          string    // the schema's, at the first look; empty: none yet

	batch  []*journal.Record // empty, as events: room for what is read and emitted next
	events []bus.ChangeEvent
}

// begin starts to listen, and finds out what happened to the feeds that aren't
// durable meanwhile: nobody knows, so that their scopes get a reset.
func (s *session) begin(ctx context.Context) error {
	if err := s.listen(ctx); err != nil {
		return err
	}
	if err := s.prove(ctx); err != nil {
		return err
	}
	s.setProgress("connected, reading the journal")
	before := maps.Clone(s.volatile)
	if err := s.loadFeeds(ctx); err != nil {
		return err
	}
	if s.cursor.IsZero() {
		return nil
	}
	for table, templates := range s.volatile {
		before[table] = slices.Concat(before[table], templates)
	}
	for table, templates := range before {
		s.reset(table, templates, "the connection to the database was down")
	}
	return nil
}

func (s *session) listen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	// Committed before the first reading of the journal: what that doesn't see yet
	// rings afterwards.
	_, err := s.conn.Exec(ctx, "listen pgbell")
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == "25006" { // read_only_sql_transaction
		return fmt.Errorf("this server is a standby, where nobody can listen: connect to the primary: %w", err)
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := s.definitions.Load(ctx, s.conn); err != nil {
		return fmt.Errorf("read the definitions of feeds: %w", installed(err))
	}
	// Postgres emptied the table if it crashed.
	if _, err = s.conn.Exec(ctx, "select pgbell.mark_incarnation()"); err != nil {
		return fmt.Errorf("mark the incarnation: %w", installed(err))
	}
	return nil
}

// rotate takes the journal's rotation one step further, if one is due. Another
// listener may be at it, and a role that may not is no reason to stop.
func (s *session) rotate(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, errSilent)
	defer cancel()
	var step string
	err := s.conn.QueryRow(ctx, "select pgbell.rotate($1)", s.cfg.Retention).Scan(&step)
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) {
		if pgErr.Code != "55P03" { // lock_not_available: a reader was in the way
			s.log.Warn("the journal was not rotated", "err", installed(err))
		}
		return nil
	}
	if err != nil {
		return because(ctx, "rotate the journal", err)
	}
	s.log.Debug("rotation", "step", step)
	return nil
}

// measure notes how full the server's notification queue is, and how large the
// journal.
func (s *session) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, errSilent)
	defer cancel()
	var (
		usage float64
		bytes int64
	)
	if err := s.conn.QueryRow(ctx, `select pg_catalog.pg_notification_queue_usage(), (select pg_catalog.sum(pg_catalog.pg_total_relation_size(t.t))::pg_catalog.int8
		from pg_catalog.unnest('{pgbell.journal_0,pgbell.journal_1}'::pg_catalog.regclass[]) t (t))`).Scan(&usage, &bytes); err != nil {
		return because(ctx, "measure the journal", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queueUsage, s.journalBytes = usage, bytes
	return nil
}

var errSilent = errors.New("no answer from Postgres")

// watch returns a context that is done when alive wasn't called for the timeout.
func (l *Listener) watch(ctx context.Context) (watched context.Context, alive, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(l.cfg.Timeout, func() { cancel(errSilent) })
	return watched, func() { timer.Reset(l.cfg.Timeout) }, func() {
		timer.Stop()
		cancel(nil)
	}
}

// because prefers the reason for which a step was cut to what that looked like.
func because(ctx context.Context, step string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("%s: %w", step, installed(err))
}

// installed says what to do where the error is that pgbell's schema is missing, or
// a right to it.
func installed(err error) error {
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) {
		switch pgErr.Code {
		case "3F000", "42P01", "42883", "42703": // no such schema, table, function, column
			return fmt.Errorf("schema pgbell is missing or of another version: run pgbell migrate: %w", err)
		case "42501": // insufficient_privilege
			return fmt.Errorf("%w: select pgbell.grant_listener('role'), for the role that pgbell connects as", err)
		}
	}
	return err
}
