package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// block is one frame of a stream as a browser dispatches it.
type block struct{ name, data string }

// eventReader reads a stream by the WHATWG's rules: a frame counts once its blank
// line came, and moves the last id then, even if it holds no data.
type eventReader struct {
	in     *bufio.Reader
	buffer string // the id field as last seen
	lastID string
}

// next returns the next frame with data.
func (r *eventReader) next() (block, error) {
	var b block
	var data []string
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			return block{}, err
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" {
			r.lastID = r.buffer
			if len(data) > 0 {
				b.data = strings.Join(data, "\n")
				return b, nil
			}
			b = block{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			b.name = value
		case "data":
			data = append(data, value)
		case "id":
			r.buffer = value
		}
	}
}

// frame is an event or a reset as it arrived.
type frame struct {
	at      time.Time
	conn    int // the subscription's how-many-th connection
	scope   string
	ident   string // what it speaks of
	reset   bool
	merged  bool   // stands for several changes: of its scope all is told until it
	reason  string // of a reset
	row     string
	version int64
	deleted bool
	flaw    string // what is wrong with it by itself
	text    string // kept if there is a flaw or no ident
}

// readFrame understands b. The ident of an event is made of what tells the change
// from all others: the payload's op where there is one, else the key, which the
// writers then use but once in that way.
func readFrame(b block) (f frame) {
	f = frame{at: time.Now(), scope: b.name}
	var d struct {
		Scope, Op, Table, Moved, Reason string
		Key                             *struct{ ID int64 }
		Changed                         []string
		Data                            *struct{ Op, Ver int64 }
		Coalesced                       int
	}
	if err := json.Unmarshal([]byte(b.data), &d); err != nil {
		f.flaw = "not JSON: " + err.Error()
	}
	table := strings.TrimPrefix(d.Table, "public.")
	f.merged = d.Coalesced > 1
	switch {
	case f.flaw != "":
	case d.Scope != b.name:
		f.flaw = "the frame's name and its scope differ"
	case d.Op == "reset":
		f.reset, f.reason = true, d.Reason
		if d.Key != nil || d.Data != nil || d.Changed != nil || d.Reason == "" {
			f.flaw = "a reset tells of a row, or not why"
		}
	case d.Op == "publish" && d.Data != nil:
		f.ident = fmt.Sprintf("publish/%d", d.Data.Op)
	case d.Key == nil && f.merged: // of several rows
		if d.Data != nil || d.Moved != "" {
			f.flaw = "stands for several rows and tells of one"
		}
	case d.Key == nil:
		f.flaw = "no key"
	case d.Moved == "out":
		f.ident = gone(table, d.Key.ID)
		if d.Data != nil || d.Changed != nil {
			f.flaw = "LEAK: says what a row is that its reader lost"
		}
	case d.Op == "delete":
		f.ident, f.deleted = deleted(table, d.Key.ID), true
	case d.Data != nil:
		f.ident = written(table, d.Data.Op, d.Key.ID)
	default:
		f.ident = written(table, 0, d.Key.ID)
	}
	if d.Key != nil && d.Data != nil {
		f.row, f.version = fmt.Sprintf("%s/%d", table, d.Key.ID), d.Data.Ver
	}
	if f.ident == "" && !f.reset && !f.merged || f.flaw != "" {
		f.text = b.data
	}
	return f
}

// The idents of a row's events.
func written(table string, op, id int64) string {
	return fmt.Sprintf("%s/written/%d/%d", table, op, id)
}
func deleted(table string, id int64) string { return fmt.Sprintf("%s/deleted/%d", table, id) }
func gone(table string, id int64) string    { return fmt.Sprintf("%s/gone/%d", table, id) }
func published(op int64) string             { return fmt.Sprintf("publish/%d", op) }
