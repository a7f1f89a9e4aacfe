package triggers

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Migration returns the text of a goose migration whose Up attaches f. Its Down
// attaches former again, the feed that the table had before; without one, or if it
// was the same, it detaches the table. It needs no database, so it checks f's form
// only; the table is written as given, and looked up when the migration runs.
func Migration(f Feed, former *Feed) (string, error) {
	up, down, err := SQL(f, former)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`-- +goose Up
-- +goose StatementBegin
%s
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
%s
-- +goose StatementEnd
`, up, down), nil
}

// SQL returns the statement that attaches f, and the one that undoes it as
// Migration's Down does.
func SQL(f Feed, former *Feed) (do, undo string, err error) {
	if err := f.Validate(); err != nil {
		return "", "", err
	}
	w := literalWriter{}
	do = w.attach(f)
	if former != nil && !sameSpec(f, *former) {
		former := *former
		former.Table = f.Table
		undo = w.attach(former)
	} else {
		undo = "select pgbell.detach(" + w.literal(f.Table) + "::regclass);"
	}
	return do, undo, w.err
}

// sameSpec says whether two feeds of one table are attached alike.
func sameSpec(a, b Feed) bool {
	same := func(a, b []string) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }
	return slices.Equal(a.Scopes, b.Scopes) && same(a.Audience, b.Audience) && same(a.Columns, b.Columns) &&
		slices.Equal(a.Payload, b.Payload) && a.Volatile == b.Volatile && a.Regroup == b.Regroup
}

// literalWriter writes SQL literals and keeps the first error.
type literalWriter struct{ err error }

// attach writes the call that attaches f.
func (w *literalWriter) attach(f Feed) string {
	args := []string{w.literal(f.Table) + "::regclass", "scopes => " + w.array(f.Scopes)}
	for _, list := range []struct {
		name   string
		values []string
	}{{"audience", f.Audience}, {"columns", f.Columns}, {"payload", f.Payload}} {
		if list.values != nil {
			args = append(args, list.name+" => "+w.array(list.values))
		}
	}
	if f.Volatile {
		args = append(args, "durable => false")
	}
	if f.Regroup != "" {
		args = append(args, "regroup => "+w.literal(f.Regroup))
	}
	return "select pgbell.attach(\n  " + strings.Join(args, ",\n  ") + "\n);"
}

func (w *literalWriter) array(values []string) string {
	if len(values) == 0 {
		return "array[]::text[]"
	}
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = w.literal(v)
	}
	return "array[" + strings.Join(parts, ", ") + "]"
}

// literal quotes s. What could be read in two ways (a backslash, by
// standard_conforming_strings) or could end goose's statement (a line of its
// own) goes into an escape string.
func (w *literalWriter) literal(s string) string {
	if strings.ContainsRune(s, 0) || !utf8.ValidString(s) {
		w.err = fmt.Errorf("%q can't be written in SQL: not a text", s)
		return ""
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '\\' || unicode.IsControl(r) }) {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	var b strings.Builder
	b.WriteString("E'")
	for _, r := range s {
		switch {
		case r == '\'':
			b.WriteString("''")
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteString("'")
	return b.String()
}
