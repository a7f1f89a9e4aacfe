package journal

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/pgbell/pgbell/bus"
)

// Notification is what a trigger sent on the channel pgbell. Any role that may
// connect can send one too, so that it proves nothing.
type Notification struct {
	Table    string
	Hello    string // not empty: a listener finds out whether notifications arrive
	Volatile bool   // it carries all there is to know: Record is set
	Unknown  bool   // what its facts mean is not known, or not yet; then there is no Record
	Record   Record // of a feed that isn't durable; a Reset is for all of its scopes, and has no Templates
}

var errNotification = errors.New("malformed notification")

// ParseNotification reads a notification's payload. The error names no part of
// it: it may hold anything.
func ParseNotification(payload string, defs *Definitions) (Notification, error) {
	var wire struct {
		V          int       `json:"v"`
		Hello      string    `json:"hello"`
		Table      string    `json:"table"`
		Op         string    `json:"op"`
		Definition int32     `json:"definition"`
		Xid        string    `json:"xid"`
		Origin     string    `json:"origin"`
		At         string    `json:"at"`
		Reason     *string   `json:"reason"`
		Facts      []*string `json:"facts"`
		UTF8       []byte    `json:"utf8"` // all of it, where the database is in another encoding
	}
	if err := json.Unmarshal([]byte(payload), &wire); err != nil || wire.V != 1 {
		return Notification{}, errNotification
	}
	if wire.UTF8 != nil {
		return ParseNotification(string(wire.UTF8), defs)
	}
	if wire.At != "" && wire.Facts == nil { // nothing that a trigger sends
		return Notification{}, errNotification
	}
	n := Notification{Table: wire.Table, Hello: wire.Hello}
	r := Record{Table: wire.Table, Op: bus.Op(wire.Op), Origin: wire.Origin}
	switch {
	case wire.Reason != nil:
		r.reset(*wire.Reason)
		n.Volatile, n.Record = true, r
	case wire.Facts != nil:
		n.Volatile = true
		var err error
		if r.At, err = time.Parse("2006-01-02T15:04:05.999999999", wire.At); err != nil {
			return Notification{}, errNotification
		}
		if r.Tx, err = strconv.ParseUint(wire.Xid, 10, 64); err != nil {
			return Notification{}, errNotification
		}
		switch r.Op {
		case bus.OpInsert, bus.OpUpdate, bus.OpDelete:
		default:
			return Notification{}, errNotification
		}
		if r.spec = defs.get(wire.Definition); r.spec == nil {
			n.Unknown = true
			return n, nil
		}
		r.values = given(wire.Facts)
		changes, tooMany, ok := r.spec.changes(r.Op, r.values)
		switch {
		case !ok:
			return Notification{}, errNotification
		case tooMany:
			r.reset(ReasonTooMany)
		default:
			r.Changes = changes
		}
		n.Record = r
	}
	return n, nil
}
