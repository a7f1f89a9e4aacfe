package bus

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Audience is the set of user ids that may see a change. The zero value is
// everyone; Only() is nobody. It is immutable and may be shared.
//
// In JSON everyone is null, nobody [] and a set ["a","b"].
type Audience struct {
	only  bool
	users []string // sorted, without duplicates, never ""
}

// Only returns the audience of just these users. Duplicates collapse. The empty
// id, which stands for an anonymous connection, is nobody's and is left out:
// Only("") is nobody.
func Only(users ...string) Audience {
	set := slices.DeleteFunc(slices.Clone(users), func(u string) bool { return u == "" })
	slices.Sort(set)
	if set = slices.Compact(set); len(set) < cap(set)/2 {
		set = slices.Clone(set) // of many that are equal, only the room of one
	}
	return Audience{only: true, users: set}
}

// Len returns how many users the audience has: 0 for everyone, too.
func (a Audience) Len() int { return len(a.users) }

// Allows is the audience rule: whether userID may see the change. An empty userID
// is an anonymous connection, which sees only what everyone may see.
func (a Audience) Allows(userID string) bool {
	if !a.only {
		return true
	}
	_, found := slices.BinarySearch(a.users, userID)
	return found
}

// Everyone reports whether the change has no audience, so that all may see it.
func (a Audience) Everyone() bool { return !a.only }

// Users returns the users of the audience, sorted: nil for everyone, empty but not
// nil for nobody. The slice is the caller's.
func (a Audience) Users() []string {
	if !a.only {
		return nil
	}
	return append([]string{}, a.users...)
}

// Equal reports whether a and b admit the same users.
func (a Audience) Equal(b Audience) bool {
	return a.only == b.only && slices.Equal(a.users, b.users)
}

// Intersect returns those whom both a and b admit.
func (a Audience) Intersect(b Audience) Audience {
	switch {
	case !a.only:
		return b
	case !b.only:
		return a
	}
	return a.keep(b.Allows)
}

// Minus returns those whom a admits and b does not. "Everyone but some" can't be
// expressed: Minus then answers nobody, since an audience too small leaks nothing.
// A caller that owes the rest an event must see to it: check a.Everyone() first.
func (a Audience) Minus(b Audience) Audience {
	switch {
	case !b.only:
		return Only()
	case len(b.users) == 0:
		return a
	case !a.only:
		return Only()
	}
	return a.keep(func(u string) bool { return !b.Allows(u) })
}

// keep returns the users of a finite audience for whom f holds.
func (a Audience) keep(f func(string) bool) Audience {
	kept := make([]string, 0, len(a.users))
	for _, u := range a.users {
		if f(u) {
			kept = append(kept, u)
		}
	}
	return Audience{only: true, users: kept}
}

// MarshalJSON writes null for everyone, else the list of users.
func (a Audience) MarshalJSON() ([]byte, error) {
	return json.Marshal(a.Users())
}

// UnmarshalJSON reads what MarshalJSON writes. After an error the audience is
// nobody. Mind that a field which is absent is not read at all: it stays as it was.
func (a *Audience) UnmarshalJSON(data []byte) error {
	var users []string
	if err := json.Unmarshal(data, &users); err != nil {
		*a = Only()
		return fmt.Errorf("audience: %w", err)
	}
	if users == nil {
		*a = Audience{}
		return nil
	}
	*a = Only(users...)
	return nil
}
