package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Audience is the set of users that may see a change: named by their ids, or by groups
// that they are in. The zero value is everyone; Only() is nobody. It is immutable and
// may be shared.
//
// In JSON everyone is null, nobody [] and a set ["alice","group:team:7"]: see
// [ParseAudience].
type Audience struct {
	only  bool
	users []string // sorted, without duplicates, never ""
	more  *more    // nil if there are users only
}

// more is what an audience with groups has.
type more struct {
	groups []string   // sorted, without duplicates: who is in one of them is in the audience, too
	and    []Audience // unless one of these leaves the user out
	not    []Audience // or one of these doesn't
}

// Only returns the audience of just these users. Duplicates collapse. The empty
// id, which stands for an anonymous connection, is nobody's and is left out:
// Only("") is nobody.
func Only(users ...string) Audience { return Audience{only: true, users: set(users)} }

// Named returns the audience of users and of who is in one of groups. A group's name is
// not empty and does not begin with a colon: what is none is left out.
func Named(users, groups []string) Audience {
	a := Only(users...)
	if len(groups) > 0 {
		names := slices.DeleteFunc(set(groups), func(g string) bool { return g[0] == ':' })
		if len(names) > 0 {
			a.more = &more{groups: names}
		}
	}
	return a
}

// set returns names sorted, without duplicates and without the empty one.
func set(names []string) []string {
	set := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
	slices.Sort(set)
	if set = slices.Compact(set); len(set) < cap(set)/2 {
		set = slices.Clone(set) // of many that are equal, only the room of one
	}
	return set
}

// Len returns how many users and groups the audience names: 0 for everyone, too.
func (a Audience) Len() int {
	n := len(a.users)
	if a.more != nil {
		n += len(a.more.groups)
		for _, b := range a.more.and {
			n += b.Len()
		}
		for _, b := range a.more.not {
			n += b.Len()
		}
	}
	return n
}

// Allows is the audience rule: whether userID, who is in groups, may see the change. An
// empty userID is an anonymous connection, which sees only what everyone may see and is
// in no group.
func (a Audience) Allows(userID string, groups ...string) bool {
	return a.allows(userID, func(sorted []string) bool {
		return slices.ContainsFunc(groups, func(g string) bool { return contains(sorted, g) })
	})
}

func contains(sorted []string, name string) bool {
	_, found := slices.BinarySearch(sorted, name)
	return found
}

// allows is Allows for a user who is in one of some sorted groups if in says so.
func (a Audience) allows(userID string, in func(sorted []string) bool) bool {
	if !a.only {
		return true
	}
	if userID == "" {
		return false
	}
	named := contains(a.users, userID)
	if a.more == nil {
		return named
	}
	return (named || in(a.more.groups)) &&
		!slices.ContainsFunc(a.more.and, func(b Audience) bool { return !b.allows(userID, in) }) &&
		!slices.ContainsFunc(a.more.not, func(b Audience) bool { return b.allows(userID, in) })
}

// Everyone reports whether the change has no audience, so that all may see it.
func (a Audience) Everyone() bool { return !a.only }

// Nobody reports whether nobody can be in the audience. Of one that Intersect or Minus
// made of groups it may say false though nobody is.
func (a Audience) Nobody() bool {
	return a.only && len(a.users) == 0 && (a.more == nil || len(a.more.groups) == 0)
}

// Users returns the users that the audience names by their ids, sorted: nil for
// everyone, empty but not nil if there are none. The slice is the caller's.
func (a Audience) Users() []string {
	if !a.only {
		return nil
	}
	return append([]string{}, a.users...)
}

// Groups returns the groups that the audience names, sorted. The slice is the caller's.
func (a Audience) Groups() []string {
	if a.more == nil {
		return nil
	}
	return slices.Clone(a.more.groups)
}

// Equal reports whether a and b name the same users and groups. Two that Intersect or
// Minus made of groups are equal only if made of equal ones, in the same order.
func (a Audience) Equal(b Audience) bool {
	if a.only != b.only || !slices.Equal(a.users, b.users) || (a.more == nil) != (b.more == nil) {
		return false
	}
	return a.more == nil || slices.Equal(a.more.groups, b.more.groups) &&
		slices.EqualFunc(a.more.and, b.more.and, Audience.Equal) && slices.EqualFunc(a.more.not, b.more.not, Audience.Equal)
}

// Intersect returns those whom both a and b admit.
func (a Audience) Intersect(b Audience) Audience {
	switch {
	case !a.only:
		return b
	case !b.only:
		return a
	case a.more == nil && b.more == nil:
		return a.keep(func(u string) bool { return b.Allows(u) })
	case b.more == nil: // the users are the fewer to look for
		return b.with(more{and: []Audience{a}})
	}
	return a.with(more{and: []Audience{b}})
}

// Minus returns those whom a admits and b does not. "Everyone but some" can't be
// expressed: Minus then answers nobody, since an audience too small leaks nothing.
// A caller that owes the rest an event must see to it: check a.Everyone() first.
func (a Audience) Minus(b Audience) Audience {
	switch {
	case !b.only:
		return Only()
	case b.Nobody():
		return a
	case !a.only:
		return Only()
	case a.more == nil && b.more == nil:
		return a.keep(func(u string) bool { return !b.Allows(u) })
	case b.more == nil || len(b.more.and)+len(b.more.not) == 0: // whom b names, it admits
		a = a.keep(func(u string) bool { return !contains(b.users, u) })
		if a.more != nil && b.more != nil {
			rest := *a.more
			rest.groups = slices.DeleteFunc(slices.Clone(rest.groups), func(g string) bool { return contains(b.more.groups, g) })
			a.more = &rest
		}
	}
	return a.with(more{not: []Audience{b}})
}

// with returns a with what must hold besides.
func (a Audience) with(m more) Audience {
	if a.more != nil {
		m.groups = a.more.groups
		m.and, m.not = slices.Concat(a.more.and, m.and), slices.Concat(a.more.not, m.not)
	}
	a.more = &m
	return a
}

// keep returns a finite audience with those of its users for whom f holds.
func (a Audience) keep(f func(string) bool) Audience {
	kept := make([]string, 0, len(a.users))
	for _, u := range a.users {
		if f(u) {
			kept = append(kept, u)
		}
	}
	a.users = kept
	return a
}

// groupPrefix begins the elements of an audience's text form that are groups.
const groupPrefix = "group:"

// ParseAudience returns the audience of elements as pgbell.publish takes them, and as JSON
// has them: an element is the id of a user, or group: and the name of a group. The id of
// a user that itself begins with group: has that colon twice: group::x is the user
// group:x. So no id of a user that is written so can be taken for a group.
func ParseAudience(elements []string) Audience {
	var users, groups []string
	for _, e := range elements {
		rest, is := strings.CutPrefix(e, groupPrefix)
		switch {
		case !is:
			users = append(users, e)
		case strings.HasPrefix(rest, ":"):
			users = append(users, groupPrefix+rest[1:])
		default:
			groups = append(groups, rest)
		}
	}
	return Named(users, groups)
}

// elements is the reverse of ParseAudience.
func (a Audience) elements() []string {
	list := make([]string, 0, len(a.users))
	for _, u := range a.users {
		if rest, is := strings.CutPrefix(u, groupPrefix); is {
			u = groupPrefix + ":" + rest
		}
		list = append(list, u)
	}
	for _, g := range a.Groups() {
		list = append(list, groupPrefix+g)
	}
	return list
}

var errNoJSON = errors.New("audience: an intersection or a difference of groups has no JSON")

// MarshalJSON writes null for everyone, else the list of users and groups. An audience
// that Intersect or Minus made of groups can't be written.
func (a Audience) MarshalJSON() ([]byte, error) {
	if !a.only {
		return []byte("null"), nil
	}
	if a.more != nil && len(a.more.and)+len(a.more.not) > 0 {
		return nil, errNoJSON
	}
	return json.Marshal(a.elements())
}

// UnmarshalJSON reads what MarshalJSON writes. After an error the audience is
// nobody. Mind that a field which is absent is not read at all: it stays as it was.
func (a *Audience) UnmarshalJSON(data []byte) error {
	var elements []string
	if err := json.Unmarshal(data, &elements); err != nil {
		*a = Only()
		return fmt.Errorf("audience: %w", err)
	}
	if elements == nil {
		*a = Audience{}
		return nil
	}
	*a = ParseAudience(elements)
	return nil
}
