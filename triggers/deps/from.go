package deps

// Kinds of joins (JoinType, src/include/nodes/nodes.h).
const (
	joinInner = iota
	joinLeft
	joinFull
	joinRight
)

// inner returns what holds of all rows of a part of l's from: conditions, and what those of
// inner parts have in them. Of an outer join only the side that is kept says something: the
// other may be null, and then nothing is equal there.
func (a *analyser) inner(x any, l *level) (facts []fact) {
	n := asNode(x)
	if n == nil {
		return nil
	}
	switch n.name {
	case "FROMEXPR":
		facts = a.equalities(n.get("quals"), l)
		for _, part := range n.list("fromlist") {
			facts = append(facts, a.inner(part, l)...)
		}
	case "JOINEXPR":
		switch n.int("jointype") {
		case joinInner:
			facts = append(a.equalities(n.get("quals"), l), a.inner(n.get("larg"), l)...)
			facts = append(facts, a.inner(n.get("rarg"), l)...)
		case joinLeft:
			facts = a.inner(n.get("larg"), l)
		case joinRight:
			facts = a.inner(n.get("rarg"), l)
		}
	case "RANGETBLREF":
		rt := n.int("rtindex")
		if p, ok := a.part(l, rt).(*level); ok {
			facts = append(a.outputs(l, rt, p), a.inner(p.query.get("jointree"), p)...)
		}
	}
	return facts
}

// enter reads a query: all relations in its from, where around holds of each row that
// matters. Expressions are walked later, when all that they can name is known.
func (a *analyser) enter(l *level, around []fact) {
	if a.catalog.err != nil {
		return
	}
	from := l.query.get("jointree")
	l.facts = a.matched(from, with(around, a.inner(from, l)), l)
	a.from(from, around, l)
	a.operands(l.query.get("setOperations"), around, l)
	a.todo = append(a.todo, func() { a.walkLevel(l) })
}

// operands are those of union, intersect and except. What holds of the result holds of none
// of them: around has nothing of that.
func (a *analyser) operands(x any, around []fact, l *level) {
	n := asNode(x)
	if n == nil {
		return
	}
	if n.name == "RANGETBLREF" {
		if p, ok := a.part(l, n.int("rtindex")).(*level); ok {
			p.all = true
		}
		a.visit(n.int("rtindex"), around, l)
		return
	}
	a.operands(n.get("larg"), around, l)
	a.operands(n.get("rarg"), around, l)
}

// from visits what stands in a part of l's from. A row that doesn't fulfil the facts is
// in no row of the result, nor does it keep one out: a row of the side that may be null
// keeps a null row out, if it fulfils the join's condition; whether that null row would
// come through is for the conditions around to say, which null never fulfils.
func (a *analyser) from(x any, around []fact, l *level) {
	n := asNode(x)
	if n == nil {
		return
	}
	left, right := n.get("larg"), n.get("rarg")
	switch n.name {
	case "RANGETBLREF":
		a.visit(n.int("rtindex"), around, l)
	case "FROMEXPR":
		around = a.matched(n, with(around, a.inner(n, l)), l)
		for _, part := range n.list("fromlist") {
			a.from(part, around, l)
		}
	case "JOINEXPR":
		switch n.int("jointype") {
		case joinInner:
			around = a.matched(n, with(around, a.inner(n, l)), l)
			a.from(left, around, l)
			a.from(right, around, l)
		case joinRight:
			left, right = right, left
			fallthrough
		case joinLeft:
			kept := with(around, a.inner(left, l))
			a.from(left, a.matched(n, kept, l), l)
			a.from(right, a.matched(n, with(kept, a.equalities(n.get("quals"), l), a.inner(right, l)), l), l)
		default:
			a.from(left, around, l)
			a.from(right, around, l)
		}
	default:
		a.fail("a from with " + n.name)
	}
}

func with(facts []fact, more ...[]fact) []fact {
	facts = facts[:len(facts):len(facts)]
	for _, m := range more {
		facts = append(facts, m...)
	}
	return facts
}

func (a *analyser) visit(rt int, around []fact, l *level) {
	switch p := a.part(l, rt).(type) {
	case *scan:
		a.scan(p, rt, around, l)
	case *level:
		if p.transparent() {
			around = with(around, a.outputs(l, rt, p))
		} else {
			around = without(around, p)
		}
		a.enter(p, around)
	default:
		r := l.entry(rt)
		switch kindOf(r) {
		case rteCTE, rteRelation, rteResult:
		case rteNamedTuplestore:
			a.opaque(r.text("enrname"))
		default: // an expression, or something new
			a.todo = append(a.todo, func() {
				for _, f := range r.fields {
					a.walk(f.value, l, around)
				}
			})
		}
	}
	if sample := l.entry(rt).get("tablesample"); sample != nil {
		a.timed("tablesample")
		a.todo = append(a.todo, func() { a.walk(sample, l, around) })
	}
}

// without takes out what would bring facts from the outside into p.
func without(facts []fact, p *level) (kept []fact) {
	for _, f := range facts {
		if f.output != p {
			kept = append(kept, f)
		}
	}
	return kept
}

func (a *analyser) scan(s *scan, rt int, around []fact, l *level) {
	if !s.relation.own || (s.relation.kind != "r" && s.relation.kind != "p") {
		a.opaque(s.relation.name)
		return
	}
	s.equals, s.level, s.rt, s.equal = map[int]Value{}, l, rt, neighbours(around)
	for att, column := range s.relation.columns {
		if _, virtual := s.relation.virtual[att+1]; virtual || column == "" {
			continue // no trigger sees it
		}
		if v, ok := (term{level: l, rt: rt, att: att + 1}).resolve(s.equal); ok {
			s.equals[att+1] = v.value
		}
	}
	a.scans = append(a.scans, s)
	a.policies(s, rt, around, l)
}

// policies walks what row security asks of each row, whoever reads.
func (a *analyser) policies(s *scan, rt int, around []fact, l *level) {
	for _, text := range s.relation.policies {
		if contains(l.under, s.relation.oid) {
			return
		}
		p := a.aside(l, rt)
		p.under = append(p.under[:len(p.under):len(p.under)], s.relation.oid)
		expression := a.catalog.read(text)
		a.todo = append(a.todo, func() { a.walk(expression, p, around) })
	}
}

// aside is a level for an expression about entry rt of l, from the catalog.
func (a *analyser) aside(l *level, rt int) *level {
	p := a.newLevel(&node{}, nil)
	p.under, p.policyOf, p.policyRT = l.under, l, rt
	return p
}
