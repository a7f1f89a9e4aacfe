package journal

import (
	"fmt"
	"strings"
)

// MaxScopeBytes is the longest scope there is, in bytes of its canonical form.
const MaxScopeBytes = 256

// scopeByte says whether b stands for itself in a scope. All others are
// percent-encoded, so that no value can forge a frame of a stream or break an
// htmx trigger.
func scopeByte(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	}
	return strings.IndexByte("_.:@/+=~-", b) >= 0
}

// CanonicalScope brings a scope to the form in which scopes are compared: bytes
// outside A-Za-z0-9_.:@/+=~- are percent-encoded, with upper-case digits. What
// is percent-encoded already stays so, hence doing it twice changes nothing.
func CanonicalScope(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case scopeByte(c):
			b.WriteByte(c)
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteString(strings.ToUpper(s[i : i+3]))
			i += 2
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

func isHex(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F'
}

// Template is a scope template: text with column names in braces, {{ and }} for
// literal braces. The zero value is the empty text.
type Template struct {
	literals []string // canonical; one more than columns
	columns  []string
}

// ParseTemplate reads a scope template such as `project:{project_id}`.
func ParseTemplate(s string) (Template, error) {
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
				return Template{}, fmt.Errorf("scope template %q: the brace at byte %d is not closed (a literal one is written {{)", s, i+1)
			}
			if end == 1 {
				return Template{}, fmt.Errorf("scope template %q: no column name in the braces at byte %d", s, i+1)
			}
			t.literals = append(t.literals, CanonicalScope(literal.String()))
			t.columns = append(t.columns, s[i+1:i+end])
			literal.Reset()
			i += end
		case c == '}':
			return Template{}, fmt.Errorf("scope template %q: the brace at byte %d closes nothing (a literal one is written }})", s, i+1)
		default:
			literal.WriteByte(c)
		}
	}
	t.literals = append(t.literals, CanonicalScope(literal.String()))
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
