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

	mu    sync.Mutex
	all   []byte         // end of a frame's data, see whole
	keys  []keyedRow     // nil before they are asked for
	index map[string]int // into keys, by name; nil if two rows have the same key, or one has none
	from  string         // ETag of those from which delta is: a pointer would keep them, and all before
	delta []byte         // end of a frame's data
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
	return &LiveRows{json: rows, etag: hex.EncodeToString(sum[:12]), key: key}
}

// JSON returns the array, not to be changed.
func (r *LiveRows) JSON() []byte { return r.json }

// ETag is the same for the same JSON, and has no quotes.
func (r *LiveRows) ETag() string { return r.etag }

// whole returns the end of the data of a frame with all rows: what follows its "live". An error
// says that they are no array of JSON.
func (r *LiveRows) whole() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wholeLocked()
}

func (r *LiveRows) wholeLocked() (_ []byte, err error) {
	if r.all == nil {
		r.all, err = dataEnd(struct {
			Op   string          `json:"op"`
			Key  []string        `json:"key,omitempty"`
			Rows json.RawMessage `json:"rows"`
		}{"rows", r.key, r.json})
	}
	return r.all, err
}

// since returns the same of a frame that says how these rows came from others, or that has all
// of them: where it can't be said, or is no shorter.
func (r *LiveRows) since(from *LiveRows) ([]byte, error) {
	if from == nil || from.etag == r.etag || !slices.Equal(from.key, r.key) {
		return r.whole()
	}
	rowsBefore, before := from.keyed()
	rows, index := r.keyed()
	r.mu.Lock()
	defer r.mu.Unlock()
	all, err := r.wholeLocked()
	if err != nil || before == nil || index == nil {
		return all, err
	}
	if r.from != from.etag {
		delta, err := dataEnd(difference(rowsBefore, before, rows, index))
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

func difference(rowsBefore []keyedRow, before map[string]int, rows []keyedRow, index map[string]int) delta {
	d := delta{Op: "delta"}
	var order []string // in which a reader has them who knows Set and Gone
	for _, row := range rowsBefore {
		if _, stays := index[row.name]; stays {
			order = append(order, row.name)
		} else {
			d.Gone = append(d.Gone, row.key)
		}
	}
	for _, row := range rows {
		at, was := before[row.name]
		if !was {
			order = append(order, row.name)
		}
		if !was || !bytes.Equal(rowsBefore[at].row, row.row) {
			d.Set = append(d.Set, row.row)
		}
	}
	if !slices.EqualFunc(order, rows, func(name string, row keyedRow) bool { return name == row.name }) {
		for _, row := range rows {
			d.Order = append(d.Order, row.key)
		}
	}
	return d
}

// keyed returns the rows with their keys, and where those are; nil if they don't tell the rows
// apart.
func (r *LiveRows) keyed() ([]keyedRow, map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys != nil {
		return r.keys, r.index
	}
	var rows []json.RawMessage
	r.keys = []keyedRow{}
	if json.Unmarshal(r.json, &rows) != nil {
		return nil, nil
	}
	index := map[string]int{}
	for i, row := range rows {
		k, err := r.keyOf(row)
		if err != nil {
			return nil, nil
		}
		if _, twice := index[k.name]; twice {
			return nil, nil
		}
		index[k.name] = i
		r.keys = append(r.keys, k)
	}
	r.index = index
	return r.keys, r.index
}

// keyOf finds the key of a row: the value of its column, an array of several, or all of the row.
func (r *LiveRows) keyOf(row json.RawMessage) (keyedRow, error) {
	k := keyedRow{row: row, key: row}
	if len(r.key) > 0 {
		var columns map[string]json.RawMessage
		if err := json.Unmarshal(row, &columns); err != nil {
			return k, err
		}
		values := make([]json.RawMessage, len(r.key))
		for i, name := range r.key {
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
