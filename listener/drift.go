package listener

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/journal"
)

// lookEvery is how often the catalog is asked whether attached tables are what they were.
// Postgres tells nobody of a table that was dropped, renamed, or given another column.
const lookEvery = 2 * time.Second

// look resets the scopes of feeds with which something is wrong: a table that was dropped
// or swapped tells nothing, nor does one whose triggers are gone. It does so once the
// catalog is another than at the last look, if need be over another connection, and when
// it is time to remind.
func (s *session) look(ctx context.Context, remind bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, errSilent)
	defer cancel()
	var home, mark string
	err := s.conn.QueryRow(ctx, "select home, mark from pgbell.catalog_mark()").Scan(&home, &mark)
	if lacks(err) {
		home, mark = s.home, s.mark // it is asked when it is time to remind, then
	} else if err != nil {
		return because(ctx, "look at the catalog", err)
	}
	if s.home != "" && home != s.home {
		return errAnother
	}
	changed := s.mark != "" && mark != s.mark
	s.home, s.mark = home, mark
	if !changed && !remind {
		return nil
	}
	if _, err := s.conn.Exec(ctx, "select pgbell.look_at_parts()"); err != nil && !lacks(err) {
		return because(ctx, "look at partitions", err)
	}
	feeds, regroup, err := journal.Amiss(ctx, s.conn)
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) {
		s.log.Warn("the feeds' state can't be read", "err", installed(err))
		return nil
	}
	if err != nil {
		return because(ctx, "read the feeds' state", err)
	}
	if regroup {
		s.bus.SetStale()
	}
	for table, templates := range feeds {
		s.reset(table, templates, "definition changed")
	}
	return nil
}

// errAnother ends a session whose schema was dropped and made again, by a restore, say.
var errAnother = errors.New("schema pgbell is another one")

// lacks says whether err is that the role has no right to what was asked.
func lacks(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "42501" // insufficient_privilege
}
