package deps

import "slices"

// walkLevel walks the expressions of l's query, other than those of its from that stand for
// relations.
func (a *analyser) walkLevel(l *level) {
	l.walked = true
	for _, f := range l.query.fields {
		switch f.name {
		case "rtable", "rteperminfos", "cteList", "targetList": // entered and walked where they are used
		default:
			a.walk(f.value, l, l.facts)
		}
	}
	for _, x := range l.query.list("targetList") {
		t := asNode(x)
		if l.all || l.wanted[t.int("resno")] || l.wanted[0] || t.flag("resjunk") || t.int("ressortgroupref") != 0 || !l.prunable() {
			a.walk(t, l, l.facts)
		}
	}
}

// prunable says whether a column of the result that nobody asks for doesn't matter. What it
// is grouped, ordered or made distinct by has a number there, and always does.
func (l *level) prunable() bool {
	return l.query.get("setOperations") == nil && !l.query.flag("hasTargetSRFs")
}

// want notes that a column of l's result matters; 0 stands for all.
func (a *analyser) want(l *level, att int) {
	if l.all || l.wanted[att] || l.wanted[0] {
		return
	}
	l.wanted[att] = true
	if !l.walked || !l.prunable() {
		return
	}
	for _, x := range l.query.list("targetList") {
		if t := asNode(x); att == 0 || t.int("resno") == att {
			a.walk(t, l, l.facts)
		}
	}
}

// use notes that a column of an entry of l's range table matters.
func (a *analyser) use(l *level, rt, att int) {
	if l == nil {
		a.fail("a column from outside of the query")
		return
	}
	if l.policyOf != nil {
		a.use(l.policyOf, l.policyRT, att)
		return
	}
	switch p := a.part(l, rt).(type) {
	case *scan:
		a.useColumn(l, rt, p, att)
		return
	case *level:
		a.want(p, att)
		return
	}
	r := l.entry(rt)
	aliases := "joinaliasvars"
	switch kindOf(r) {
	case rteGroup:
		aliases = "groupexprs"
	case rteJoin:
	default:
		return
	}
	if att == 0 {
		a.walk(r.list(aliases), l, l.facts)
	} else {
		a.walk(at(r.list(aliases), att), l, l.facts)
	}
}

func (a *analyser) useColumn(l *level, rt int, s *scan, att int) {
	switch {
	case att < 0: // ctid, xmin: they change though no column does
		a.opaque(s.relation.name + "." + systemColumns[att])
	case att == 0:
		for i, name := range s.relation.columns {
			if name != "" {
				a.useColumn(l, rt, s, i+1)
			}
		}
	case s.used[att]:
	default:
		s.used[att] = true
		if expression, ok := s.relation.virtual[att]; ok {
			a.walk(a.catalog.read(expression), a.aside(l, rt), l.facts)
		}
	}
}

// src/include/access/sysattr.h
var systemColumns = map[int]string{-1: "ctid", -2: "xmin", -3: "cmin", -4: "xmax", -5: "cmax", -6: "tableoid"}

// walk reads an expression of l, or any part of a tree: whatever node it is, all that it has
// is walked. Facts hold whenever its value matters.
func (a *analyser) walk(x any, l *level, facts []fact) {
	if a.catalog.err != nil {
		return
	}
	if parts, ok := x.(list); ok {
		for _, p := range parts {
			a.walk(p, l, facts)
		}
		return
	}
	n := asNode(x)
	if n == nil {
		return
	}
	switch n.name {
	case "VAR":
		up := l.up(n.int("varlevelsup"))
		a.use(up, n.int("varno"), n.int("varattno"))
		return
	case "SUBLINK":
		a.sublink(n, l, facts)
		return
	case "QUERY": // one that no rule here expects: nothing is known of its rows
		q := a.newLevel(n, l)
		q.all = true
		a.enter(q, nil)
		return
	case "FUNCEXPR":
		a.call(n.oid("funcid"), n.list("args"), l, facts)
	case "AGGREF":
		a.call(n.oid("aggfnoid"), nil, l, facts)
	case "WINDOWFUNC":
		a.call(n.oid("winfnoid"), nil, l, facts)
	case "OPEXPR", "DISTINCTEXPR", "NULLIFEXPR", "SCALARARRAYOPEXPR":
		a.operator(n.oid("opno"), n.list("args"), l, facts)
	case "ROWCOMPAREEXPR":
		for i := range n.list("opnos") {
			a.operator(uint32(asInt(n.list("opnos")[i])), nil, l, facts)
		}
	case "SORTGROUPCLAUSE":
		a.operator(n.oid("eqop"), nil, l, facts)
		a.operator(n.oid("sortop"), nil, l, facts)
	case "SQLVALUEFUNCTION":
		if op := n.int("op"); op < 9 { // what follows is who asks, and where (SQLValueFunctionOp, primnodes.h)
			a.timed(sqlTimes[op])
		}
	case "NEXTVALUEEXPR":
		a.timed("nextval")
	case "CONST":
		a.literal(n)
	}
	for _, f := range n.fields {
		a.walk(f.value, l, facts)
	}
}

var sqlTimes = [9]string{"current_date", "current_time", "current_time", "current_timestamp", "current_timestamp",
	"localtime", "localtime", "localtimestamp", "localtimestamp"}

// Kinds of queries in expressions (SubLinkType, src/include/nodes/primnodes.h).
const (
	existsSublink = 0
	anySublink    = 2
)

func (a *analyser) sublink(n *node, l *level, facts []fact) {
	a.walk(n.get("testexpr"), l, facts)
	q := n.node("subselect")
	if q == nil {
		a.fail("a query in an expression that isn't there")
		return
	}
	s := a.newLevel(q, l)
	s.all = n.int("subLinkType") != existsSublink
	if a.filters[n] && n.int("subLinkType") == anySublink && s.transparent() {
		facts = with(facts, a.members(n.get("testexpr"), l, s))
	}
	a.enter(s, facts)
}

// members are the facts of x in (select y ...): where that is a condition, no row counts
// whose y isn't x.
func (a *analyser) members(x any, l, s *level) (facts []fact) {
	if conditions, ok := x.(list); ok {
		for _, c := range conditions {
			facts = append(facts, a.members(c, l, s)...)
		}
		return facts
	}
	n := asNode(x)
	if n == nil {
		return nil
	}
	if n.name == "BOOLEXPR" && n.text("boolop") == "and" {
		return a.members(n.list("args"), l, s)
	}
	args := n.list("args")
	if n.name != "OPEXPR" || len(args) != 2 || !a.comparesText(n) {
		return nil
	}
	p := asNode(args[1])
	for p != nil && p.name == "RELABELTYPE" {
		p = p.node("arg")
	}
	if p == nil || p.name != "PARAM" || p.int("paramkind") != 2 { // PARAM_SUBLINK
		return nil
	}
	left := a.term(args[0], l)
	right, ok := a.output(s, p.int("paramid"))
	if !ok || !left.ok() {
		return nil
	}
	return []fact{{a: left, b: right}}
}

func (a *analyser) operator(oid uint32, args list, l *level, facts []fact) {
	if oid >= firstNormal { // those of Postgres itself read nothing
		a.call(a.catalog.code(oid), args, l, facts)
	}
}

// call is of a function or an aggregate.
func (a *analyser) call(oid uint32, args list, l *level, facts []fact) {
	if a.catalog.err != nil {
		return
	}
	f := a.catalog.function(oid)
	for _, part := range f.parts {
		if oid >= firstNormal {
			a.call(part, nil, l, facts)
		}
	}
	switch {
	case len(f.parts) > 0:
	case a.declared(f):
	case oid < firstNormal && f.volatility == "i":
	case f.body != "":
		a.body(oid, f, args, l, facts)
	case oid < firstNormal:
		a.system(f)
	case f.volatility != "i": // Postgres itself relies on what is declared to be immutable
		a.opaque(f.name)
	}
}

// body reads a function whose names are resolved: begin atomic, or return.
func (a *analyser) body(oid uint32, f *function, args list, l *level, facts []fact) {
	if contains(l.under, oid) {
		a.opaque(f.name) // it calls itself
		return
	}
	arguments := map[int]term{}
	for i, x := range args {
		if named := asNode(x); named != nil && named.name == "NAMEDARGEXPR" {
			arguments[named.int("argnumber")+1] = a.term(named.get("arg"), l)
		} else {
			arguments[i+1] = a.term(x, l)
		}
	}
	if len(args) < f.arguments && f.defaults != "" { // Postgres puts them in when it plans
		a.walk(a.catalog.read(f.defaults), a.newLevel(&node{}, nil), nil)
	}
	for _, q := range queries(a.catalog.read(f.body)) {
		if !selects(q) {
			a.opaque(f.name)
			return
		}
		s := a.newLevel(q, nil)
		s.all, s.arguments = true, arguments
		s.under = append(l.under[:len(l.under):len(l.under)], oid)
		a.enter(s, facts)
	}
}

// queries are those of a tree of statements.
func queries(x any) (all []*node) {
	switch x := x.(type) {
	case list:
		for _, y := range x {
			all = append(all, queries(y)...)
		}
	case *node:
		if x.name == "QUERY" {
			return []*node{x}
		}
	}
	return all
}

// selects says whether a query reads, and does nothing else.
func selects(q *node) bool {
	return q.int("commandType") == 1 && !q.flag("hasModifyingCTE") && q.get("utilityStmt") == nil && len(q.list("rowMarks")) == 0
}

func contains(oids []uint32, oid uint32) bool { return slices.Contains(oids, oid) }
