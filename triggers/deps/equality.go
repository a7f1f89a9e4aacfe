package deps

// class is the kind of values that are equal if, and only if, their texts are: a scope is
// made of text. Empty is none: numeric has 1.0 and 1.00, char(n) blanks, citext letters,
// float two zeros, and the text of a timestamp depends on the session.
type class string

const (
	integers class = "integer" // of any size: they are compared with each other
	texts    class = "text"
	names    class = "name" // compared with text; what is given as one is cut to 63 bytes
	uuids    class = "uuid"
	booleans class = "boolean"
	dates    class = "date"
)

// builtin are the types' oids, which never change (src/include/catalog/pg_type.dat).
var builtin = map[uint32]class{
	21: integers, 23: integers, 20: integers, // smallint, integer, bigint
	25: texts, 1043: texts, 19: names, // text, varchar, name
	2950: uuids, 16: booleans, 1082: dates,
}

// term is what stands on a side of an equality: a column of something in the from of a
// level, or a value that is the same for the whole query. The zero value is neither.
type term struct {
	level *level
	rt    int // of the level's range table, from 1
	att   int // from 1
	value Value
}

func (t term) ok() bool    { return t != term{} }
func (t term) fixed() bool { return t.ok() && t.level == nil } // a value

// fact is that two terms are equal.
type fact struct {
	a, b term
	// output is set where a is a column of output's rows, and b what its target list has
	// there. Such a fact may be used from the inside to the outside; the other way only
	// if output keeps apart what is (see level.transparent).
	output *level
}

// other is what f says that t is equal to.
func (f fact) other(t term) (term, bool) {
	switch t {
	case f.a:
		return f.b, true
	case f.b:
		return f.a, true
	}
	return term{}, false
}

// term reads an expression of l.
func (a *analyser) term(x any, l *level) term {
	n := asNode(x)
	if n == nil {
		return term{}
	}
	switch n.name {
	case "RELABELTYPE", "COERCETODOMAIN": // the same text
		t := a.term(n.get("arg"), l)
		if a.catalog.class(n.oid("resulttype")) == "" {
			return term{}
		}
		return t
	case "VAR":
		k := a.catalog.class(n.oid("vartype"))
		if k == "" || a.catalog.loose[n.oid("varcollid")] {
			return term{}
		}
		return a.column(l.up(n.int("varlevelsup")), n.int("varno"), n.int("varattno"))
	case "PARAM":
		if n.int("paramkind") != 0 { // PARAM_EXTERN
			return term{}
		}
		if l.arguments != nil {
			return l.arguments[n.int("paramid")]
		}
		if k := a.catalog.class(n.oid("paramtype")); k != "" && k != names {
			return term{value: Value{Param: n.int("paramid"), class: k}}
		}
	case "CONST":
		k := a.catalog.class(n.oid("consttype"))
		if text, ok := a.constant(n, k); ok {
			return term{value: Value{Text: text, class: k}}
		}
	}
	return term{}
}

// column is what a Var means.
func (a *analyser) column(l *level, rt, att int) term {
	if l == nil || att <= 0 {
		return term{}
	}
	if l.policyOf != nil { // the only relation in a policy
		return a.column(l.policyOf, l.policyRT, att)
	}
	r := l.entry(rt)
	switch kindOf(r) {
	case rteJoin:
		return a.term(at(r.list("joinaliasvars"), att), l)
	case rteGroup:
		return a.term(at(r.list("groupexprs"), att), l)
	case rteRelation, rteSubquery, rteCTE:
		return term{level: l, rt: rt, att: att}
	}
	return term{}
}

// equalities are what a condition has joined by AND: true of each row that it lets pass.
func (a *analyser) equalities(x any, l *level) (facts []fact) {
	if conditions, ok := x.(list); ok {
		for _, c := range conditions {
			facts = append(facts, a.equalities(c, l)...)
		}
		return facts
	}
	n := asNode(x)
	switch {
	case n == nil:
	case n.name == "BOOLEXPR" && n.text("boolop") == "and":
		return a.equalities(n.list("args"), l)
	case n.name == "OPEXPR":
		args := n.list("args")
		if !a.comparesText(n) || len(args) != 2 {
			return nil
		}
		if left, right := a.term(args[0], l), a.term(args[1], l); left.ok() && right.ok() {
			return []fact{{a: left, b: right}}
		}
	case n.name == "SUBLINK":
		a.filters[n] = true
	case n.name == "VAR" && n.oid("vartype") == 16: // where done
		if t := a.term(n, l); t.ok() {
			return []fact{{a: t, b: term{value: Value{Text: "true", class: booleans}}}}
		}
	case n.name == "BOOLEXPR" && n.text("boolop") == "not":
		if v := asNode(at(n.list("args"), 1)); v != nil && v.name == "VAR" && v.oid("vartype") == 16 {
			if t := a.term(v, l); t.ok() {
				return []fact{{a: t, b: term{value: Value{Text: "false", class: booleans}}}}
			}
		}
	}
	return nil
}

// comparesText says whether an operator is true of equal text alone.
func (a *analyser) comparesText(n *node) bool {
	return a.catalog.equals[n.oid("opno")] && !a.catalog.loose[n.oid("inputcollid")]
}

// neighbours are what facts say that each term is equal to.
func neighbours(facts []fact) map[term][]term {
	next := map[term][]term{}
	for _, f := range facts {
		next[f.a], next[f.b] = append(next[f.a], f.b), append(next[f.b], f.a)
	}
	return next
}

// resolve returns what t is equal to for the whole query, by what is equal to what.
func (t term) resolve(next map[term][]term) (value term, ok bool) {
	for _, r := range t.reached(next) {
		if r.fixed() {
			return r, true
		}
	}
	return term{}, false
}

// reached are all that t is equal to, itself first, then the nearest.
func (t term) reached(next map[term][]term) []term {
	reached := []term{t}
	if len(next[t]) == 0 {
		return reached
	}
	seen := map[term]bool{t: true}
	for i := 0; i < len(reached); i++ {
		for _, n := range next[reached[i]] {
			if !seen[n] {
				seen[n] = true
				reached = append(reached, n)
			}
		}
	}
	return reached
}

// at is the nth of l, from 1.
func at(l list, n int) any {
	if n < 1 || n > len(l) {
		return nil
	}
	return l[n-1]
}
