package journal

import (
	"cmp"
	"slices"
)

// positions is how many different positions the records of one reading get at most:
// who is cut amid them gets less than a hundredth again.
const positions = 256

// SetPositions sets the Position of each of records, which [Read] gave up to end:
// end without the transactions of which there is more to come.
func SetPositions(records []*Record, end Cursor) {
	open := make([]transaction, 0, len(records)+len(end.Xip))
	for i, r := range records {
		open = append(open, transaction{r.Tx, i})
	}
	for _, xid := range end.Xip {
		open = append(open, transaction{xid, len(records)}) // runs on
	}
	slices.SortFunc(open, func(a, b transaction) int { return cmp.Or(cmp.Compare(a.id, b.id), b.last-a.last) })
	open = slices.CompactFunc(open, func(a, b transaction) bool { return a.id == b.id }) // the last of each stays

	every := max(1, (len(open)-len(end.Xip))/positions)
	xip := make([]uint64, 0, min(len(open), maxRunning))
	position := without(end, open, 0, xip)
	closed := 0
	for i := range records {
		records[i].Position = position
		at, _ := slices.BinarySearchFunc(open, records[i].Tx, func(t transaction, id uint64) int { return cmp.Compare(t.id, id) })
		if open[at].last == i {
			if closed++; closed%every == 0 {
				for len(open) > 0 && open[0].last <= i { // none comes again
					open = open[1:]
				}
				position = without(end, open, i+1, xip)
			}
		}
	}
}

// transaction is one of which there is more to come up to the record at last.
type transaction struct {
	id   uint64
	last int
}

// maxRunning is more than the running transactions for which a cursor's text has room.
const maxRunning = maxCursorBytes / 2

// without returns the text of a cursor that covers what end does, without those of
// open of which something comes from the record at next on. xip is room for them.
func without(end Cursor, open []transaction, next int, xip []uint64) string {
	c := Cursor{Incarnation: end.Incarnation, Xmin: end.Xmax, Xmax: end.Xmax, Xip: xip[:0]}
	for _, tx := range open {
		if tx.last < next {
			continue
		}
		if len(c.Xip) == maxRunning { // String drops some of them
			c.Xmax = tx.id
			break
		}
		c.Xip = append(c.Xip, tx.id)
	}
	if len(c.Xip) > 0 {
		c.Xmin = c.Xip[0]
	}
	return c.String()
}
