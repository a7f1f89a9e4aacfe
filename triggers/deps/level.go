package deps

import "errors"

// level is a query as it stands in one place: the query that is looked at, one in its from
// or in an expression, a view or a function where it is used. Names are resolved, so that
// what is outside is known by how many levels up it is.
type level struct {
	query *node
	outer *level
	// arguments are what the parameters of a function's body stand for; nil outside of one.
	arguments map[int]term
	// policyOf has the only relation that the expression of a policy can name.
	policyOf *level
	policyRT int
	// under are the functions and the relations with policies in which this stands.
	under []uint32

	parts  map[int]any // *scan or *level, by the place in the range table
	facts  []fact      // what holds of the rows that come here, and around
	all    bool        // all columns of the result matter
	wanted map[int]bool
	walked bool
}

// scan is a relation as it is read in one place.
type scan struct {
	relation *relation
	only     bool // without the tables that inherit
	used     map[int]bool
	equals   map[int]Value
	among    map[int]source

	level *level // where it stands
	rt    int
	equal map[term][]term // what is equal to what in each row that matters
}

// Kinds of entries of a range table (RTEKind, src/include/nodes/parsenodes.h).
const (
	rteRelation = iota
	rteSubquery
	rteJoin
	rteFunction
	rteTableFunc
	rteValues
	rteCTE
	rteNamedTuplestore
	rteResult
	rteGroup // from 18 on
)

func kindOf(entry *node) int {
	if entry == nil {
		return -1
	}
	return entry.int("rtekind")
}

func (l *level) entry(rt int) *node { return asNode(at(l.query.list("rtable"), rt)) }

// up is the level that many levels outside of l; nil if there is none.
func (l *level) up(levels int) *level {
	for ; levels > 0 && l != nil; levels-- {
		l = l.outer
	}
	return l
}

// maxLevels bounds the work, which grows with the square: a with query counts as often as it
// is used.
const maxLevels = 500

var errTooLarge = errors.New("the query has too many parts: it uses views, functions or with queries within each other too often")

func (a *analyser) newLevel(query *node, outer *level) *level {
	if a.levels++; a.levels > maxLevels && a.catalog.err == nil {
		a.catalog.err = errTooLarge
	}
	l := &level{query: query, outer: outer, parts: map[int]any{}, wanted: map[int]bool{}}
	if outer != nil {
		l.arguments, l.under = outer.arguments, outer.under
	}
	return l
}

// part returns what an entry of l's from reads: a *scan or a *level, or nil if it is an
// expression. Each use of a view or of a with query is one of its own.
func (a *analyser) part(l *level, rt int) any {
	if p, ok := l.parts[rt]; ok || a.catalog.err != nil {
		return p
	}
	var p any
	switch r := l.entry(rt); kindOf(r) {
	case rteRelation:
		oid := r.oid("relid")
		relation := a.catalog.relation(oid)
		if relation.kind != "v" {
			p = &scan{relation: relation, only: !r.flag("inh"), used: map[int]bool{}}
			break
		}
		if rule, _ := a.catalog.view(oid).(list); len(rule) == 1 && asNode(rule[0]) != nil {
			v := a.newLevel(asNode(rule[0]), nil)
			v.under = l.under
			p = v
		} else {
			a.opaque(relation.name)
		}
	case rteSubquery:
		p = a.newLevel(r.node("subquery"), l)
	case rteCTE:
		owner := l.up(r.int("ctelevelsup"))
		cte := owner.with(r.text("ctename"))
		if cte == nil {
			a.fail("a with query that isn't there")
			break
		}
		if l.inside(cte.node("ctequery")) { // what is read again is read already
			break
		}
		w := a.newLevel(cte.node("ctequery"), owner)
		w.all = cte.flag("cterecursive") // what is left out might come back by the next step
		p = w
	}
	l.parts[rt] = p
	return p
}

func (l *level) with(name string) *node {
	if l != nil {
		for _, c := range l.query.list("cteList") {
			if cte := asNode(c); cte != nil && cte.text("ctename") == name {
				return cte
			}
		}
	}
	return nil
}

// inside says whether l is a part of query, or that itself.
func (l *level) inside(query *node) bool {
	for ; l != nil; l = l.outer {
		if l.query == query {
			return true
		}
	}
	return false
}

// output returns what l's target list has as its nth column, if that is what all rows of the
// result have there, or null: the columns of set operations come from several places. (What
// an aggregate gives is no column; a group's key is, even where a grouping set leaves it out.)
func (a *analyser) output(l *level, n int) (term, bool) {
	if l.query.get("setOperations") != nil {
		return term{}, false
	}
	for _, x := range l.query.list("targetList") {
		if target := asNode(x); target.int("resno") == n {
			t := a.term(target.get("expr"), l)
			return t, t.ok()
		}
	}
	return term{}, false
}

// outputs are the facts that join the columns of entry rt of l with what is in it.
func (a *analyser) outputs(l *level, rt int, p *level) (facts []fact) {
	for _, x := range p.query.list("targetList") {
		n := asNode(x).int("resno")
		if inside, ok := a.output(p, n); ok {
			facts = append(facts, fact{a: term{level: l, rt: rt, att: n}, b: inside, output: p})
		}
	}
	return facts
}

// transparent says whether the rows of l's result don't depend on each other: what is left
// out of the result outside could then be left out of what is read. It isn't so where rows
// are counted (limit, offset), seen beside each other (window functions), or stand for others
// (distinct on). Rows of a group are all left out, or none.
func (l *level) transparent() bool {
	q := l.query
	return q.get("limitCount") == nil && q.get("limitOffset") == nil && !q.flag("hasWindowFuncs") && !q.flag("hasDistinctOn")
}
