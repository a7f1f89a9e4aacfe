// Package pgauth has SQL functions say who may subscribe to what, and who is in which group.
package pgauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"

	"github.com/pgbell/pgbell/sse"
)

// Config tunes an Authorizer. The zero value is ready to use.
type Config struct {
	MaxConns int           // connections to the database; 0 means 4
	Timeout  time.Duration // of one question, with the wait for a connection; 0 means 5s
	CacheFor time.Duration // how long an answer of Authorize is good for the same question; 0 means 3s

	Groups string // the function that Groups asks, (user_id text) returns text[]; named as in SQL
}

// Authorizer asks functions of the database: (user_id text, scope text) returns boolean
// for Authorize, Config.Groups for Groups. Where more is asked than connections can
// answer, users take turns, and networks of the anonymous; none has all connections, and
// live streams come first. An anonymous user's id is null there; null for an answer is no,
// or no groups. All methods are safe for concurrent use.
type Authorizer struct {
	allows callee // "": there is none
	groups callee // as well
	cfg    Config
	pool   *pgxpool.Pool
	turns  *turns
	cache  cache
	asking singleflight.Group
}

// callee is a function that is asked.
type callee struct {
	name    string                 // as it was given
	types   string                 // of its arguments
	args    string                 // as the query gives them
	params  string                 // in words
	returns string                 // type
	call    atomic.Pointer[string] // the query; nil until the function was found
}

// New returns an Authorizer for a function named as in SQL, without its arguments, which
// may be empty if there is Config.Groups. It does no I/O. conf is copied. The caller must
// Close it.
func New(conf *pgx.ConnConfig, name string, cfg Config) (*Authorizer, error) {
	if name == "" && cfg.Groups == "" {
		return nil, errors.New("no function is named")
	}
	if cfg.MaxConns < 0 || cfg.Timeout < 0 || cfg.CacheFor < 0 {
		return nil, errors.New("settings must not be negative")
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 4
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.CacheFor == 0 {
		cfg.CacheFor = 3 * time.Second
	}
	pc, err := pgxpool.ParseConfig(conf.ConnString())
	if err != nil {
		return nil, err
	}
	pc.ConnConfig = conf.Copy()
	pc.ConnConfig.RuntimeParams["application_name"] = "pgbell authorize"
	pc.MaxConns, pc.MinConns = int32(cfg.MaxConns), 0
	pool, err := pgxpool.NewWithConfig(context.Background(), pc) // connects when first asked
	if err != nil {
		return nil, err
	}
	return &Authorizer{
		allows: callee{
			name: name, types: "pg_catalog.text,pg_catalog.text", args: "$1::pg_catalog.text, $2::pg_catalog.text",
			params: "user_id text, scope text", returns: "pg_catalog.bool",
		},
		groups: callee{name: cfg.Groups, types: "pg_catalog.text", args: "$1::pg_catalog.text", params: "user_id text", returns: "pg_catalog.text[]"},
		cfg:    cfg, pool: pool, turns: newTurns(cfg.MaxConns), cache: cache{answers: map[question]answer{}},
	}, nil
}

// Close ends the connections, once the questions under way are answered.
func (a *Authorizer) Close() { a.pool.Close() }

// ErrFunction is wrapped by errors that say what is wrong with the function.
var ErrFunction = errors.New("function")

// Check finds out whether the functions are there, and fit. An error that doesn't wrap
// ErrFunction says that the database was not reached.
func (a *Authorizer) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	for _, f := range []*callee{&a.allows, &a.groups} {
		if f.name == "" {
			continue
		}
		if _, err := a.query(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// Authorize is a [sse.AuthorizeFunc]. An answer may be as old as Config.CacheFor.
func (a *Authorizer) Authorize(ctx context.Context, id sse.Identity, scope string) (bool, error) {
	q := question{id.UserID, scope}
	ok, known, epoch := a.cache.get(q)
	if known {
		return ok, nil
	}
	// Who asks the same at the same time gets the same answer, unless somebody was
	// forgotten in between. The first to ask may leave before it's there.
	asked := a.asking.DoChan(fmt.Sprintf("%d %q %q", epoch, q.user, q.scope), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Timeout)
		defer cancel()
		done, err := a.turns.take(ctx, q.user, sse.AskerOf(ctx))
		if err != nil {
			return false, fmt.Errorf("ask %s: too many questions: %w", a.allows.name, err)
		}
		defer done()
		until := time.Now().Add(a.cfg.CacheFor)
		ok, err := a.ask(ctx, q)
		if err == nil {
			a.cache.put(q, answer{ok, until}, epoch)
		}
		return ok, err
	})
	select {
	case r := <-asked:
		return r.Err == nil && r.Val.(bool), r.Err
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// Forget makes the next question about a user go to the database, and what is being
// asked now be asked again. To be called for who was disconnected.
func (a *Authorizer) Forget(userID string) { a.cache.forget(userID) }

// ask asks the database.
func (a *Authorizer) ask(ctx context.Context, q question) (bool, error) {
	var user *string // null if anonymous: an empty text might be somebody's
	if q.user != "" {
		user = &q.user
	}
	var ok *bool
	err := a.scan(ctx, &a.allows, &ok, user, q.scope)
	return err == nil && ok != nil && *ok, err
}

// Groups is a [sse.GroupsFunc]. No answer of it is kept.
func (a *Authorizer) Groups(ctx context.Context, id sse.Identity) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	done, err := a.turns.take(ctx, id.UserID, sse.AskerOf(ctx))
	if err != nil {
		return nil, fmt.Errorf("ask %s: too many questions: %w", a.groups.name, err)
	}
	defer done()
	var names pgtype.FlatArray[*string]
	if err := a.scan(ctx, &a.groups, &names, id.UserID); err != nil {
		return nil, err
	}
	groups := make([]string, 0, len(names))
	for _, name := range names {
		if name != nil {
			groups = append(groups, *name)
		}
	}
	return groups, nil
}

// scan asks a function, and puts its answer into to.
func (a *Authorizer) scan(ctx context.Context, f *callee, to any, args ...any) error {
	sql, err := a.query(ctx, f)
	if err != nil {
		return err
	}
	if err := a.pool.QueryRow(ctx, sql, args...).Scan(to); err != nil {
		if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) {
			f.call.Store(nil) // it may be another one by now
		}
		return fmt.Errorf("ask %s: %w", f.name, err)
	}
	return nil
}

// findSQL looks the function up by the connection's path of names, as whoever named it
// meant it, and gives the call by its schema. All else it names by the schema itself.
const findSQL = `
select pg_catalog.format('select %I.%I(%s)', n.nspname, p.proname, $4::pg_catalog.text),
	p.prorettype operator(pg_catalog.=) $3::pg_catalog.text::pg_catalog.regtype and not p.proretset and p.prokind operator(pg_catalog.=) 'f',
	pg_catalog.has_function_privilege(p.oid, 'execute') and pg_catalog.has_schema_privilege(n.oid, 'usage')
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) p.pronamespace
where p.oid operator(pg_catalog.=) pg_catalog.to_regprocedure(pg_catalog.concat($1::pg_catalog.text, '(', $2::pg_catalog.text, ')'))`

// query returns the query that asks f, once it is found.
func (a *Authorizer) query(ctx context.Context, f *callee) (string, error) {
	if call := f.call.Load(); call != nil {
		return *call, nil
	}
	var (
		call         string
		fit, allowed bool
	)
	err := a.pool.QueryRow(ctx, findSQL, f.name, f.types, f.returns, f.args).Scan(&call, &fit, &allowed)
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code[:2] == "42" { // not a name
		err = pgx.ErrNoRows
	}
	plain := strings.NewReplacer("pg_catalog.bool", "boolean", "pg_catalog.", "", ",", ", ")
	types := plain.Replace(f.types)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", fmt.Errorf("%w %s(%s) does not exist: name it with its schema, without arguments", ErrFunction, f.name, f.params)
	case err != nil:
		return "", fmt.Errorf("find %s: %w", f.name, err)
	case !fit:
		return "", fmt.Errorf("%w %s(%s) does not return %s", ErrFunction, f.name, types, plain.Replace(f.returns))
	case !allowed:
		return "", fmt.Errorf("%w %s(%s) may not be called by this role: grant it EXECUTE, and USAGE of the schema", ErrFunction, f.name, types)
	}
	f.call.Store(&call)
	return call, nil
}
