package pglive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/sse"
)

// Config tunes an Engine. But for Role, zero means the default.
type Config struct {
	// Role is whom the queries run as; the role that conf logs in as must be a member of it.
	Role string

	MaxConns  int           // connections that run queries; 2
	Timeout   time.Duration // of one statement: statement_timeout; 5s
	Staleness time.Duration // how late a result may be at most while changes don't end, its run not counted; 1s

	MaxRows  int // of a result; 1000
	MaxBytes int // of a result, as JSON; 1 MiB
	Max      int // results that are kept fresh at once; 10,000

	Logger *slog.Logger // nil discards
}

// Engine keeps results fresh while Run does. All methods are safe for concurrent use.
type Engine struct {
	bus  *bus.Bus
	cfg  Config
	log  *slog.Logger
	runs *pgxpool.Pool // as cfg.Role
	look *pgxpool.Pool // as who conf logs in as

	mu      sync.Mutex
	queries map[string]*query // by name
	broken  map[string]string // why others can't be kept fresh, by name
	mark    string            // of the catalog when they were read
	looks   looks
	entries map[string]*entry
	waiting map[*entry]struct{} // to be run at their due time
	paces   map[string]*pace    // by query
	stats   Stats

	kick   chan struct{} // something waits that may be due sooner
	worker chan struct{} // holds a place for each statement that runs
}

// Stats are counts of an Engine since it was made, and its present size.
type Stats struct {
	Queries    int    // that are kept fresh
	Results    int    // that are kept, of a query, arguments and a user each
	Pending    int    // of these, which something happened to, and somebody wants
	Statements uint64 // that ran queries
	Runs       uint64 // of one query for one user
	Changed    uint64 // runs that had another result
	Failed     uint64 // runs that had none
}

// New returns an Engine for the events of b. It does no I/O. conf is copied. The caller must
// Run it, or Close it.
func New(conf *pgx.ConnConfig, b *bus.Bus, cfg Config) (*Engine, error) {
	if cfg.Role == "" {
		return nil, errors.New("live queries need a role to run as")
	}
	if cfg.MaxConns < 0 || cfg.Timeout < 0 || cfg.Staleness < 0 || cfg.MaxRows < 0 || cfg.MaxBytes < 0 || cfg.Max < 0 {
		return nil, errors.New("settings must not be negative")
	}
	fill(&cfg.MaxConns, 2)
	fill(&cfg.Timeout, 5*time.Second)
	fill(&cfg.Staleness, time.Second)
	fill(&cfg.MaxRows, 1000)
	fill(&cfg.MaxBytes, 1<<20)
	fill(&cfg.Max, 10_000)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		bus: b, cfg: cfg, log: cfg.Logger,
		queries: map[string]*query{}, broken: map[string]string{}, entries: map[string]*entry{}, paces: map[string]*pace{}, waiting: map[*entry]struct{}{},
		looks: looks{ask: make(chan struct{}, 1), done: make(chan struct{})}, kick: make(chan struct{}, 1), worker: make(chan struct{}, cfg.MaxConns),
	}
	var err error
	if e.look, err = pool(conf, "pgbell live", 1, nil); err != nil {
		return nil, err
	}
	e.runs, err = pool(conf, "pgbell live query", cfg.MaxConns, map[string]string{
		"role":                          cfg.Role,
		"default_transaction_read_only": "on",
		"statement_timeout":             fmt.Sprint(cfg.Timeout.Milliseconds()),
		"jit":                           "off", // it takes longer than the queries that are fit to run so often
	})
	if err != nil {
		e.look.Close()
		return nil, err
	}
	return e, nil
}

func fill[T int | time.Duration](value *T, or T) {
	if *value == 0 {
		*value = or
	}
}

// pool connects when first asked.
func pool(conf *pgx.ConnConfig, name string, conns int, params map[string]string) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(conf.ConnString())
	if err != nil {
		return nil, err
	}
	pc.ConnConfig = conf.Copy()
	maps.Copy(pc.ConnConfig.RuntimeParams, params)
	pc.ConnConfig.RuntimeParams["application_name"] = name
	pc.MaxConns, pc.MinConns = int32(conns), 0
	return pgxpool.NewWithConfig(context.Background(), pc)
}

// Check finds out whether queries can run as Config.Role. An error that wraps ErrRole says that
// they can't, any other that the database was not reached.
func (e *Engine) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	err := e.runs.Ping(ctx)
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && (pgErr.Code == "22023" || pgErr.Code == "42501") {
		return fmt.Errorf("%w: %s", ErrRole, pgErr.Message)
	}
	return err
}

// ErrRole is wrapped by errors that say what is wrong with Config.Role.
var ErrRole = errors.New("role of live queries")

// Close closes the connections. It is for an Engine that is not Run.
func (e *Engine) Close() {
	e.look.Close()
	e.runs.Close()
}

// Run keeps results fresh until ctx is done, and closes the connections. It is to be called
// once.
func (e *Engine) Run(ctx context.Context) error {
	defer e.Close()
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return e.watchCatalog(ctx) })
	work.Go(func() error { return e.dispatch(ctx) })
	return work.Wait()
}

// Stats returns the present counts.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Queries, s.Results = len(e.queries), len(e.entries)
	for _, en := range e.entries {
		if en.state.Pending && en.idle.IsZero() {
			s.Pending++
		}
	}
	return s
}

// Fault is what is wrong with a live query.
type Fault struct {
	Name, Words string
	Slow        bool // it is kept fresh all the same
}

// Faults returns what is wrong with live queries, by name.
func (e *Engine) Faults() []Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []Fault
	for name, why := range e.broken {
		all = append(all, Fault{Name: name, Words: why})
	}
	for name, q := range e.queries {
		if p := e.pace(q); p.took > slow {
			all = append(all, Fault{name, slowWords(p.took), true})
		}
	}
	slices.SortFunc(all, func(a, b Fault) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// signal wakes who waits at c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

var _ sse.LiveQueries = (*Engine)(nil)
