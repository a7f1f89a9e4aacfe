package triggers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/journal/scope"
)

// parseKey reads which row is meant, as a condition and its values. The types are
// up to the server, which takes each value as text.
func (x *explainer) parseKey(key string) (string, []any, error) {
	names, values, err := x.keyValues(key)
	if err != nil {
		return "", nil, err
	}
	var where []string
	var args []any
	for i, name := range names {
		at := slices.Index(x.columns, name)
		if at < 0 {
			return "", nil, fmt.Errorf("there is no column %q: its columns are %s", name, strings.Join(x.columns, ", "))
		}
		column := pgx.Identifier{name}.Sanitize()
		if values[i] == nil {
			where = append(where, column+" is null")
			continue
		}
		args = append(args, *values[i])
		where = append(where, fmt.Sprintf("%s %s $%d", column, x.equals[at], len(args)))
	}
	return strings.Join(where, " and "), args, nil
}

func (x *explainer) keyValues(key string) (names []string, values []*string, err error) {
	if strings.HasPrefix(key, "{") {
		return jsonKey(key)
	}
	if len(x.Key) == 1 {
		value := strings.TrimPrefix(key, x.Key[0]+"=")
		return x.Key, []*string{&value}, nil
	}
	for _, part := range strings.Split(key, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			example := append(slices.Clone(x.Key), x.columns...)[:max(1, len(x.Key))]
			return nil, nil, fmt.Errorf("the key has to name its columns, as in %s=..., or as JSON", strings.Join(example, "=...,"))
		}
		names, values = append(names, name), append(values, &value)
	}
	return names, values, nil
}

// jsonKey reads a key as events carry it.
func jsonKey(key string) (names []string, values []*string, err error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(key), &object); err != nil {
		return nil, nil, fmt.Errorf("the key is no JSON object: %w", err)
	}
	if len(object) == 0 {
		return nil, nil, errors.New("the key names no column")
	}
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		raw := bytes.TrimSpace(object[name])
		var text string
		switch {
		case bytes.Equal(raw, []byte("null")):
			values = append(values, nil)
			continue
		case json.Unmarshal(raw, &text) != nil: // a number, or what the type's JSON is
			text = string(raw)
		}
		values = append(values, &text)
	}
	return names, values, nil
}

// value is a field of the row, as the feed's triggers record it.
type value struct {
	name, kind string
	text       *string // nil: the column is NULL, or its value is longer than any scope or user id
	null       bool    // the column is
}

// value returns the field of a column that has one of these kinds.
func (x *explainer) value(column string, kinds ...string) (value, error) {
	i := slices.IndexFunc(x.values, func(v value) bool { return v.name == column && slices.Contains(kinds, v.kind) })
	if i < 0 {
		return value{}, fmt.Errorf("column %q is not among the fields of the feed: attach the table again", column)
	}
	return x.values[i], nil
}

// textKinds are the kinds of fields that hold the text of a value.
var textKinds = []string{"text", "number", "boolean"}

// words says what the feed's templates and audience columns give.
func (x *explainer) words() error {
	for _, template := range x.Feed.Scopes {
		s, err := x.rowScope(template)
		if err != nil {
			return err
		}
		x.Scopes = append(x.Scopes, s)
	}
	for _, element := range x.Feed.Audience {
		name := x.rowOwner
		if scope.IsGroup(element) {
			name = x.rowGroups
		}
		o, err := name(element)
		if err != nil {
			return err
		}
		x.Owners = append(x.Owners, o)
	}
	return nil
}

// rowScope says what a template gives, or why that is nothing.
func (x *explainer) rowScope(template string) (RowScope, error) {
	s := RowScope{Template: template}
	t, err := scope.Parse(template)
	if err != nil {
		return s, err
	}
	var values []value
	for _, column := range t.Columns() {
		v, err := x.value(column, textKinds...)
		if err != nil {
			return s, err
		}
		values = append(values, v)
	}
	made, ok := t.Make(func(column int) (string, bool) {
		v := values[column]
		if v.text == nil {
			return "", false
		}
		return *v.text, true
	})
	if ok {
		s.Scope = made
		return s, nil
	}
	length := len(strings.Join(t.Literals(), ""))
	for _, v := range values {
		if v.null {
			s.Why = v.name + " is NULL"
			return s, nil
		}
		if v.text == nil || len(scope.Encode(*v.text)) > scope.MaxBytes {
			s.Why = v.name + " is too long for a scope"
			return s, nil
		}
		length += len(scope.Encode(*v.text))
	}
	if s.Why = "it would be a name that is reserved"; length > scope.MaxBytes {
		s.Why = fmt.Sprintf("it would have %d bytes, and a scope has at most %d", length, scope.MaxBytes)
	}
	return s, nil
}

// maxUserBytes is the longest user id that a column may hold.
const maxUserBytes = 1024

// rowOwner says whom an audience column names, or why that is nobody.
func (x *explainer) rowOwner(column string) (RowOwner, error) {
	o := RowOwner{Column: column}
	v, all, why, err := x.ids(column)
	if err != nil || why != "" {
		o.Why = why
		return o, err
	}
	o.Users = slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == "" })
	switch {
	case len(o.Users) > 0:
	case v.null:
		o.Why = column + " is NULL"
	case len(all) > 0:
		o.Why = column + " is empty"
	default:
		o.Why = column + " holds nobody's id: it is empty, or longer than 1024 bytes"
	}
	return o, nil
}

// ids returns the field of a column that holds ids, and them, or why they are not looked at.
func (x *explainer) ids(column string) (v value, all []string, why string, err error) {
	if v, err = x.value(column, "list"); err != nil {
		v, err = x.value(column, textKinds...)
	}
	if err != nil || v.text == nil {
		return v, nil, "", err
	}
	var ids any = *v.text // or arrays of texts
	if v.kind == "list" {
		if *v.text == "" {
			x.TooMany = true
			return v, nil, column + " holds too many ids to look at", nil
		}
		if err := json.Unmarshal([]byte(*v.text), &ids); err != nil {
			return v, nil, "", err
		}
	}
	return v, idsIn(ids), "", nil
}

// idsIn returns the texts in an array of any number of dimensions that are short enough
// for a user id.
func idsIn(list any) (ids []string) {
	switch v := list.(type) {
	case string:
		if len(v) <= maxUserBytes {
			ids = append(ids, v)
		}
	case []any:
		for _, element := range v {
			ids = append(ids, idsIn(element)...)
		}
	}
	return ids
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
