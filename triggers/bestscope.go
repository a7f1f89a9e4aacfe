package triggers

import (
	"slices"
	"strings"

	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/triggers/deps"
)

// What a scope is worth for the columns in it.
const (
	byParameter = 100 // a constant is of few values, and counts 1
	byLookup    = 50  // one column of a scope at most
	byKey       = 10_000
)

// worth says how few changes a scope with these columns tells of beside those that matter; a
// negative one does not tell of all that do.
func worth(columns []string, s deps.Scan, lookups bool) int {
	n := len(columns)
	for _, c := range columns {
		i := slices.IndexFunc(s.Equals, func(e deps.Equality) bool { return e.Column == c })
		if i < 0 {
			if !lookups || !slices.ContainsFunc(s.Among, func(m deps.Among) bool { return m.Column == c }) {
				return -1
			}
			lookups = false
			n += byLookup
			continue
		}
		if s.Equals[i].Value.Param > 0 {
			n += byParameter
		}
	}
	if len(s.Key) > 0 && !slices.ContainsFunc(s.Key, func(c string) bool { return !slices.Contains(columns, c) }) {
		n += byKey
	}
	return n
}

// bestOf returns the template that is worth most, the first of equals.
func bestOf(templates []string, s deps.Scan, lookups bool) (best string, rank int) {
	rank = -1
	for _, text := range templates {
		if t, err := scope.Parse(text); err == nil {
			if n := worth(t.Columns(), s, lookups); n > rank {
				best, rank = text, n
			}
		}
	}
	return best, rank
}

// columnIn says whether a template names a column.
func columnIn(template, column string) bool {
	t, err := scope.Parse(template)
	return err == nil && slices.Contains(t.Columns(), column)
}

// shown is a scope with the parameters in place of their values, and with what a lookup reads.
func shown(template string, s deps.Scan) string {
	t, _ := scope.Parse(template)
	b := t.Literals()[0]
	for i, c := range t.Columns() {
		for _, e := range s.Equals {
			if e.Column != c {
				continue
			}
			if e.Value.Param > 0 {
				b += e.Value.String()
			} else {
				b += scope.Encode(e.Value.Text)
			}
		}
		for _, m := range s.Among {
			if m.Column == c {
				b += "{" + strings.TrimPrefix(m.Of.String(), "public.") + "}"
			}
		}
		b += t.Literals()[i+1]
	}
	return b
}
