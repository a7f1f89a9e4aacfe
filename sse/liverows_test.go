package sse

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pgbell/pgbell/journal"
)

// rowsSeen is what a reader of frames with rows has: the manual's rule, in a few lines.
type rowsSeen struct {
	key  []string
	rows []any
}

type rowsData struct {
	Op               string
	Key              []string
	Rows             []any
	Set, Gone, Order []any
}

func (s *rowsSeen) read(data []byte) error {
	var d rowsData
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	switch d.Op {
	case "rows":
		s.key, s.rows = d.Key, d.Rows
		return nil
	case "delta":
	default:
		return fmt.Errorf("op %q", d.Op)
	}
	var order []string
	rows := map[string]any{}
	put := func(row any) {
		k := text(s.keyOf(row))
		if _, is := rows[k]; !is {
			order = append(order, k)
		}
		rows[k] = row
	}
	gone := map[string]bool{}
	for _, k := range d.Gone {
		gone[text(k)] = true
	}
	for _, row := range s.rows {
		if k := text(s.keyOf(row)); gone[k] {
			delete(gone, k)
		} else {
			put(row)
		}
	}
	if len(gone) > 0 {
		return fmt.Errorf("rows are gone that were not there: %v", gone)
	}
	for _, row := range d.Set {
		put(row)
	}
	if d.Order != nil {
		if len(d.Order) != len(order) {
			return fmt.Errorf("an order of %d rows, and there are %d", len(d.Order), len(order))
		}
		order = nil
		for _, k := range d.Order {
			order = append(order, text(k))
		}
	}
	s.rows = []any{}
	for _, k := range order {
		row, is := rows[k]
		if !is {
			return fmt.Errorf("no row has the key %s", k)
		}
		s.rows = append(s.rows, row)
	}
	return nil
}

func (s *rowsSeen) keyOf(row any) any {
	switch columns, _ := row.(map[string]any); len(s.key) {
	case 0:
		return row
	case 1:
		return columns[s.key[0]]
	default:
		var values []any
		for _, name := range s.key {
			values = append(values, columns[name])
		}
		return values
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Whatever the rows and the key are, a reader that follows the frames has the rows; also one whose
// numbers have 53 bits.
func TestFramesOfRowsLeadToTheRows(t *testing.T) {
	var deltas, orders int
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SampledFrom([][]string{nil, {"a"}, {"b"}, {"a", "b"}, {"none"}}).Draw(t, "key")
		value := rapid.SampledFrom([]string{"1", "2", "3", "4", "null", `"1"`, `"x\u2028"`, "\"\u2028\"", "9007199254740992", "9007199254740993", "1.0", "true", `{"c":[1]}`})
		row := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf(`{"a":%s,"b":%s,"title":"%s"}`, value.Draw(t, "a"), value.Draw(t, "b"), strings.Repeat("long ", rapid.IntRange(0, 9).Draw(t, "length")))
		})
		result := rapid.Custom(func(t *rapid.T) string {
			return "[" + strings.Join(rapid.SliceOfN(row, 0, 6).Draw(t, "rows"), ",") + "]"
		})
		var had *LiveRows
		var seen rowsSeen
		for range 4 {
			next := result.Draw(t, "result")
			if had != nil && rapid.Bool().Draw(t, "like before") { // some of its rows, in another order
				var rows []json.RawMessage
				if err := json.Unmarshal(had.JSON(), &rows); err != nil {
					t.Fatal(err)
				}
				rows = append(rapid.Permutation(rows).Draw(t, "order"), json.RawMessage(row.Draw(t, "new")))
				next = string(mustJSON(t, rows[rapid.IntRange(0, 1).Draw(t, "from"):]))
			}
			rows := NewLiveRows([]byte(next), key)
			end, err := rows.since(had)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasSuffix(end, []byte("}\n\n")) || bytes.Count(end, []byte("\n")) != 2 {
				t.Fatalf("not the end of a frame: %q", end)
			}
			if err := seen.read(append([]byte("{"), end...)); err != nil {
				t.Fatalf("%s from %s: %s: %v", next, had.JSON(), end, err)
			}
			var want []any
			if err := json.Unmarshal([]byte(next), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, seen.rows); diff != "" && text(want) != text(seen.rows) {
				t.Fatalf("%s: %s", end, diff)
			}
			if bytes.HasPrefix(end, []byte(`"op":"delta"`)) {
				deltas++
				if bytes.Contains(end, []byte(`"order":`)) {
					orders++
				}
			}
			had = rows
		}
	})
	if deltas == 0 || orders == 0 {
		t.Errorf("%d deltas, %d with an order", deltas, orders)
	}
}

func mustJSON(t interface{ Fatal(...any) }, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// resultRows are n rows of a result, too long for all to be shorter than a difference.
func resultRows(titles ...string) *LiveRows {
	var rows []string
	for i, title := range titles {
		if title != "" {
			rows = append(rows, fmt.Sprintf(`{"id":%d,"title":"%s %s"}`, i, title, strings.Repeat(".", 40)))
		}
	}
	return NewLiveRows([]byte("["+strings.Join(rows, ",")+"]"), []string{"id"})
}

func dotted(title string) string { return title + " " + strings.Repeat(".", 40) }

func TestDeltaSaysOnlyWhatIsAnother(t *testing.T) {
	before := resultRows("a", "b", "c", "d", "e", "f")
	for _, c := range []struct {
		rows *LiveRows
		want string
	}{
		{resultRows("a", "b", "C", "d", "e", "f"), `"op":"delta","set":[{"id":2,"title":"` + dotted("C") + `"}]`},
		{resultRows("a", "b", "c", "d", "e"), `"op":"delta","gone":[5]`},
		{resultRows("a", "b", "c", "d", "e", "f", "g"), `"op":"delta","set":[{"id":6,"title":"` + dotted("g") + `"}]`},
		{resultRows("A", "B"), `"op":"rows","key":["id"],"rows":` + string(resultRows("A", "B").JSON())}, // which is shorter
	} {
		got, err := c.rows.since(before)
		if err != nil || string(got) != c.want+"}\n\n" {
			t.Errorf("got %s, %v, want %s", got, err, c.want)
		}
	}
	for from, rows := range map[*LiveRows]*LiveRows{
		NewLiveRows(before.JSON(), nil): resultRows("A", "b", "c", "d", "e", "f"), // with another key
		before:                          NewLiveRows(before.JSON(), []string{"id"}),
		nil:                             before,
	} {
		if got, err := rows.since(from); err != nil || !bytes.HasPrefix(got, []byte(`"op":"rows"`)) {
			t.Errorf("got %s, %v", got, err)
		}
	}
}

// show gives a query the next version, with rows that are known since cursor n.
func (l *lives) show(q string, n uint64, rows *LiveRows) {
	l.set(func(states map[string]LiveState) {
		states[q] = LiveState{Version: states[q].Version + 1, Rows: rows, Since: parseUint(n), Seen: parseUint(n)}
	})
}

func parseUint(n uint64) journal.Cursor { return journal.Cursor{Incarnation: "ab", Xmin: n, Xmax: n} }

func allData(q string, r *LiveRows) string {
	return `{"live":"` + q + `","op":"rows","key":["id"],"rows":` + string(r.JSON()) + `}`
}

// The first rows come before the id by which a client would be known to have them, and that
// covers nothing which may have changed them since.
func TestRowsComeBeforeTheirID(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		l := newLives("f", "g")
		first, second := resultRows("a", "b", "c"), resultRows("a", "B", "c")
		l.show("f", 1, first)
		l.show("g", 1, first)
		w := overPipe(t, settings{Config: Config{Live: l}})
		w.bus.Advance(cursor(3))

		l.pend("g", cursor(2))
		c := w.dial("live=f&live=g&rows=delta")
		c.want(retry)
		c.wantEvent("", allData("f", first))
		c.wantEvent("", allData("g", first))
		if it := c.want(event); it.name != "ready" || it.id != cursor(2) || !strings.Contains(it.data, cursor(2)) {
			t.Errorf("got %v", it)
		}

		l.pend("g", "")
		c = w.dial("live=f&live=g&rows=all")
		c.want(retry)
		c.want(comment)
		l.show("f", 3, second)
		c.want(comment)
		l.show("g", 3, second)
		c.wantEvent("", allData("f", second))
		c.wantEvent("", allData("g", second))
		if it := c.want(event); it.name != "ready" || it.id != cursor(3) {
			t.Errorf("got %v", it)
		}
	})
}

func TestRowsAfterAReset(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		l := newLives("f")
		first, second := resultRows("a", "b", "c"), resultRows("a", "B", "c")
		l.show("f", 1, first)
		w := overPipe(t, settings{Config: Config{Live: l}})
		all := w.dial("live=f&rows=all")
		c := w.dial("live=f&rows=delta")
		for _, c := range []*client{all, c} {
			c.wantEvent("", allData("f", first))
			c.want(event)
		}
		l.show("f", 1, second)
		all.wantEvent(cursor(1), allData("f", second))
		c.wantEvent(cursor(1), `{"live":"f","op":"delta","set":[{"id":1,"title":"`+dotted("B")+`"}]}`)
		l.set(func(states map[string]LiveState) {
			states["f"] = LiveState{Version: 7, Reset: "it failed", Rows: second}
		})
		c.wantEvent(cursor(1), `{"live":"f","op":"reset","reason":"it failed"}`)
		l.show("f", 1, second)
		c.wantEvent(cursor(1), allData("f", second))
		l.show("f", 1, first)
		c.wantEvent(cursor(1), `{"live":"f","op":"delta","set":[{"id":1,"title":"`+dotted("b")+`"}]}`)
	})
}

// Who comes back with an id that names the present rows, goes on from them; all others get all.
func TestRowsAfterComingBack(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		l := newLives("f")
		w := overPipe(t, settings{Config: Config{Live: l, Replay: func(context.Context, journal.Cursor) (*journal.Replay, error) {
			return &journal.Replay{End: parseUint(9)}, nil
		}}})
		w.bus.Advance(cursor(9))
		first, second := resultRows("a", "b", "c"), resultRows("a", "B", "c")
		for query, knows := range map[string]bool{
			"live=f&rows=delta&since=" + cursor(6): true, "live=f&rows=delta&since=" + cursor(5): false,
			"live=f&rows=delta&whole=f&since=" + cursor(6): false, "live=f&rows=delta&whole=g&since=" + cursor(6): true,
		} {
			l.show("f", 6, first)
			c := w.open(query)
			if !knows {
				if it := c.want(event); it.data != allData("f", first) {
					t.Errorf("%s: got %v", query, it)
				}
			} else if it := c.want(id); it.id != cursor(9) {
				t.Errorf("%s: got %v", query, it)
			}
			l.show("f", 9, second)
			if it := c.want(event); it.data != `{"live":"f","op":"delta","set":[{"id":1,"title":"`+dotted("B")+`"}]}` {
				t.Errorf("%s: got %v", query, it)
			}
			c.resp.Body.Close()
		}
	})
}

func TestLongRows(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		l := newLives("f", "g", "h")
		long := NewLiveRows([]byte(`[{"id":"`+strings.Repeat("x", 300<<10)+`"}]`), []string{"id"})
		short := resultRows("a")
		l.show("f", 1, long)
		l.show("g", 1, short)
		l.show("h", 1, long)
		w := overTCP(t, settings{Config: Config{Live: l}})
		c := w.dial("live=f&live=g&live=h&rows=all")
		c.want(retry)
		c.wantEvent("", allData("f", long))
		c.wantEvent("", allData("g", short))
		c.wantEvent("", allData("h", long))
		if it := c.want(event); it.name != "ready" {
			t.Errorf("got %v", it)
		}
		l.show("g", 1, resultRows("b"))
		c.wantEvent(cursor(1), allData("g", resultRows("b")))
		c.resp.Body.Close()
	})
}

func TestRowsAskedForWrongly(t *testing.T) {
	w := overTCP(t, settings{Config: Config{Live: newLives("f")}})
	for _, query := range []string{"live=f&rows=", "live=f&rows=some", "live=f&rows=all&rows=all", "live=f&rows=all&whole="} {
		resp := w.get("/events?" + query)
		if body := w.body(resp); resp.StatusCode != 400 {
			t.Errorf("%s: got %s %s", query, resp.Status, body)
		}
	}
}
