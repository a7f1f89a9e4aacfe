package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/triggers"
)

const (
	// feedsEvery is how often the feeds are looked at, feedsWatched how often while
	// somebody looks on.
	feedsEvery   = time.Minute
	feedsWatched = 5 * time.Second
)

// feedWatch knows the feeds and their state. It looks by a connection of its own,
// for a moment: the listener's is for the changes, and the state of a hundred feeds
// takes time.
type feedWatch struct {
	conf *pgx.ConnConfig
	log  *slog.Logger
	poke chan struct{} // a feed has come or gone, or somebody looks on

	anonymous bool // nobody has a name: to be said once, if rows have owners

	mu   sync.Mutex
	seen feedsSeen
}

// feedsSeen is what was found at one time.
type feedsSeen struct {
	at     time.Time // zero: not found out yet
	feeds  []triggers.Feed
	role   string    // the listener's, quoted, if it may not see their state
	oldest time.Time // the oldest change in the journal, by the database's clock; zero: none
}

func newFeedWatch(conf *pgx.ConnConfig, log *slog.Logger) *feedWatch {
	conf = conf.Copy()
	conf.RuntimeParams["application_name"] = "pgbell status" // doctor counts the listeners by theirs
	return &feedWatch{conf: conf, log: log, poke: make(chan struct{}, 1)}
}

// last returns what was found last. Its feeds are not to be changed.
func (f *feedWatch) last() feedsSeen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// count counts the feeds by their state: those that aren't ok are faulty, unless pgbell
// may not know.
func (s feedsSeen) count() (ok, faulty, unknown int) {
	for _, feed := range s.feeds {
		switch feed.State {
		case "ok":
			ok++
		case "":
			unknown++
		default:
			faulty++
		}
	}
	return ok, faulty, unknown
}

// look has run look at the feeds soon.
func (f *feedWatch) look() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// watched is look, unless run has looked a moment ago.
func (f *feedWatch) watched() {
	if time.Since(f.last().at) >= feedsWatched {
		f.look()
	}
}

// run looks until ctx is done.
func (f *feedWatch) run(ctx context.Context) {
	const least = time.Second // between two looks, whatever is asked for
	for ctx.Err() == nil {
		began := time.Now()
		seen, err := f.find(ctx)
		if err == nil {
			f.mu.Lock()
			f.seen = seen
			f.mu.Unlock()
			f.warnOfOwners(seen.feeds)
		} else if ctx.Err() == nil {
			f.log.Debug("the feeds were not looked at", "err", err) // the listener says it loud
		}
		pause(ctx, nil, max(least, 10*time.Since(began))) // the longer it takes, the less often
		pause(ctx, f.poke, feedsEvery-rand.N(feedsEvery/8))
	}
}

// warnOfOwners says, once, that rows have owners and nobody has a name.
func (f *feedWatch) warnOfOwners(feeds []triggers.Feed) {
	if tables := guarded(feeds); f.anonymous && len(tables) > 0 {
		f.anonymous = false
		f.log.Warn("rows of these tables have an audience, and with --auth none everybody is nobody: no stream hears of them", "tables", strings.Join(tables, ", "))
	}
}

// guarded are the tables whose rows some may hear of, and others not.
func guarded(feeds []triggers.Feed) (tables []string) {
	for _, f := range feeds {
		if len(f.Audience) > 0 {
			tables = append(tables, f.Table)
		}
	}
	return tables
}

// pause waits for poke, for d or for ctx.
func pause(ctx context.Context, poke <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-poke:
	case <-timer.C:
	}
}

// find looks once.
func (f *feedWatch) find(ctx context.Context) (feedsSeen, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, f.conf.Copy())
	if err != nil {
		return feedsSeen{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	seen := feedsSeen{at: time.Now()}
	seen.feeds, err = triggers.List(ctx, conn)
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == "42501" { // insufficient_privilege
		// What the listener does needs no right to their state.
		if seen.feeds, err = listWithoutState(ctx, conn); err == nil {
			err = conn.QueryRow(ctx, `select pg_catalog.quote_ident(current_user)`).Scan(&seen.role)
		}
	}
	if err != nil {
		return feedsSeen{}, err
	}
	// By the index: min(at) would read the whole journal.
	var oldest *time.Time
	err = conn.QueryRow(ctx, `select (select j.at from pgbell.journal j order by j.xid, j.lsn limit 1)`).Scan(&oldest)
	if oldest != nil {
		seen.oldest = *oldest
	}
	return seen, err
}

// listWithoutState returns the feeds with their state unknown.
func listWithoutState(ctx context.Context, conn *pgx.Conn) ([]triggers.Feed, error) {
	rows, err := conn.Query(ctx, `select table_name::pg_catalog.text, scopes, audience, not durable from pgbell.feeds order by 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f triggers.Feed, err error) {
		err = row.Scan(&f.Table, &f.Scopes, &f.Audience, &f.Volatile)
		return f, err
	})
}
