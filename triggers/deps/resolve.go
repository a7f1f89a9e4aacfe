package deps

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

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
