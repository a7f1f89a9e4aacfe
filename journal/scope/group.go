package scope

import (
	"errors"
	"fmt"
	"strings"
)

// MaxName is the longest name of a group there is, and the longest user id, in bytes.
const MaxName = 1024

// Group is a template of the names of groups: as a scope template, but that names are
// compared as they are, so that nothing is percent-encoded.
type Group struct{ t Template }

// IsGroup says whether an element of an audience is a template of groups. If not, it is
// the name of a column of users.
func IsGroup(element string) bool { return strings.ContainsAny(element, "{}") }

// OwnerColumns returns the columns that an element of an audience names: one of users, or
// those in a template of groups; none if that can't be read.
func OwnerColumns(element string) []string {
	if !IsGroup(element) {
		return []string{element}
	}
	g, _ := ParseGroup(element)
	return g.Columns()
}

// ParseGroup reads a template of groups such as `team:{team_id}`. It refuses one with
// nothing between two columns, since one group could have the name of another.
func ParseGroup(s string) (Group, error) {
	t, err := parse(s, func(literal string) string { return literal })
	for i := 1; err == nil && i < len(t.columns); i++ {
		if t.literals[i] == "" {
			err = errors.New("nothing stands between two columns: one group could have the name of another")
		}
	}
	if err == nil && strings.HasPrefix(t.literals[0], ":") {
		err = errors.New("it begins with a colon, as no group's name does")
	}
	if err != nil {
		return Group{}, fmt.Errorf("group template %q: %w", s, err)
	}
	return Group{t}, nil
}

// Columns returns the names of the columns that g uses, in order. The slice is the
// Group's own.
func (g Group) Columns() []string { return g.t.columns }

// Make returns the name of the group that values give, one for each of g's columns.
// There is none if it would be empty, begin with a colon or be longer than [MaxName], or
// if a value has the text that stands behind it: then other values could give the same
// name.
func (g Group) Make(values []string) (name string, ok bool) {
	var b strings.Builder
	b.WriteString(g.t.literals[0])
	for i, value := range values {
		literal := g.t.literals[i+1]
		if i+1 < len(values) && strings.Index(value+literal, literal) < len(value) {
			return "", false
		}
		if b.Len()+len(value)+len(literal) > MaxName {
			return "", false
		}
		b.WriteString(value)
		b.WriteString(literal)
	}
	name = b.String()
	return name, name != "" && name[0] != ':'
}

// Names returns the groups that a row names, each of g's columns having some values: one, or
// those of an array, or none.
func (g Group) Names(values [][]string) []string {
	var names []string
	row := make([]string, len(values))
	var fill func(column int)
	fill = func(column int) {
		if column == len(values) {
			if name, ok := g.Make(row); ok {
				names = append(names, name)
			}
			return
		}
		for _, value := range values[column] {
			row[column] = value
			fill(column + 1)
		}
	}
	fill(0)
	return names
}
