package listener

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// arm asks the writers to ring, or no longer to, as the pace has it.
func (s *session) arm(ctx context.Context) error {
	now, ring := time.Now(), s.pace.ring()
	s.setPolling(!ring)
	if ring == s.armed.After(now.Add(lease/3)) || !ring && s.armed.IsZero() {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, errSilent)
	defer cancel()
	fresh := !s.armed.After(now)
	if err := s.ask(ctx, ring); err != nil {
		if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == "55P03" { // lock_not_available: others are at it
			return nil
		}
		return because(ctx, "ask writers to ring", err)
	}
	s.armed = time.Time{}
	if ring {
		s.armed = now.Add(lease)
	}
	if !ring || !fresh {
		return nil
	}
	s.pace.rang = time.Now() // or one may have for others, just before
	// A writer of before was not asked to: all of those have a lower id than this,
	// which is given out later.
	var fence string
	if err := s.conn.QueryRow(ctx, "select pg_catalog.pg_current_xact_id()::pg_catalog.text").Scan(&fence); err != nil {
		return because(ctx, "ask writers to ring", err)
	}
	var err error
	s.pace.fence, err = strconv.ParseUint(fence, 10, 64)
	return err
}

func (s *session) ask(ctx context.Context, ring bool) error {
	patience := time.Duration(0)
	if ring {
		patience = lease
	}
	_, err := s.conn.Exec(ctx, "select pgbell.arm($1, $2)", s.name, patience)
	return err
}

// disarm says goodbye, so that nobody rings in vain.
func (s *session) disarm() {
	if s.armed.IsZero() || s.conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.ask(ctx, false); err != nil {
		s.log.Debug("writers ring until the lease is over", "err", err)
	}
}

func (l *Listener) setPolling(polling bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.polling = polling
}
