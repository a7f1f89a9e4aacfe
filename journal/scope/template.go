package scope

import (
	"fmt"
	"strings"
)

// Template is a scope template: text with column names in braces, {{ and }} for
// literal braces. The zero value is the empty text.
type Template struct {
	literals []string // canonical; one more than columns
	columns  []string
}

// Parse reads a scope template such as `project:{project_id}`.
func Parse(s string) (Template, error) {
	t, err := parse(s, Canonical)
	if err != nil {
		return t, fmt.Errorf("scope template %q: %w", s, err)
	}
	return t, nil
}

// parse reads a template whose literals have a form of their own.
func parse(s string, form func(string) string) (Template, error) {
	var t Template
	var literal strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c:
			literal.WriteByte(c)
			i++
		case c == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return Template{}, fmt.Errorf("the brace at byte %d is not closed (a literal one is written {{)", i+1)
			}
			if end == 1 {
				return Template{}, fmt.Errorf("no column name in the braces at byte %d", i+1)
			}
			t.literals = append(t.literals, form(literal.String()))
			t.columns = append(t.columns, s[i+1:i+end])
			literal.Reset()
			i += end
		case c == '}':
			return Template{}, fmt.Errorf("the brace at byte %d closes nothing (a literal one is written }})", i+1)
		default:
			literal.WriteByte(c)
		}
	}
	t.literals = append(t.literals, form(literal.String()))
	return t, nil
}

// Columns returns the names of the columns that t uses, in order. The slice is
// the Template's own.
func (t Template) Columns() []string { return t.columns }

// Matches says whether some row could give rise to scope, which is canonical.
func (t Template) Matches(scope string) bool {
	if len(t.literals) == 0 {
		return scope == ""
	}
	first, last := t.literals[0], t.literals[len(t.literals)-1]
	if len(t.columns) == 0 {
		return scope == first
	}
	rest, ok := strings.CutPrefix(scope, first)
	if !ok {
		return false
	}
	// Leftmost matches leave the most for what follows, so that none is missed.
	for _, literal := range t.literals[1 : len(t.literals)-1] {
		_, after, found := strings.Cut(rest, literal)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, last)
}

// Make returns the scope of a row, value giving the text of each of t's columns by its
// place among [Template.Columns]. There is none if a value is missing, if the scope
// would be longer than [MaxBytes], or if its name would be reserved.
func (t Template) Make(value func(column int) (text string, ok bool)) (scope string, ok bool) {
	if len(t.columns) == 0 {
		scope = t.literals[0]
		return scope, len(scope) <= MaxBytes && !Reserved(scope)
	}
	var room [MaxBytes]byte
	b := append(room[:0], t.literals[0]...)
	for i := range t.columns {
		text, ok := value(i)
		if !ok || len(b)+len(text) > MaxBytes {
			return "", false
		}
		b = append(append(b, Encode(text)...), t.literals[i+1]...)
	}
	if len(b) > MaxBytes || Reserved(string(b)) {
		return "", false
	}
	return string(b), true
}

// Literals returns what stands around the columns, in canonical form: one more than
// there are columns. The slice is the Template's own.
func (t Template) Literals() []string { return t.literals }

// ParseAll parses each of texts.
func ParseAll(texts []string) ([]Template, error) {
	templates := make([]Template, len(texts))
	for i, text := range texts {
		var err error
		if templates[i], err = Parse(text); err != nil {
			return nil, err
		}
	}
	return templates, nil
}

// Any returns the template that every scope matches.
func Any() Template { return Template{literals: []string{"", ""}, columns: []string{""}} }
