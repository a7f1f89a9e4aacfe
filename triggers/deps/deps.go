package deps

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
// was or as it became, is equal in all columns of Equals, and if it came, went, or changed
// in one of Columns.
type Scan struct {
	OID     uint32   // of the table that is attached: of a partition, the one that it is of
	Table   string   // its name with the schema, quoted where needed
	Key     []string // its primary key's columns, as they come
	Columns []string
	Equals  []Equality // by the columns' order in the table
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

// functionName is a name, and perhaps types in parentheses.
var functionName = regexp.MustCompile(`^(?:"[^"]+"|[\pL_][\pL\d_$]*)(?:\.(?:"[^"]+"|[\pL_][\pL\d_$]*))?(?:\s*\([^()$']*\))?$`)

var valuesList = regexp.MustCompile(`(?i)^values\s*\(`)

// called returns a query for all that a function returns, if text is the name of one.
func called(ctx context.Context, tx pgx.Tx, text string) (string, error) {
	name := strings.TrimSpace(text)
	if !functionName.MatchString(name) || valuesList.MatchString(name) {
		return text, nil
	}
	find := "to_regproc"
	if strings.HasSuffix(name, ")") {
		find = "to_regprocedure"
	}
	var query string
	err := tx.QueryRow(ctx, `
		select pg_catalog.format('select * from %I.%I(%s)', n.nspname, p.proname, (
			select pg_catalog.string_agg(pg_catalog.format('%s$%s::%s',
				case when p.provariadic operator(pg_catalog.<>) 0 and x.i operator(pg_catalog.=) p.pronargs then 'variadic ' end,
				x.i, pg_catalog.format_type(x.t, null)), ', ' order by x.i)
			from pg_catalog.unnest(p.proargtypes::pg_catalog.oid[]) with ordinality x (t, i)))
		from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) p.pronamespace
		where p.oid operator(pg_catalog.=) pg_catalog.`+find+`($1) and p.prokind operator(pg_catalog.=) 'f'`, name).Scan(&query)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", &QueryError{fmt.Errorf("%s is no query, and no function, or one of several of that name: write the types too, as in my_function(int)", name)}
	}
	return query, queryError(err)
}

// resolve has Postgres read a query, and returns its tree and what can look at that.
func resolve(ctx context.Context, tx pgx.Tx, query string) (*analyser, *node, error) {
	described, err := tx.Conn().PgConn().Prepare(ctx, "", query, nil) // one statement, or an error
	if err != nil {
		return nil, nil, queryError(err)
	}
	types, err := typeNames(ctx, tx, described.ParamOIDs)
	if err != nil {
		return nil, nil, err
	}
	// The constant shows how the server writes numbers.
	text := "create function pg_temp.pgbell_query(" + strings.Join(types, ", ") +
		") returns void language sql begin atomic select '1'::pg_catalog.int8; " + query + "\n; end"
	if _, err := tx.Conn().PgConn().ExecParams(ctx, text, nil, nil, nil, nil).Close(); err != nil {
		return nil, nil, queryError(err)
	}
	a, err := newAnalyser(ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	var tree string
	err = tx.QueryRow(ctx, `select prosqlbody::text from pg_proc where pronamespace = pg_my_temp_schema() and proname = 'pgbell_query'`).Scan(&tree)
	if err != nil {
		return nil, nil, fmt.Errorf("read the catalog: %w", err)
	}
	all := queries(a.catalog.read(tree))
	if a.catalog.err != nil {
		return nil, nil, a.catalog.err
	}
	if len(all) != 2 || !selects(all[1]) {
		return nil, nil, &QueryError{errors.New("it is no single SELECT: what writes, locks, or holds several statements has no result to keep fresh")}
	}
	one := asNode(at(all[0].list("targetList"), 1)).node("expr")
	if a.order = byteOrder(one.get("constvalue")); a.order == nil {
		return nil, nil, errors.New("parse tree: this server's constants can't be read")
	}
	a.moves = movingLiteral.MatchString(query)
	a.found.Params = described.ParamOIDs
	return a, all[1], nil
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

// typeNames are the types' names as the session writes them.
func typeNames(ctx context.Context, tx pgx.Tx, oids []uint32) ([]string, error) {
	rows, err := tx.Query(ctx, `select pg_catalog.format_type(t, null) from pg_catalog.unnest($1::pg_catalog.oid[]) with ordinality x (t, i) order by i`, oids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// queryError tells what Postgres says of the query from what it says of itself.
func queryError(err error) error {
	pgErr := (*pgconn.PgError)(nil)
	if !errors.As(err, &pgErr) {
		return err
	}
	switch {
	case pgErr.Code == "25006": // read_only_sql_transaction
		return fmt.Errorf("to have the query's names resolved takes a server and a session that can be written to: %w", err)
	case pgErr.Code == "42501" && strings.Contains(pgErr.Message, "temporary"): // insufficient_privilege
		return fmt.Errorf("to have the query's names resolved takes the right to make temporary tables: grant temporary on database: %w", err)
	case pgErr.Code == "42P18": // indeterminate_datatype
		return &QueryError{fmt.Errorf("%w: write its type, as in $1::int", err)}
	case strings.HasPrefix(pgErr.Code, "42"), strings.HasPrefix(pgErr.Code, "22"), strings.HasPrefix(pgErr.Code, "0A"), strings.HasPrefix(pgErr.Code, "3F"):
		return &QueryError{err}
	}
	return err
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
		heir := &scan{relation: r, used: map[int]bool{}, equals: map[int]Value{}}
		for att, name := range r.columns {
			i := slices.Index(s.relation.columns, name) + 1
			if i == 0 || name == "" {
				continue
			}
			heir.used[att+1] = s.used[i]
			if v, ok := s.equals[i]; ok {
				heir.equals[att+1] = v
			}
		}
		a.scans = append(a.scans, heir)
	}
}

// add makes a result of s, or adds its columns to one that is equal otherwise.
func (a *analyser) add(s *scan) {
	out := Scan{OID: s.relation.oid, Table: s.relation.name, Key: s.relation.key, Columns: []string{}, Equals: []Equality{}}
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
		if v, ok := s.equals[i+1]; ok {
			out.Equals = append(out.Equals, Equality{name, v})
		}
	}
	for i, before := range a.found.Scans {
		if before.OID == out.OID && slices.Equal(before.Equals, out.Equals) {
			for _, c := range out.Columns {
				a.found.Scans[i].Columns = appendNew(a.found.Scans[i].Columns, c)
			}
			return
		}
	}
	a.found.Scans = append(a.found.Scans, out)
}
