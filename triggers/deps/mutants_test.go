package deps

import (
	"maps"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
)

// each calls do for each node of a tree.
func each(x any, do func(*node)) {
	switch x := x.(type) {
	case list:
		for _, y := range x {
			each(y, do)
		}
	case *node:
		do(x)
		for _, f := range x.fields {
			each(f.value, do)
		}
	}
}

func (n *node) set(name string, value any) {
	for i := range n.fields {
		if n.fields[i].name == name {
			n.fields[i].value = value
		}
	}
}

// named edits each node of a name.
func named(name string, edit func(*node)) func(*analyser, *node) {
	return func(_ *analyser, q *node) {
		each(q, func(n *node) {
			if n.name == name {
				edit(n)
			}
		})
	}
}

func setting(name, field string, value any) func(*analyser, *node) {
	return named(name, func(n *node) { n.set(field, value) })
}

func joins(from, to token) func(*analyser, *node) {
	return named("JOINEXPR", func(n *node) {
		if n.get("jointype") == from {
			n.set("jointype", to)
		}
	})
}

func (c *catalog) all(sql string) (oids []uint32) {
	rows, err := c.tx.Query(c.ctx, sql)
	if err == nil {
		oids, err = pgx.CollectRows(rows, pgx.RowTo[uint32])
	}
	if c.err == nil {
		c.err = err
	}
	return oids
}

// relations edits what the catalog says of all that a query names.
func relations(edit func(*relation)) func(*analyser, *node) {
	return func(a *analyser, _ *node) {
		for _, oid := range a.catalog.all("select oid from pg_class where relnamespace = 'f'::regnamespace and relkind in ('r', 'p', 'v')") {
			edit(a.catalog.relation(oid))
		}
	}
}

func functions(edit func(*function)) func(*analyser, *node) {
	return func(a *analyser, _ *node) {
		for _, oid := range a.catalog.all("select oid from pg_proc where pronamespace = 'f'::regnamespace") {
			edit(a.catalog.function(oid))
		}
	}
}

// mutants break one rule each, by what the analyser is given to read.
var mutants = map[string]func(*analyser, *node){
	"the condition of a left join holds for both sides":  joins("1", "0"),
	"the condition of a right join holds for both sides": joins("3", "0"),
	"the condition of a full join holds for both sides":  joins("2", "0"),
	"a full join is a left join":                         joins("2", "1"),
	"conditions pass a limit":                            setting("QUERY", "limitCount", nil),
	"conditions pass an offset": func(a *analyser, q *node) {
		setting("QUERY", "limitOffset", nil)(a, q)
		setting("QUERY", "limitCount", nil)(a, q)
	},
	"conditions pass window functions":       setting("QUERY", "hasWindowFuncs", token("false")),
	"conditions pass distinct on":            setting("QUERY", "hasDistinctOn", token("false")),
	"conditions joined by or hold all":       setting("BOOLEXPR", "boolop", token("and")),
	"what is not in a query may be left out": func(a *analyser, q *node) { named("SUBLINK", func(n *node) { a.filters[n] = true })(a, q) },
	"equal blank-padded text is the same text": func(a *analyser, _ *node) {
		a.catalog.equals[1054] = true // bpchareq
		a.catalog.classes[1042] = texts
	},
	"a collation's equal text is the same text": func(a *analyser, _ *node) { clear(a.catalog.loose) },
	"a lookup sees what row security hides":     relations(func(r *relation) { r.secured = false }),
	"row security reads nothing":                relations(func(r *relation) { r.policies = nil }),
	"nothing inherits":                          relations(func(r *relation) { r.children = nil }),
	"a partition is a table of its own":         relations(func(r *relation) { r.root = 0 }),
	"functions read nothing":                    functions(func(f *function) { f.body, f.volatility = "", "i" }),
	"an aggregate's functions read nothing":     functions(func(f *function) { f.parts = nil }),
	"arguments by name stand in their order":    setting("NAMEDARGEXPR", "argnumber", token("0")),
	"order needs only what is asked for":        setting("TARGETENTRY", "ressortgroupref", token("0")),
	"a row as a whole is its first column": named("VAR", func(n *node) {
		if n.get("varattno") == token("0") {
			n.set("varattno", token("1"))
		}
	}),
	"a null is equal to itself": named("NULLTEST", func(n *node) {
		x := n.get("arg")
		n.name, n.fields = "OPEXPR", []field{{"opno", token("98")}, {"args", list{x, x}}} // texteq
	}),
	"a query's conditions need no columns": named("FROMEXPR", func(n *node) {
		each(n.get("quals"), func(n *node) {
			if n.name == "VAR" && n.get("varattno") != token("1") {
				n.set("vartype", token("0")) // no term
				n.set("varattno", token("1"))
			}
		})
	}),
}

// amongs edits what columns are among.
func amongs(edit func(*Dependencies, *Among)) func(*Dependencies) {
	return func(d *Dependencies) {
		for i := range d.Scans {
			for k := range d.Scans[i].Among {
				edit(d, &d.Scans[i].Among[k])
			}
		}
	}
}

type mutant struct {
	read  func(*analyser, *node)
	found func(*Dependencies)
}

// lookupMutants break what is found.
var lookupMutants = map[string]func(*Dependencies){
	"a lookup leaves out tables that inherit": amongs(func(_ *Dependencies, m *Among) { m.Of.only = true }),
	"a lookup within a lookup gives one value": amongs(func(_ *Dependencies, m *Among) {
		m.Of.among = slices.Clone(m.Of.among)
		for i := range m.Of.among {
			m.Of.among[i].Of.equals = []Equality{{m.Of.among[i].Of.Column, Value{Text: "1", class: texts}}}
		}
	}),
	"what a lookup gives needs not be told": amongs(func(d *Dependencies, m *Among) {
		for i, s := range d.Scans {
			if s.Table == m.Of.Table {
				d.Scans[i].Columns = slices.DeleteFunc(slices.Clone(s.Columns), func(c string) bool { return c == m.Of.Column })
			}
		}
	}),
}

// Each mutant misses a result that changed: what finds nothing wrong would find these.
func TestOracleFindsEachMutant(t *testing.T) {
	if testing.Short() {
		t.Skip("what the oracle is worth is shown by make test-all")
	}
	conn := oracleDatabase(t, generated)
	left := map[string]mutant{}
	for name, edit := range mutants {
		left[name] = mutant{edit, func(*Dependencies) {}}
	}
	for name, edit := range lookupMutants {
		left[name] = mutant{func(*analyser, *node) {}, edit}
	}
	for seed := uint64(0); seed < 1000 && len(left) > 0; seed++ {
		x, right, ok := try(t, conn, seed, 30)
		if !ok || !slices.ContainsFunc(x.results, func(r tried) bool { return r.Differs }) {
			continue
		}
		for name, m := range left {
			d, err := in(t.Context(), conn, func(tx pgx.Tx) (Dependencies, error) {
				a, q, err := resolve(t.Context(), tx, x.query)
				if err != nil {
					return Dependencies{}, err
				}
				m.read(a, q)
				d, err := a.of(q)
				m.found(&d)
				return d, err
			})
			if err != nil {
				t.Fatalf("%s: seed %d: %v", name, seed, err)
			}
			x := x
			if l := lookups(d); l != lookups(right) {
				if err := x.try(t.Context(), conn, l); err != nil {
					t.Fatalf("%s: seed %d: %v", name, seed, err)
				}
			}
			if slices.ContainsFunc(x.results, func(r tried) bool { return r.Differs && !x.heard(d, r) }) {
				t.Logf("seed %4d finds: %s", seed, name)
				delete(left, name)
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("not found: %q", slices.Sorted(maps.Keys(left)))
	}
}
