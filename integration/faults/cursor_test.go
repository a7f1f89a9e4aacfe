package faults

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// cursor is a cursor as design and manual describe its text. The checker reads it
// on its own, since pgbell's reading is what it checks.
type cursor struct {
	incarnation string
	xmax        uint64
	running     []uint64
}

func parseCursor(text string) (cursor, error) {
	incarnation, snapshot, _ := strings.Cut(text, "-")
	parts := strings.Split(snapshot, ":")
	if len(parts) != 3 {
		return cursor{}, fmt.Errorf("%q is not a cursor", text)
	}
	c := cursor{incarnation: incarnation}
	var err error
	if c.xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return c, err
	}
	for xid := range strings.SplitSeq(parts[2], ",") {
		if xid == "" {
			continue
		}
		id, err := strconv.ParseUint(xid, 10, 64)
		if err != nil {
			return c, err
		}
		c.running = append(c.running, id)
	}
	return c, nil
}

// covers says whether the transaction of o was visible at c, for both of the same
// incarnation.
func (c cursor) covers(o *op) bool {
	return o.incarnation == c.incarnation && o.xid < c.xmax && !slices.Contains(c.running, o.xid)
}
