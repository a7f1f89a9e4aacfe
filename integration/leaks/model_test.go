package leaks

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
)

// tokens are the texts by which a value is known wherever it turns up.
var tokens = regexp.MustCompile(`[ksh]x[0-9a-f]{12}x`)

// token returns one that is nowhere else: kind is k for keys, s for what travels as
// payload, h for what never does.
func token(kind string) string { return fmt.Sprintf("%sx%012xx", kind, rand.Uint64N(1<<48)) }

// row is one version of a row, in the form in which it goes to SQL.
type row struct {
	ID      string    `json:"id"`
	Project *int      `json:"project_id"`
	Owner   *string   `json:"owner"`
	Members []*string `json:"members"`
	Secret  string    `json:"secret"`
	Hidden  string    `json:"hidden"`
	born    int       // in which order rows were made
}

// table is a table and how it is attached now.
type table struct {
	name, each  string // its scopes: name, project:{project_id} and each:{id}
	durable     bool
	partitioned bool
	attached    bool
	audience    []string // nil: everyone
}

func (tb *table) scopes() []string {
	return []string{tb.name, "project:{project_id}", tb.each + ":{id}"}
}

// matches says whether some row of tb could have scope.
func (tb *table) matches(scope string) bool {
	return scope == tb.name || strings.HasPrefix(scope, "project:") || strings.HasPrefix(scope, tb.each+":")
}

// partition returns the partition that holds r.
func (tb *table) partition(r *row) string {
	if *r.Project == 1 {
		return tb.name + "_1"
	}
	return tb.name + "_2"
}

// side is a row as the feed of its table shows it.
type side struct {
	*row
	scopes   []string
	everyone bool
	users    []string
	groups   []string
	key      string
	data     string
}

func (tb *table) side(r *row) *side {
	if r == nil {
		return nil
	}
	s := &side{row: r, scopes: []string{tb.name, tb.each + ":" + r.ID}, everyone: tb.audience == nil}
	if r.Project != nil {
		s.scopes = append(s.scopes, fmt.Sprintf("project:%d", *r.Project))
	}
	if s.key = fmt.Sprintf(`{"id":%q}`, r.ID); tb.partitioned {
		s.key = fmt.Sprintf(`{"id":%q,"project_id":%d}`, r.ID, *r.Project)
	}
	if tb.durable {
		s.data = secretly(r.Secret)
	}
	ids := map[string][]*string{"owner": {r.Owner}, "members": r.Members}
	if r.Project != nil {
		ids["project_id"] = []*string{new(fmt.Sprint(*r.Project))}
	}
	for _, element := range tb.audience {
		before, column, group := strings.Cut(strings.TrimSuffix(element, "}"), "{")
		if !group {
			column = element
		}
		for _, id := range ids[column] {
			switch {
			case id != nil && group && before+*id != "":
				s.groups = append(s.groups, before+*id)
			case id != nil && !group && *id != "":
				s.users = append(s.users, *id)
			}
		}
	}
	return s
}

func secretly(token string) string { return fmt.Sprintf(`{"secret":%q}`, token) }

// shows says whether user may see s at scope, by a membership.
func (s *side) shows(user, scope string, by teams) bool {
	return s != nil && slices.Contains(s.scopes, scope) && (s.everyone || slices.Contains(s.users, user) ||
		slices.ContainsFunc(s.groups, func(g string) bool { return slices.Contains(by[user], g) }))
}

// change is what a commit did to one row, or a reset of all scopes that a table can
// have, or a publish: an insert without a table; or to memberships.
type change struct {
	table    *table
	old, new *side
	reset    bool
	origin   string
	regroup  *regroup
	teams    teams // as they were once it was committed
}

// shape is what a frame says, but for its scope and its time.
type shape struct{ op, moved, table, key, changed, data, origin string }

func (s shape) String() string {
	return strings.Join(strings.Fields(strings.Join([]string{s.op, s.moved, s.table, s.key, s.changed, s.data, s.origin}, " ")), " ")
}

// What is due where no event will do.
const (
	anyReset    = "reset"
	groupsReset = "reset, as groups changed"
)

// due returns what user is to get of c at scope, by a membership.
func (c *change) due(user, scope string, by teams) []shape {
	if c.reset {
		if c.table.matches(scope) {
			return []shape{{op: anyReset}}
		}
		return nil
	}
	was, is := c.old.shows(user, scope, by), c.new.shows(user, scope, by)
	s := shape{origin: c.origin}
	if c.table == nil {
		if is {
			s.op, s.data = "publish", c.new.data
			return []shape{s}
		}
		return nil
	}
	s.table = "public." + c.table.name
	out, in := s, s
	switch {
	case c.old == nil:
		in.op = "insert"
	case c.new == nil:
		out.op, out.data = "delete", c.old.data
	case was && is && c.old.key == c.new.key:
		s.op, s.key, s.changed, s.data = "update", c.new.key, c.changed(), c.new.data
		return []shape{s}
	default:
		out.op, out.moved = "update", "out"
		in.op, in.moved, in.changed = "update", "in", c.changed()
	}
	var due []shape
	if was {
		out.key = c.old.key
		due = append(due, out)
	}
	if is {
		in.key, in.data = c.new.key, c.new.data
		due = append(due, in)
	}
	return due
}

// changed returns the names of the columns that differ.
func (c *change) changed() string {
	var names []string
	for _, column := range []struct {
		name     string
		old, new any
	}{
		{"id", c.old.ID, c.new.ID},
		{"project_id", c.old.Project, c.new.Project},
		{"owner", c.old.Owner, c.new.Owner},
		{"members", c.old.Members, c.new.Members},
		{"secret", c.old.Secret, c.new.Secret},
		{"hidden", c.old.Hidden, c.new.Hidden},
	} {
		if asJSON(column.old) != asJSON(column.new) {
			names = append(names, column.name)
		}
	}
	return strings.Join(names, ",")
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // strings and numbers: it can't
		panic(err)
	}
	return string(text)
}
