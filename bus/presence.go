package bus

import (
	"cmp"
	"slices"
	"time"
)

// Connection says who is behind a subscription. It is a value: two are the same
// connection if all fields are the same.
type Connection struct {
	UserID      string    `json:"user_id"` // empty means anonymous
	SessionID   string    `json:"session_id"`
	ConnectedAt time.Time `json:"connected_at"`
}

// same returns c in the form in which equal connections are ==: a time.Time also
// holds a monotonic reading and a location.
func (c Connection) same() Connection {
	c.ConnectedAt = c.ConnectedAt.Round(0).UTC()
	return c
}

// Presence returns the connections now subscribed to scope, the longest connected
// first. Equal ones appear once; subscriptions without a Connection do not appear.
// The slice is the caller's and never nil.
func (b *Bus) Presence(scope string) []Connection {
	seen := make(map[Connection]bool)
	present := []Connection{}
	for _, sl := range b.members(scope) {
		if c := sl.sub.conn; c != nil && !seen[c.same()] {
			seen[c.same()] = true
			present = append(present, *c)
		}
	}
	slices.SortFunc(present, func(x, y Connection) int {
		return cmp.Or(x.ConnectedAt.Compare(y.ConnectedAt),
			cmp.Compare(x.UserID, y.UserID), cmp.Compare(x.SessionID, y.SessionID))
	})
	return present
}
