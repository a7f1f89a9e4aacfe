package deps

import "slices"

// matched adds to facts what follows from them for the outer joins in x, a part of l's from.
// Rows that such a join makes up have nulls, and a null equals nothing: where a fact is of
// the side that may be null, its rows are real ones, and the join's condition holds of both
// sides, as that of an inner join does. Postgres plans by the same (reduce_outer_joins,
// src/backend/optimizer/prep/prepjointree.c).
func (a *analyser) matched(x any, facts []fact, l *level) []fact {
	for before := -1; before != len(facts); {
		before = len(facts)
		facts = a.match(x, facts, l)
	}
	return facts
}

func (a *analyser) match(x any, facts []fact, l *level) []fact {
	n := asNode(x)
	if n == nil {
		return facts
	}
	for _, part := range n.list("fromlist") {
		facts = a.match(part, facts, l)
	}
	left, right := n.get("larg"), n.get("rarg")
	facts = a.match(right, a.match(left, facts, l), l)
	optional := right
	switch n.int("jointype") {
	case joinLeft:
	case joinRight:
		optional = left
	default:
		return facts
	}
	if realRows(optional, facts, l) {
		for _, f := range append(a.equalities(n.get("quals"), l), a.inner(optional, l)...) {
			if !slices.Contains(facts, f) {
				facts = with(facts, []fact{f})
			}
		}
	}
	return facts
}

// realRows says whether facts hold of no row of nulls in place of one of x. That a column of
// a query is what its target list has is true of nulls, too.
func realRows(x any, facts []fact, l *level) bool {
	n := asNode(x)
	if n == nil {
		return false
	}
	if n.name == "JOINEXPR" {
		return realRows(n.get("larg"), facts, l) || realRows(n.get("rarg"), facts, l)
	}
	var reached []term
	for _, f := range facts {
		for _, t := range []term{f.a, f.b} {
			if t.level == l && t.rt == n.int("rtindex") {
				reached = append(reached, t)
			}
		}
	}
	for i := 0; i < len(reached); i++ {
		for _, f := range facts {
			t, ok := f.other(reached[i])
			if ok && f.output == nil {
				return true
			}
			if ok && !slices.Contains(reached, t) {
				reached = append(reached, t)
			}
		}
	}
	return false
}
