package deps

import (
	"fmt"
	"regexp"
	"strings"
)

// declaration is the line of a function's comment that says which tables it reads.
var declaration = regexp.MustCompile(`(?m)^\s*pgbell: reads (.+?)\s*$`)

// declared says whether the comment of a function says what it reads, and takes that for
// what it depends on: all rows and all columns of the tables.
func (a *analyser) declared(f *function) bool {
	m := declaration.FindStringSubmatch(f.comment)
	if m == nil {
		return false
	}
	if m[1] == "nothing" {
		return true
	}
	for _, name := range strings.Split(m[1], ",") {
		name = strings.TrimSpace(name)
		oid := a.catalog.table(name)
		if oid == 0 {
			if a.catalog.err == nil {
				a.catalog.err = fmt.Errorf("the comment of %s says that it reads %s: there is no such table (name it with its schema)", f.name, name)
			}
			return true
		}
		s := &scan{relation: a.catalog.relation(oid), used: map[int]bool{}}
		l := a.newLevel(&node{}, nil)
		a.scan(s, 1, nil, l)
		a.useColumn(l, 1, s, 0)
	}
	return true
}
