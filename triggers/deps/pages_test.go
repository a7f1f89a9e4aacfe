package deps

import (
	"embed"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// testdata has schemas as apps have them, and the queries of their pages.
//
//go:embed testdata/*.sql
var testdata embed.FS

// app is a schema in a database, with its pages.
type app struct {
	conn   *pgx.Conn
	tables []table
	pages  []page
}

// page is a query. Its $1 and $2 are numbers, its $3 is one of texts.
type page struct {
	name, sql string
	texts     []string
}

// table is what statements are made of.
type table struct {
	Name    string
	Columns []string
	Key     []string
	KeyType string // of the first column
	Rows    int
}

func newApp(t testing.TB, name string) (a app) {
	t.Helper()
	files := map[string]string{}
	for _, f := range []string{name, name + ".pages"} {
		b, err := testdata.ReadFile("testdata/" + f + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		files[f] = string(b)
	}
	a.conn = oracleDatabase(t, files[name])
	for _, text := range strings.Split("\n"+files[name+".pages"], "\n-- ")[1:] {
		title, sql, _ := strings.Cut(text, "\n")
		title, texts, _ := strings.Cut(title, "; $3: ")
		a.pages = append(a.pages, page{title, strings.TrimSuffix(strings.TrimSpace(sql), ";"), strings.Split(texts, ", ")})
	}
	rows, err := a.conn.Query(t.Context(), `
		select format('f.%I', c.relname),
			array(select attname::text from pg_attribute where attrelid = c.oid and attnum > 0 order by attnum),
			array_agg(k.attname::text order by k.attnum), (array_agg(format_type(k.atttypid, null) order by k.attnum))[1],
			c.reltuples::int
		from pg_class c join pg_index i on i.indrelid = c.oid and i.indisprimary
		join pg_attribute k on k.attrelid = c.oid and k.attnum = any (i.indkey)
		where c.relnamespace = 'f'::regnamespace
		group by c.oid order by 1`)
	if err == nil {
		a.tables, err = pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// value is an expression for what a row of t, taken at random, has in columns.
func (t table) value(r *rand.Rand, columns ...string) string {
	return fmt.Sprintf("(select %s from %s order by %s offset %d limit 1)",
		strings.Join(columns, ", "), t.Name, strings.Join(t.Key, ", "), r.IntN(t.Rows))
}

// statement changes one row of t, and perhaps others by its foreign keys. Values are those of
// other rows, so that foreign keys hold.
func (t table) statement(r *rand.Rand) string {
	where := fmt.Sprintf(" where (%s) = %s", strings.Join(t.Key, ", "), t.value(r, t.Key...))
	switch r.IntN(4) {
	case 0:
		var values []string
		for _, c := range t.Columns {
			v := t.value(r, c)
			if len(t.Key) == 1 && c == t.Key[0] {
				v = fmt.Sprintf("(select (max(%s)::text || '1')::%s from %s)", c, t.KeyType, t.Name)
			}
			values = append(values, v)
		}
		return fmt.Sprintf("insert into %s (%s) values (%s)", t.Name, strings.Join(t.Columns, ", "), strings.Join(values, ", "))
	case 1:
		return "delete from " + t.Name + where
	}
	columns := t.Columns
	if len(t.Key) == 1 { // which no app changes
		columns = slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return c == t.Key[0] })
	}
	c := columns[r.IntN(len(columns))]
	return fmt.Sprintf("update %s set %s = %s%s", t.Name, c, t.value(r, c), where)
}

var apps = []string{"rental", "music", "orders"}

// What the analysis is worth for an app: no page misses a change of its result, and of those
// that leave it as it is few are told. Each table that a page reads is written as often as
// the others. What isn't bound are pages of all that there is: sales by store, or by genre.
func TestPagesHearLittleThatDoesNotConcernThem(t *testing.T) {
	statements := 40
	if testing.Short() {
		statements = 15
	}
	var all count
	for _, name := range apps {
		a := newApp(t, name)
		r := rand.New(rand.NewPCG(1, 1))
		for _, p := range a.pages {
			query, _ := numbered(p.sql)
			d, err := Of(t.Context(), a.conn, query)
			if err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			if len(d.Opaque)+len(d.Time) > 0 {
				t.Fatalf("%s: opaque %q, time %q", p.name, d.Opaque, d.Time)
			}
			var one count
			var free []string
			for _, s := range d.Scans {
				one.among += min(1, len(s.Among))
				if len(s.Equals)+len(s.Among) == 0 {
					free = append(free, strings.TrimPrefix(s.Table, "f."))
				}
			}
			one.scans, one.bound = len(d.Scans), len(d.Scans)-len(free)
			tables := slices.DeleteFunc(slices.Clone(a.tables), func(t table) bool {
				return !slices.ContainsFunc(d.Scans, func(s Scan) bool { return s.Table == t.Name })
			})
			for i := range 3 {
				x := newTrial(p.name, p.sql, 1+r.IntN(6), 1+r.IntN(2), p.texts[i%len(p.texts)])
				for range statements {
					x.statements = append(x.statements, tables[r.IntN(len(tables))].statement(r))
				}
				if err := x.try(t.Context(), a.conn, lookups(d)); err != nil {
					t.Fatalf("%v\n%v", x, err)
				}
				if len(x.results) == 0 {
					t.Fatalf("%v\nno statement was tried", x)
				}
				one.add(x.count(t, d))
			}
			t.Logf("%s, %s: %v; not bound: %s", name, p.name, one, strings.Join(free, ", "))
			all.add(one)
		}
	}
	t.Logf("in all: %v", all)
	if 100*all.bound < 90*all.scans || 20*all.needless > all.byTable {
		t.Errorf("less than 90 of 100 scans are bound, or more than 1 of 20 changes is told needlessly that all changes of a table would be")
	}
}

func BenchmarkOf(b *testing.B) {
	type query struct {
		conn *pgx.Conn
		sql  string
	}
	var queries []query
	for _, name := range apps {
		a := newApp(b, name)
		for _, p := range a.pages {
			sql, _ := numbered(p.sql)
			queries = append(queries, query{a.conn, sql})
		}
	}
	n := 0
	for b.Loop() {
		q := queries[n%len(queries)]
		if _, err := Of(b.Context(), q.conn, q.sql); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
