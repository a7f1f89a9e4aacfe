package deps

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Among is a column whose value is, in each row that matters, one of those that a lookup
// gives (see rule 13 of the package).
type Among struct {
	Column string
	Of     Lookup
}

// Lookup is a column of the rows that another scan of the query reads.
type Lookup struct {
	Table  string // with its schema, quoted where needed
	Column string

	only   bool
	equals []Equality
	among  []Among
}

// String is the column with its table: public.cards.owner.
func (l Lookup) String() string { return l.Table + "." + l.Column }

// SQL is an expression of type text[]: the distinct values that there are now, no null, and at
// most that many. param gives the SQL of a parameter with its type. What it names, it names
// with the schema.
func (l Lookup) SQL(param func(int) string, most int) string {
	return fmt.Sprintf("array(select distinct x.%s::pg_catalog.text from %s limit %d)", quoted(l.Column), l.from(param), most)
}

func (l Lookup) from(param func(int) string) string {
	table := l.Table
	if l.only {
		table = "only " + table
	}
	conditions := []string{"x." + quoted(l.Column) + " is not null"}
	for _, e := range l.equals {
		conditions = append(conditions, fmt.Sprintf("x.%s operator(pg_catalog.=) %s", quoted(e.Column), e.Value.sql(param)))
	}
	for _, m := range l.among {
		conditions = append(conditions, fmt.Sprintf("x.%s operator(pg_catalog.=) any (select x.%s from %s)",
			quoted(m.Column), quoted(m.Of.Column), m.Of.from(param)))
	}
	return table + " x where " + strings.Join(conditions, " and ")
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// sql is v as it may stand anywhere, whatever the session's settings.
func (v Value) sql(param func(int) string) string {
	switch {
	case v.Param > 0:
		return param(v.Param)
	case v.class == booleans:
		return v.Text
	case v.class == integers:
		return "'" + v.Text + "'::pg_catalog.int8"
	}
	return "E'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(v.Text) + "'"
}

// maxLookups is how many lookups may stand within each other.
const maxLookups = 3

// source is a column of a scan.
type source struct {
	scan *scan
	att  int
}

// lookUp finds columns that are equal to one of a scan that is bound: first by parameters,
// then by constants, which may be of many rows. What is found in a step holds from the next
// one on, so that a scan which is a source is bound by all that it will be.
func (a *analyser) lookUp() {
	for _, constants := range []bool{false, true} {
		for range maxLookups {
			found := map[*scan]map[int]source{}
			for _, s := range a.scans {
				if len(s.among) == 0 && (len(s.equals) == 0 || !constants && !s.byParameter()) {
					found[s] = a.sources(s, constants)
				}
			}
			for s, among := range found {
				s.among = among
			}
		}
	}
}

func (s *scan) byParameter() bool {
	for _, v := range s.equals {
		if v.Param > 0 {
			return true
		}
	}
	return false
}

// depth is how many lookups stand within each other that bind s.
func (s *scan) depth() (n int) {
	for _, from := range s.among {
		n = max(n, 1+from.scan.depth())
	}
	return n
}

// sources are what s's columns are among.
func (a *analyser) sources(s *scan, constants bool) map[int]source {
	found := map[int]source{}
	for att := range s.relation.columns {
		if _, virtual := s.relation.virtual[att+1]; virtual {
			continue
		}
		if _, equal := s.equals[att+1]; equal {
			continue
		}
		for _, t := range (term{level: s.level, rt: s.rt, att: att + 1}).reached(s.equal)[1:] {
			if t.fixed() {
				continue
			}
			from, ok := t.level.parts[t.rt].(*scan)
			if !ok || from == s || !(from.byParameter() || len(from.among) > 0 || constants && len(from.equals) > 0) || from.depth() >= maxLookups {
				continue
			}
			if a.readable(from, t.att) && from.holds(s.equal) {
				found[att+1] = source{from, t.att}
				break
			}
		}
	}
	return found
}

// readable says whether a lookup sees all rows of s, and the text of a column that scopes have.
func (a *analyser) readable(s *scan, att int) bool {
	_, virtual := s.relation.virtual[att]
	k := a.catalog.class(s.relation.types[att-1])
	if virtual || s.relation.secured || k == "" || k == dates { // whose text is as the session writes it
		return false
	}
	for i, t := range s.relation.types {
		_, equal := s.equals[i+1]
		_, among := s.among[i+1]
		if k := a.catalog.class(t); (equal || among || i+1 == att) && strings.HasPrefix(string(k), "enum ") && k != class(fmt.Sprint("enum ", t)) {
			return false // a domain of an enum has no equality of its own
		}
	}
	return true
}

// holds says whether all that binds s follows from what is equal to what.
func (s *scan) holds(equal map[term][]term) bool {
	reached := func(att int, to term) bool {
		return slices.Contains((term{level: s.level, rt: s.rt, att: att}).reached(equal), to)
	}
	for att, v := range s.equals {
		if !reached(att, term{value: v}) {
			return false
		}
	}
	for att, from := range s.among {
		t := term{level: from.scan.level, rt: from.scan.rt, att: from.att}
		if !reached(att, t) || s.relation.collations[att-1] != from.scan.relation.collations[from.att-1] || !from.scan.holds(equal) {
			return false
		}
	}
	return true
}

// bound are the equalities of s by the columns' order, and what it is among.
func (s *scan) bound() (equals []Equality, among []Among) {
	equals = []Equality{}
	for i, name := range s.relation.columns {
		if v, ok := s.equals[i+1]; ok {
			equals = append(equals, Equality{name, v})
		}
		if from, ok := s.among[i+1]; ok {
			among = append(among, Among{name, from.lookup()})
		}
	}
	return equals, among
}

func (f source) lookup() Lookup {
	r := f.scan.relation
	l := Lookup{Table: r.name, Column: r.columns[f.att-1], only: f.scan.only}
	l.equals, l.among = f.scan.bound()
	return l
}

// same says whether two scans are among the same.
func same(a, b []Among) bool {
	text := func(m Among) string {
		return m.Column + " " + m.Of.SQL(func(n int) string { return fmt.Sprint("$", n) }, 0)
	}
	return slices.EqualFunc(a, b, func(x, y Among) bool { return text(x) == text(y) })
}
