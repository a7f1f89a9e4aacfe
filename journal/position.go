package journal

import "slices"

// positions is how many different positions the records of one reading get at most:
// who is cut amid them gets less than a hundredth again.
const positions = 256

// SetPositions sets the Position of each of records, which [Read] gave up to end:
// end without the transactions of which there is more to come.
func SetPositions(records []Record, end Cursor) {
	last := make(map[uint64]int, len(records)) // record of a transaction
	for i, r := range records {
		last[r.Tx] = i
	}
	open := make([]uint64, 0, len(last)+len(end.Xip))
	for tx := range last {
		open = append(open, tx)
	}
	open = append(open, end.Xip...)
	slices.Sort(open)

	every := max(1, len(last)/positions)
	closed := make(map[uint64]bool, len(last))
	position := without(end, open, closed)
	for i := range records {
		records[i].Position = position
		if tx := records[i].Tx; last[tx] == i {
			closed[tx] = true
			if len(closed)%every == 0 {
				position = without(end, open, closed)
			}
		}
	}
}

// without returns the text of a cursor that covers what end does, without those of
// open that are not closed.
func without(end Cursor, open []uint64, closed map[uint64]bool) string {
	c := Cursor{Incarnation: end.Incarnation, Xmin: end.Xmax, Xmax: end.Xmax}
	for _, tx := range open {
		if closed[tx] {
			continue
		}
		if len(c.Xip) == maxCursorBytes { // String drops most of them
			c.Xmax = tx
			break
		}
		c.Xip = append(c.Xip, tx)
	}
	if len(c.Xip) > 0 {
		c.Xmin = c.Xip[0]
	}
	return c.String()
}
