package deps

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Beginner is what a *pgx.Conn, a pgx.Tx and a *pgxpool.Pool have in common.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Dependencies are what the result of a query follows from.
type Dependencies struct {
	Scans  []Scan
	Opaque []string // functions that can't be looked into, and relations of which no trigger tells
	Time   []string // what gives another result each time, whatever the tables hold
	Params []uint32 // the types of the query's parameters
}

// Scan is a table as the query reads it. A change of a row matters only if the row, as it
// was or as it became, is equal in all columns of Equals and has in those of Among what the
// lookups gave when the result was made, and if it came, went, or changed in one of Columns.
type Scan struct {
	OID     uint32   // of the table that is attached: of a partition, the one that it is of
	Table   string   // its name with the schema, quoted where needed
	Key     []string // its primary key's columns, as they come
	Columns []string
	Equals  []Equality // by the columns' order in the table
	Among   []Among    // of what no parameter binds, in that order
}

// Equality is a column that is equal to a value in each row that matters. If the value is a
// parameter that is null, no row does.
type Equality struct {
	Column string
	Value  Value
}

// A QueryError is one that cannot be looked at: it is no single SELECT, or Postgres doesn't
// accept it.
type QueryError struct{ Err error }

func (e *QueryError) Error() string { return e.Err.Error() }
func (e *QueryError) Unwrap() error { return e.Err }

// Of returns what a query depends on: one SELECT, whose parameters are $1, $2 and so on. Its
// names mean what they mean to db. Nothing is run, and nothing is left behind: Postgres makes
// a temporary function of the query, which is rolled back. That takes the right to make
// temporary tables (everybody's by default), and a server that can be written to. A query
// that Postgres doesn't accept, or is something else than one SELECT, is a *QueryError.
//
// In place of a query there may be the name of a function that returns the rows: name, or
// name(types) where there are several.
func Of(ctx context.Context, db Beginner, query string) (Dependencies, error) {
	return in(ctx, db, func(tx pgx.Tx) (Dependencies, error) {
		query, err := called(ctx, tx, query)
		if err != nil {
			return Dependencies{}, err
		}
		a, q, err := resolve(ctx, tx, query)
		if err != nil {
			return Dependencies{}, err
		}
		return a.of(q)
	})
}

// in runs do in a transaction that is rolled back.
func in(ctx context.Context, db Beginner, do func(pgx.Tx) (Dependencies, error)) (Dependencies, error) {
	tx, err := db.Begin(ctx)
	if err != nil {
		return Dependencies{}, err
	}
	d, err := do(tx)
	if err := tx.Rollback(context.WithoutCancel(ctx)); err != nil {
		return Dependencies{}, fmt.Errorf("roll back: %w", err)
	}
	return d, err
}

// analyser looks at one query.
type analyser struct {
	catalog *catalog
	order   binary.ByteOrder // of the server's numbers
	moves   bool             // the query may have literals such as 'today'

	scans   []*scan
	filters map[*node]bool // x in (select ...) where it is a condition
	todo    []func()
	levels  int
	found   Dependencies
}

// newAnalyser has names mean the system's until tx ends.
func newAnalyser(ctx context.Context, tx pgx.Tx) (*analyser, error) {
	const pinned = "select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true), pg_catalog.set_config('quote_all_identifiers', 'off', true)"
	if _, err := tx.Exec(ctx, pinned); err != nil {
		return nil, err
	}
	c, err := newCatalog(ctx, tx)
	return &analyser{catalog: c, filters: map[*node]bool{}}, err
}

// fail refuses a tree that can't be understood.
func (a *analyser) fail(what string) {
	if a.catalog.err == nil {
		a.catalog.err = fmt.Errorf("parse tree: %s", what)
	}
}

func (a *analyser) opaque(name string) { a.found.Opaque = appendNew(a.found.Opaque, name) }
func (a *analyser) timed(name string)  { a.found.Time = appendNew(a.found.Time, name) }

func appendNew(all []string, s string) []string {
	if slices.Contains(all, s) {
		return all
	}
	return append(all, s)
}

func (a *analyser) of(q *node) (Dependencies, error) {
	l := a.newLevel(q, nil)
	l.all = true
	a.enter(l, nil)
	for len(a.todo) > 0 && a.catalog.err == nil {
		next := a.todo[0]
		a.todo = a.todo[1:]
		next()
	}
	if a.catalog.err != nil {
		return Dependencies{}, a.catalog.err
	}
	a.lookUp()
	for i := 0; i < len(a.scans); i++ {
		if s := a.scans[i]; !s.only {
			a.heirs(s)
		}
		a.add(a.scans[i])
	}
	return a.found, a.catalog.err
}

// heirs adds what a scan reads of the tables that inherit from its own.
func (a *analyser) heirs(s *scan) {
	for _, oid := range s.relation.children {
		r := a.catalog.relation(oid)
		if !r.own || r.kind != "r" && r.kind != "p" {
			a.opaque(r.name)
			continue
		}
		heir := &scan{relation: r, used: map[int]bool{}, equals: map[int]Value{}, among: map[int]source{}}
		for att, name := range r.columns {
			i := slices.Index(s.relation.columns, name) + 1
			if i == 0 || name == "" {
				continue
			}
			heir.used[att+1] = s.used[i]
			if v, ok := s.equals[i]; ok {
				heir.equals[att+1] = v
			}
			if from, ok := s.among[i]; ok {
				heir.among[att+1] = from
			}
		}
		a.scans = append(a.scans, heir)
	}
}

// add makes a result of s, or adds its columns to one that is equal otherwise.
func (a *analyser) add(s *scan) {
	out := Scan{OID: s.relation.oid, Table: s.relation.name, Key: s.relation.key, Columns: []string{}}
	out.Equals, out.Among = s.bound()
	if s.relation.root != 0 {
		out.OID, out.Table = s.relation.root, s.relation.rootName
	}
	for i, name := range s.relation.columns {
		if _, virtual := s.relation.virtual[i+1]; name == "" || virtual {
			continue
		}
		if s.used[i+1] {
			out.Columns = append(out.Columns, name)
		}
	}
	for i, before := range a.found.Scans {
		if before.OID == out.OID && slices.Equal(before.Equals, out.Equals) && same(before.Among, out.Among) {
			for _, c := range out.Columns {
				a.found.Scans[i].Columns = appendNew(a.found.Scans[i].Columns, c)
			}
			return
		}
	}
	a.found.Scans = append(a.found.Scans, out)
}
