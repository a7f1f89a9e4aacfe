package journal

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// horizon is one more than the highest transaction of the small worlds here.
const horizon = 12

// set is what a cursor sees of the transactions below horizon.
type set [horizon]bool

// cursorOf draws one of the cursors that see exactly s: Postgres' own, or one whose
// bounds are further apart than need be.
func cursorOf(t *rapid.T, s set) Cursor {
	c := Cursor{Incarnation: "0a", Xmin: 1, Xmax: 1}
	for tx := uint64(1); tx < horizon; tx++ {
		if s[tx] {
			c.Xmax = tx + 1
		}
	}
	c.Xmax = rapid.Uint64Range(c.Xmax, horizon).Draw(t, "xmax")
	for c.Xmin < c.Xmax && s[c.Xmin] {
		c.Xmin++
	}
	c.Xmin = rapid.Uint64Range(1, c.Xmin).Draw(t, "xmin")
	for tx := c.Xmin; tx < c.Xmax; tx++ {
		if !s[tx] {
			c.Xip = append(c.Xip, tx)
		}
	}
	return c
}

func drawSet(t *rapid.T, name string) (s set) {
	for tx := 1; tx < horizon; tx++ {
		s[tx] = rapid.Bool().Draw(t, name)
	}
	return s
}

func TestCoversIsMembership(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSet(t, "set")
		c := cursorOf(t, s)
		for tx := uint64(1); tx < horizon; tx++ {
			if got := c.Covers(tx); got != s[tx] {
				t.Errorf("%v covers %d: got %v, want %v", c, tx, got, s[tx])
			}
		}
		if c.Covers(horizon) || c.Covers(math.MaxInt64) {
			t.Errorf("%v covers what is to come", c)
		}
	})
}

func TestIncludesIsSuperset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		newer, older := drawSet(t, "newer"), drawSet(t, "older")
		if rapid.Bool().Draw(t, "nested") {
			for tx := range older {
				newer[tx] = newer[tx] || older[tx]
			}
		}
		want := true
		for tx := range older {
			want = want && (newer[tx] || !older[tx])
		}
		a, b := cursorOf(t, newer), cursorOf(t, older)
		if got := a.Includes(b); got != want {
			t.Errorf("%v includes %v: got %v, want %v", a, b, got, want)
		}
		b.Incarnation = "0b"
		if a.Includes(b) {
			t.Errorf("%v includes %v, which is of another incarnation", a, b)
		}
	})
}

// drawCursor draws a cursor as big as may be.
func drawCursor(t *rapid.T) Cursor {
	c := Cursor{Incarnation: rapid.StringMatching(`[0-9a-f]{1,32}`).Draw(t, "incarnation")}
	step := rapid.Uint64Range(1, math.MaxInt64>>8)
	c.Xmin = step.Draw(t, "xmin")
	c.Xmax = c.Xmin
	for range rapid.IntRange(0, 100).Draw(t, "running") {
		c.Xip = append(c.Xip, c.Xmax)
		c.Xmax += step.Draw(t, "step")
	}
	return c
}

func TestCursorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCursor(t)
		back, err := parseCursor(c.text())
		if err != nil || !cmp.Equal(c, back) {
			t.Errorf("%s: %v: %s", c.text(), err, cmp.Diff(c, back))
		}
		if text := c.String(); len(c.text()) <= 256 && text != c.text() {
			t.Errorf("got %s, want %s", text, c.text())
		}
	})
}

func TestLongCursorBecomesAnOlderOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCursor(t)
		text := c.String()
		short, err := ParseCursor(text)
		if err != nil || len(text) > 256 {
			t.Fatalf("%d bytes, %v: %s", len(text), err, text)
		}
		if !c.Includes(short) {
			t.Errorf("%s sees more than %s", text, c.text())
		}
		if short.Xmin != c.Xmin || !slices.Equal(short.Xip, c.Xip[:len(short.Xip)]) {
			t.Errorf("%s lost more than the end of %s", text, c.text())
		}
		if len(short.Xip) < len(c.Xip) && len(text) < 256-2*len("9223372036854775807,") {
			t.Errorf("%d bytes: there was room for more of %s", len(text), c.text())
		}
	})
}

func TestMalformedCursors(t *testing.T) {
	for name, text := range map[string]string{
		"empty":                        "",
		"zero value of another format": "0",
		"no incarnation":               "-5:9:5",
		"no dash":                      "ab5:9:5",
		"upper case":                   "AB-5:9:5",
		"not hexadecimal":              "xy-5:9:5",
		"incarnation too long":         strings.Repeat("a", 33) + "-5:9:5",
		"no xip part":                  "ab-5:9",
		"too many parts":               "ab-5:9:5:5",
		"no xmin":                      "ab-:9:5",
		"no xmax":                      "ab-5::",
		"xmin is zero":                 "ab-0:9:",
		"leading zero":                 "ab-05:9:",
		"plus":                         "ab-+5:9:",
		"minus":                        "ab--5:9:",
		"space":                        "ab-5:9: 5",
		"newline":                      "ab-5:9:5\n",
		"other digits":                 "ab-5:٩:",
		"underscore":                   "ab-1_0:20:",
		"hexadecimal number":           "ab-0x5:9:",
		"xmax below xmin":              "ab-9:5:",
		"xip below xmin":               "ab-5:9:4",
		"xip at xmax":                  "ab-5:9:9",
		"xip twice":                    "ab-5:9:5,5",
		"xip out of order":             "ab-5:9:6,5",
		"empty xip":                    "ab-5:9:5,",
		"only a comma":                 "ab-5:9:,",
		"past int64":                   "ab-5:9223372036854775808:",
		"past uint64":                  "ab-5:18446744073709551616:",
		"too long":                     "ab-5:9:5" + strings.Repeat(" ", 256),
		"257 bytes":                    strings.Repeat("a", 8) + "-1:999:" + strings.Repeat("1,", 120) + "2",
	} {
		c, err := ParseCursor(text)
		if !errors.Is(err, ErrMalformed) || !c.IsZero() {
			t.Errorf("%s: %q: got %v, error %v", name, text, c, err)
		}
		if strings.Contains(text, "\n") && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error repeats it", name)
		}
	}
}

func TestWellFormedCursors(t *testing.T) {
	for text, want := range map[string]Cursor{
		"0-1:1:":                          {"0", 1, 1, nil},
		"1f-795:799:795":                  {"1f", 795, 799, []uint64{795}},
		"deadbeef-5:9:5,6,8":              {"deadbeef", 5, 9, []uint64{5, 6, 8}},
		"ab-3:9:5":                        {"ab", 3, 9, []uint64{5}},
		"ab-1:9223372036854775807:":       {"ab", 1, math.MaxInt64, nil},
		strings.Repeat("f", 32) + "-5:5:": {strings.Repeat("f", 32), 5, 5, nil},
	} {
		got, err := ParseCursor(text)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %v: %s", text, err, cmp.Diff(want, got))
		}
		if got.String() != text {
			t.Errorf("got %s, want %s", got, text)
		}
	}
}

func TestZeroCursorIsNoText(t *testing.T) {
	var c Cursor
	if !c.IsZero() || c.String() != "" || c.Covers(1) {
		t.Errorf("got %q, zero %v, covers 1: %v", c, c.IsZero(), c.Covers(1))
	}
}

func FuzzParseCursor(f *testing.F) {
	for _, text := range []string{
		"", "ab-5:9:5", "1f-795:799:795", "ab-5:9:5,6,8", "ab-05:9:", "-::", "ab-9:5:", "ab-5:9:5,5",
		"ab-5:9223372036854775808:", "ab-1:18446744073709551616:", "AB-5:9:", "ab-5:9:,", "ab-5:9:5\r\nid: x",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCursor(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || !c.IsZero() {
				t.Fatalf("%q: %v, error %v", text, c, err)
			}
			return
		}
		if got := c.String(); got != text {
			t.Fatalf("%q came back as %q", text, got)
		}
		if strings.Trim(text, "0123456789abcdef-:,") != "" {
			t.Fatalf("%q is no cursor", text)
		}
		for _, xid := range c.Xip {
			if c.Covers(xid) {
				t.Fatalf("%q covers %d", text, xid)
			}
		}
		if !c.Includes(c) || c.Covers(c.Xmax) || !c.Covers(c.Xmin-1) {
			t.Fatalf("%q makes no sense", text)
		}
	})
}
