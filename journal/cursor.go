package journal

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ErrMalformed is returned for a text that is not a cursor.
var ErrMalformed = errors.New("malformed cursor")

// maxCursorBytes is the longest text of a cursor: it travels in headers and URLs.
// pgbell.cursor() keeps to it, too.
const maxCursorBytes = 256

// maxIncarnation leaves room for the rest.
const maxIncarnation = 32

// Cursor names a point in the history: exactly the set of transactions that
// were visible then. It is a snapshot as pg_current_snapshot() gives it, plus
// the incarnation of the server that gave it: transaction ids of one
// incarnation say nothing about those of another.
//
// The zero value sees nothing and belongs to no server. A Cursor is not changed
// once made, so that it may be shared.
type Cursor struct {
	Incarnation string   // lower-case hexadecimal
	Xmin        uint64   // all transactions below are visible
	Xmax        uint64   // none from here on is visible
	Xip         []uint64 // between the two, ascending: those still running, not visible
}

// ParseCursor reads the text of a cursor, `<incarnation>-<xmin>:<xmax>:<xip,...>`.
// Anything else gives an error that wraps [ErrMalformed].
func ParseCursor(s string) (Cursor, error) {
	if len(s) > maxCursorBytes {
		return Cursor{}, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxCursorBytes)
	}
	return parseCursor(s)
}

// parseCursor is ParseCursor for a text of any length: hundreds of transactions
// may be running at once.
func parseCursor(s string) (Cursor, error) {
	malformed := func(what string) (Cursor, error) {
		return Cursor{}, fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	incarnation, snapshot, ok := strings.Cut(s, "-")
	if !ok || incarnation == "" || len(incarnation) > maxIncarnation || strings.Trim(incarnation, "0123456789abcdef") != "" {
		return malformed("no incarnation")
	}
	parts := strings.Split(snapshot, ":")
	if len(parts) != 3 {
		return malformed("want <incarnation>-<xmin>:<xmax>:<xip,...>")
	}
	c := Cursor{Incarnation: incarnation}
	var err error
	if c.Xmin, err = parseXid(parts[0]); err != nil {
		return malformed("xmin")
	}
	if c.Xmax, err = parseXid(parts[1]); err != nil || c.Xmax < c.Xmin {
		return malformed("xmax")
	}
	if parts[2] == "" {
		return c, nil
	}
	last := uint64(0)
	for text := range strings.SplitSeq(parts[2], ",") {
		xid, err := parseXid(text)
		if err != nil || xid <= last || xid < c.Xmin || xid >= c.Xmax {
			return malformed("xip")
		}
		c.Xip = append(c.Xip, xid)
		last = xid
	}
	return c, nil
}

// ParseSnapshot returns what a query saw: of its pgbell.cursor() the incarnation, and of its
// pg_current_snapshot() the rest. The one text may have been cut off, the other is not.
func ParseSnapshot(cursor, snapshot string) (Cursor, error) {
	incarnation, _, _ := strings.Cut(cursor, "-")
	return parseCursor(incarnation + "-" + snapshot)
}

// parseXid reads a transaction id as Postgres prints it: decimal, no sign, no
// leading zero, above zero. Postgres reads ids as signed 64-bit numbers in some
// places, so that the upper half is refused.
func parseXid(s string) (uint64, error) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, ErrMalformed
	}
	xid, err := strconv.ParseUint(s, 10, 64)
	if err != nil || xid > math.MaxInt64 {
		return 0, ErrMalformed
	}
	return xid, nil
}

// String returns the text that [ParseCursor] reads, in at most 256 bytes. Where
// more transactions were running than fit, it is that of an older cursor: as right
// to resume from, with some repeats. That of the zero value is empty.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	// What comes before the first running transaction that doesn't fit is kept as it
	// is, all that comes after is given up.
	room := maxCursorBytes - len(c.Incarnation) - digits(c.Xmin) - digits(c.Xmax) - len("-::")
	for i, xid := range c.Xip {
		if i > 0 {
			room--
		}
		if room -= digits(xid); room < 0 {
			c.Xmax, c.Xip = xid, c.Xip[:i]
			break
		}
	}
	return c.text()
}

// digits returns how long the text of n is.
func digits(n uint64) int {
	count := 1
	for ; n >= 10; n /= 10 {
		count++
	}
	return count
}

func (c Cursor) text() string {
	var room [maxCursorBytes]byte
	b := append(room[:0], c.Incarnation...)
	b = strconv.AppendUint(append(b, '-'), c.Xmin, 10)
	b = strconv.AppendUint(append(b, ':'), c.Xmax, 10)
	b = append(b, ':')
	for i, xid := range c.Xip {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, xid, 10)
	}
	return string(b)
}

// IsZero says whether c is the zero value.
func (c Cursor) IsZero() bool { return c.Incarnation == "" }

// Covers says whether transaction tx was visible at c. The answer means nothing
// across incarnations.
func (c Cursor) Covers(tx uint64) bool {
	if tx < c.Xmin {
		return true
	}
	if tx >= c.Xmax {
		return false
	}
	_, running := slices.BinarySearch(c.Xip, tx)
	return !running
}

// Includes says whether c sees all that older sees.
func (c Cursor) Includes(older Cursor) bool {
	if c.Incarnation != older.Incarnation {
		return false
	}
	if c.Xmax < older.Xmax { // of those in between older must see none
		i, _ := slices.BinarySearch(older.Xip, c.Xmax)
		if uint64(len(older.Xip)-i) < older.Xmax-c.Xmax {
			return false
		}
	}
	for _, xid := range c.Xip {
		if older.Covers(xid) {
			return false
		}
	}
	return true
}
