package triggers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
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
		if !slices.Contains(x.columns, name) {
			return "", nil, fmt.Errorf("there is no column %q: its columns are %s", name, strings.Join(x.columns, ", "))
		}
		column := pgx.Identifier{name}.Sanitize()
		if values[i] == nil {
			where = append(where, column+" is null")
			continue
		}
		args = append(args, *values[i])
		where = append(where, fmt.Sprintf("%s = $%d", column, len(args)))
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

// rowScope puts into words what a template gives. parts are its literals, each with
// the column that follows, and then of each column whether it is NULL and its value
// in a scope, null if that is too long.
func rowScope(template string, scope *string, parts json.RawMessage) (RowScope, error) {
	s := RowScope{Template: template}
	if scope != nil {
		s.Scope = *scope
		return s, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(parts, &list); err != nil {
		return s, err
	}
	length := 0
	column := 0
	columns := (len(list) - 1) / 3 // of n+1 literals and 2n more
	for _, raw := range list[:columns+1] {
		var part struct{ Text, Column string }
		if err := json.Unmarshal(raw, &part); err != nil {
			return s, err
		}
		length += len(part.Text)
		if column == columns {
			break
		}
		var null bool
		var text *string
		at := columns + 1 + 2*column
		if err := errors.Join(json.Unmarshal(list[at], &null), json.Unmarshal(list[at+1], &text)); err != nil {
			return s, err
		}
		switch {
		case null:
			s.Why = part.Column + " is NULL"
			return s, nil
		case text == nil:
			s.Why = part.Column + " is too long for a scope"
			return s, nil
		}
		length += len(*text)
		column++
	}
	if s.Why = "it would be a name that is reserved"; length > 256 {
		s.Why = fmt.Sprintf("it would have %d bytes, and a scope has at most 256", length)
	}
	return s, nil
}

// rowOwner puts into words whom an audience column names.
func rowOwner(column string, raw json.RawMessage) (RowOwner, error) {
	o := RowOwner{Column: column}
	var said struct {
		Null  bool
		Users []*string
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return o, err
	}
	for _, u := range said.Users {
		if u != nil && *u != "" {
			o.Users = append(o.Users, *u)
		}
	}
	switch {
	case len(o.Users) > 0:
	case said.Null:
		o.Why = column + " is NULL"
	case len(said.Users) > 0:
		o.Why = column + " is empty"
	default:
		o.Why = column + " holds nobody's id: it is empty, or longer than 1024 bytes"
	}
	return o, nil
}

// example is a column whose update tells of nothing but itself, if there is one.
func (x *explainer) example() string {
	for _, c := range x.Feed.Columns {
		return c
	}
	for _, c := range x.columns {
		inScope := slices.ContainsFunc(x.Feed.Scopes, func(t string) bool { return strings.Contains(t, "{"+c+"}") })
		if !slices.Contains(x.Key, c) && !slices.Contains(x.Feed.Audience, c) && !inScope {
			return c
		}
	}
	return x.columns[len(x.columns)-1]
}

// notification is what pgbell.ring or pgbell.ring_change would send.
func (x *explainer) notification(ctx context.Context, change, rung string) error {
	if x.Feed.Volatile {
		return x.tx.QueryRow(ctx, `select case when octet_length(p) <= 7900 then p else pgbell.reset_payload($1, $5, $4, 'too large') end
			from (select concat('{"v":1,"table":', to_json($1::text), ',"op":', to_json($5::text), ',"at":', to_json(clock_timestamp() at time zone 'UTC'), ',',
				substr(left($2, -1), 2), case when $5 = 'update' then ',"changed":[' || to_json($3::text) || ']' end, '}') p) p`,
			x.Table, change, x.Changed, x.Feed.Scopes, x.Op).Scan(&x.Notification)
	}
	return x.tx.QueryRow(ctx, `select h || case when octet_length(h || '["' || $2 || '"]}') <= 7900 then '["' || $2 || '"]}' else 'null}' end
		from (select concat('{"v":1,"table":', to_json($1::text), ',"op":', to_json($3::text), ',"scopes":') h) h`, x.Table, rung, x.Op).Scan(&x.Notification)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
