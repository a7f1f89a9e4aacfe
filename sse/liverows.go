package sse

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// LiveRows are the rows of a result. They are not changed, and safe for concurrent use.
//
// What frames say of them is encoded once for all streams. The last difference is kept: as a
// rule streams have all the same rows, and get all the same others.
type LiveRows struct {
	json []byte
	etag string
	key  []string

	whole func() ([]byte, error) // the end of the data of a frame with all rows: what follows its "live"
	keyed func() keyedRows

	mu    sync.Mutex
	from  string // ETag of those from which delta is: a pointer would keep them, and all before
	delta []byte // end of a frame's data
}

// keyedRows are rows with their keys.
type keyedRows struct {
	rows  []keyedRow
	index map[string]int // into rows, by name; nil if the keys don't tell the rows apart
}

// keyedRow is a row of which the key is known.
type keyedRow struct {
	row, key json.RawMessage
	name     string // the same for the same key
}

// NewLiveRows returns the rows of a JSON array of objects, which must not be changed any more.
// The columns key tell a row from the others; without any, all its columns do.
func NewLiveRows(rows []byte, key []string) *LiveRows {
	sum := sha256.Sum256(rows)
	r := &LiveRows{json: rows, etag: hex.EncodeToString(sum[:12]), key: key}
	r.whole = sync.OnceValues(func() ([]byte, error) {
		return dataEnd(struct {
			Op   string          `json:"op"`
			Key  []string        `json:"key,omitempty"`
			Rows json.RawMessage `json:"rows"`
		}{"rows", key, rows})
	})
	r.keyed = sync.OnceValue(func() keyedRows { return keysOf(rows, key) })
	return r
}

// JSON returns the array, not to be changed.
func (r *LiveRows) JSON() []byte { return r.json }

// ETag is the same for the same JSON, and has no quotes.
func (r *LiveRows) ETag() string { return r.etag }

// since returns the end of the data of a frame that says how these rows came from others, or
// that has all of them: where it can't be said, or is no shorter. An error says that they are
// no array of JSON.
func (r *LiveRows) since(from *LiveRows) ([]byte, error) {
	all, err := r.whole()
	if err != nil || from == nil || from.etag == r.etag || !slices.Equal(from.key, r.key) {
		return all, err
	}
	before, now := from.keyed(), r.keyed()
	if before.index == nil || now.index == nil {
		return all, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.from != from.etag {
		delta, err := dataEnd(difference(before, now))
		if err != nil {
			return nil, err
		}
		if len(delta) >= len(all) {
			delta = all
		}
		r.from, r.delta = from.etag, delta
	}
	return r.delta, nil
}

// delta is how rows became others: those of the keys in Gone went, those in Set came or are
// others. Then the order is that of before, with those that came at the end, but for Order.
type delta struct {
	Op    string            `json:"op"`
	Set   []json.RawMessage `json:"set,omitempty"`
	Gone  []json.RawMessage `json:"gone,omitempty"`  // keys
	Order []json.RawMessage `json:"order,omitempty"` // all keys
}

func difference(before, now keyedRows) delta {
	d := delta{Op: "delta"}
	var order []string // in which a reader has them who knows Set and Gone
	for _, row := range before.rows {
		if _, stays := now.index[row.name]; stays {
			order = append(order, row.name)
		} else {
			d.Gone = append(d.Gone, row.key)
		}
	}
	for _, row := range now.rows {
		at, was := before.index[row.name]
		if !was {
			order = append(order, row.name)
		}
		if !was || !bytes.Equal(before.rows[at].row, row.row) {
			d.Set = append(d.Set, row.row)
		}
	}
	if !slices.EqualFunc(order, now.rows, func(name string, row keyedRow) bool { return name == row.name }) {
		for _, row := range now.rows {
			d.Order = append(d.Order, row.key)
		}
	}
	return d
}

// keysOf finds the keys of the rows of a JSON array.
func keysOf(array []byte, key []string) keyedRows {
	var rows []json.RawMessage
	if json.Unmarshal(array, &rows) != nil {
		return keyedRows{}
	}
	all := keyedRows{index: map[string]int{}}
	for i, row := range rows {
		k, err := keyOf(row, key)
		if err != nil {
			return keyedRows{}
		}
		if _, twice := all.index[k.name]; twice {
			return keyedRows{}
		}
		all.index[k.name] = i
		all.rows = append(all.rows, k)
	}
	return all
}

// keyOf finds the key of a row: the value of its column, an array of several, or all of the row.
func keyOf(row json.RawMessage, key []string) (keyedRow, error) {
	k := keyedRow{row: row, key: row}
	if len(key) > 0 {
		var columns map[string]json.RawMessage
		if err := json.Unmarshal(row, &columns); err != nil {
			return k, err
		}
		values := make([]json.RawMessage, len(key))
		for i, name := range key {
			value, ok := columns[name]
			if !ok {
				return k, fmt.Errorf("there is no column %q", name)
			}
			values[i] = value
		}
		k.key = values[0]
		if len(values) > 1 {
			var err error
			if k.key, err = json.Marshal(values); err != nil {
				return k, err
			}
		}
	}
	// The name is that of what a JavaScript client reads, whose numbers are float64: keys that it
	// can't tell apart have the same.
	var value any
	if err := json.Unmarshal(k.key, &value); err != nil {
		return k, err
	}
	name, err := json.Marshal(value)
	k.name = string(name)
	return k, err
}

// dataEnd returns a frame's data without its first brace, and with what ends the frame.
func dataEnd(data any) ([]byte, error) {
	b := takeFrames()
	defer b.free()
	if err := b.frame("", "", data); err != nil {
		return nil, err
	}
	_, end, _ := bytes.Cut(b.bytes(), []byte("{"))
	return bytes.Clone(end), nil
}
