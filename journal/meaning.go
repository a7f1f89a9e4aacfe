package journal

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal/scope"
)

// The kinds of fields. The first three are a value's text, which may be left out if it is
// longer than any scope or user id.
const (
	kindText    = "text"
	kindNumber  = "number"
	kindBoolean = "boolean"
	kindList    = "list" // user ids, as a JSON array; empty: too many to be looked at
	kindJSON    = "json" // left out if it is too long to travel
)

var textKinds = []string{kindText, kindNumber, kindBoolean}

// width returns how many facts of a row there are, or reports false: facts are not what s
// says.
func (s *spec) width(op bus.Op, facts []fact) (width int, ok bool) {
	width = len(s.kinds)
	if op == bus.OpUpdate {
		width = 2*width + s.changed
	}
	return width, width > 0 && len(facts)%width == 0
}

// row splits the facts of a row into its two sides, before and after, and the names of the
// columns that changed.
func (s *spec) row(op bus.Op, facts []fact) (old, new, changed []fact) {
	k := len(s.kinds)
	switch op {
	case bus.OpInsert:
		return nil, facts, nil
	case bus.OpDelete:
		return facts, nil, nil
	}
	return facts[:k], facts[k : 2*k], facts[2*k:]
}

// changes returns what facts mean, or reports false: they are not what s says.
// tooMany: of an audience that is not known in full, so that a reset is due.
func (s *spec) changes(op bus.Op, facts []fact) (changes []Change, tooMany, ok bool) {
	width, ok := s.width(op, facts)
	if !ok {
		return nil, false, false
	}
	for ; len(facts) > 0; facts = facts[width:] {
		old, new, changed := s.row(op, facts[:width])
		side := new
		if op == bus.OpDelete {
			side = old
		}
		c := Change{Data: s.data(side)}
		var all bool // that its audiences are
		c.Side, all = s.side(side)
		if op == bus.OpUpdate {
			c.Changed = names(changed)
			if !same(old, new) {
				before, known := s.side(old)
				all = all && known
				if !before.equal(c.Side) {
					c.Old = &before
				}
			}
		}
		if len(c.Scopes) > 0 || c.Old != nil && len(c.Old.Scopes) > 0 {
			changes = append(changes, c)
			tooMany = tooMany || !all
		}
	}
	return changes, tooMany, true
}

// names returns those of columns that changed, without the empty one, which stands for
// columns that the definition doesn't know.
func names(facts []fact) []string {
	n := 0
	for _, f := range facts {
		if f.text != "" {
			n++
		}
	}
	list := make([]string, 0, n)
	for _, f := range facts {
		if f.text != "" {
			list = append(list, f.text)
		}
	}
	return list
}

func same(a, b []fact) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// side says who hears of a row. known: its audience is.
func (s *spec) side(row []fact) (side Side, known bool) {
	side.Scopes = make([]string, 0, len(s.scopes))
	for _, t := range s.scopes {
		made, ok := t.Make(func(column int) (string, bool) {
			f := row[t.fields[column]]
			return f.text, f.given
		})
		if ok {
			side.Scopes = append(side.Scopes, made)
		}
	}
	side.Audience, known = s.audience(row)
	if len(s.key) > 0 {
		side.Key = s.object(s.key, row)
	}
	return side, known
}

// audience returns who may hear of a row. known: that is all of them.
func (s *spec) audience(row []fact) (a bus.Audience, known bool) {
	if s.everyone {
		return bus.Audience{}, true
	}
	var room [4]string
	users := room[:0]
	var groups []string
	for _, o := range s.owners {
		if o.group == nil {
			if users, known = s.names(users, row, o.fields[0]); !known {
				return bus.Only(), false
			}
			continue
		}
		if groups, known = s.groups(groups, row, o); !known {
			return bus.Only(), false
		}
	}
	return bus.Named(users, groups), true
}

// names appends to list what a field of users, or of what tells groups apart, has. known:
// that is all of them.
func (s *spec) names(list []string, row []fact, field int) (all []string, known bool) {
	switch f := row[field]; {
	case !f.given:
	case s.kinds[field] != kindList:
		list = appendUser(list, f.text)
	case f.text == "":
		return list, false
	default:
		var array any
		if !utf8.ValidString(f.text) || json.Unmarshal([]byte(f.text), &array) != nil { // else ids that differ would become the same one
			return list, false
		}
		list = appendUsers(list, array)
	}
	return list, true
}

// groups appends to list the groups of an owner that has a template.
func (s *spec) groups(list []string, row []fact, o owner) (all []string, known bool) {
	values := make([][]string, len(o.fields))
	for i, field := range o.fields {
		if values[i], known = s.names(nil, row, field); !known {
			return list, false
		}
	}
	return append(list, o.group.Names(values)...), true
}

func appendUser(users []string, id string) []string {
	if len(id) > scope.MaxName {
		return users
	}
	return append(users, id)
}

// appendUsers appends the elements of an array, of any number of dimensions.
func appendUsers(users []string, list any) []string {
	switch v := list.(type) {
	case string:
		return appendUser(users, v)
	case []any:
		for _, element := range v {
			users = appendUsers(users, element)
		}
	}
	return users
}

// regrouped returns whose groups a write says, as it was or as it became: nil if it says
// none.
func (s *spec) regrouped(op bus.Op, facts []fact) *Regroup {
	if s.regroup < 0 {
		return nil
	}
	r := &Regroup{}
	width, all := s.width(op, facts) // they are known
	for ; all && len(facts) > 0; facts = facts[width:] {
		old, new, _ := s.row(op, facts[:width])
		for _, row := range [][]fact{old, new} {
			if row != nil && all {
				r.Users, all = s.names(r.Users, row, s.regroup)
			}
		}
	}
	if !all {
		return &Regroup{All: true}
	}
	slices.Sort(r.Users)
	r.Users = slices.Compact(r.Users)
	return r
}

// data returns the payload columns of a row, nil if there are none. A value that is too
// long to travel, or no JSON for Go, is left out.
func (s *spec) data(row []fact) json.RawMessage {
	if len(s.payload) == 0 {
		return nil
	}
	return s.object(s.payload, row)
}

// object returns members of a row as a JSON object.
func (s *spec) object(members []member, row []fact) json.RawMessage {
	b := make([]byte, 1, 32)
	b[0] = '{'
	for _, m := range members {
		value, raw := fact{}, true
		if m.json >= 0 {
			value = row[m.json]
		}
		if !value.given && m.text >= 0 {
			value, raw = row[m.text], false
		}
		if raw && !(value.given && valid(value.text)) {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(b, m.name...), ':')
		switch {
		case raw:
			b = append(b, value.text...)
		case !value.given:
			b = append(b, "null"...)
		case s.kinds[m.text] == kindBoolean, s.kinds[m.text] == kindNumber && number(value.text):
			b = append(b, value.text...)
		default:
			b = quoted(b, value.text)
		}
	}
	return append(b, '}')
}

// maxDepth is how deep encoding/json lets JSON be nested.
const maxDepth = 10_000

// valid says whether text is JSON that is valid in an event, too, where it stands in two
// objects.
func valid(text string) bool {
	if len(text) > maxDepth {
		text = "[[" + text + "]]"
	}
	return json.Valid([]byte(text))
}

// number says whether the text of a number is one in JSON, too: NaN is not.
func number(text string) bool {
	return strings.Trim(text, "0123456789") == "" && text != "" || json.Valid([]byte(text))
}

// quoted appends s as a JSON string.
func quoted(b []byte, s string) []byte {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r >= 0x7f }) < 0 {
		b = append(append(b, '"'), s...)
		return append(b, '"')
	}
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can be encoded, and a buffer written to
	return append(b, bytes.TrimSuffix(w.Bytes(), []byte("\n"))...)
}

// equal says whether the same hear of both sides, under the same key.
func (s Side) equal(other Side) bool {
	if len(s.Scopes) != len(other.Scopes) || string(s.Key) != string(other.Key) || !s.Audience.Equal(other.Audience) {
		return false
	}
	for i := range s.Scopes {
		if s.Scopes[i] != other.Scopes[i] {
			return false
		}
	}
	return true
}

// Meaning returns the changes that facts mean under a definition, a row of
// pgbell.definition. A fact that is nil was null. It is for those who look at facts
// outside the journal, as pgbell explain does.
func Meaning(definition []byte, op bus.Op, facts []*string) ([]Change, error) {
	s, err := parseSpec(definition)
	if err != nil {
		return nil, err
	}
	changes, _, ok := s.changes(op, given(facts))
	if !ok {
		return nil, errAnswer
	}
	return changes, nil
}

func given(texts []*string) []fact {
	facts := make([]fact, len(texts))
	for i, t := range texts {
		if t != nil {
			facts[i] = fact{*t, true}
		}
	}
	return facts
}
