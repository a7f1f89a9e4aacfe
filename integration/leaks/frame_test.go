package leaks

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// frame is an event of a stream.
type frame struct {
	name, id, data string
}

// eventReader reads a stream by the WHATWG's rules.
type eventReader struct {
	in     *bufio.Reader
	lastID string // of the frames that are complete
	buffer string
}

// next returns the next frame that has data, or one with an id alone.
func (r *eventReader) next() (frame, error) {
	var f frame
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			return frame{}, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			r.lastID = r.buffer
			f.id = r.lastID
			return f, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			f.name = value
		case "data":
			f.data += value
		case "id":
			r.buffer = value
		}
	}
}

// content is the data of a frame: all fields that there are.
type content struct {
	Scope   string          `json:"scope"`
	Op      string          `json:"op"`
	Table   string          `json:"table"`
	Key     json.RawMessage `json:"key"`
	Changed []string        `json:"changed"`
	Moved   string          `json:"moved"`
	Origin  string          `json:"origin"`
	Data    json.RawMessage `json:"data"`
	Reason  string          `json:"reason"`
	At      string          `json:"at"`
}

func (f frame) content() (content, error) {
	d := json.NewDecoder(strings.NewReader(f.data))
	d.DisallowUnknownFields()
	var c content
	if err := d.Decode(&c); err != nil {
		return c, err
	}
	if _, err := d.Token(); err != io.EOF {
		return c, fmt.Errorf("more than one value")
	}
	if c.Scope != f.name {
		return c, fmt.Errorf("its name is %s, its scope %s", f.name, c.Scope)
	}
	return c, nil
}

func (c content) shape() shape {
	return shape{c.Op, c.Moved, c.Table, string(c.Key), strings.Join(c.Changed, ","), string(c.Data), c.Origin}
}

// tellsOfRow says whether there is more than a reset may hold.
func (c content) tellsOfRow() bool {
	return c.Key != nil || c.Changed != nil || c.Moved != "" || c.Origin != "" || c.Data != nil || tokens.MatchString(c.Reason)
}
