package sse

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal/scope"
)

// maxBatch is the length in bytes at which a run of frames is written; keepBatch is the
// largest buffer that is kept for the next run.
const (
	maxBatch  = 16 << 10
	keepBatch = 2 * maxBatch
)

// frames is a run of frames, to be written at once. Whatever the values, a reader
// that follows the WHATWG's rules finds just the frames that were added: see
// FuzzFrames.
type frames struct {
	alone  []byte // all there is, if it is not nil: shared with other streams, and not copied
	buf    bytes.Buffer
	enc    *json.Encoder // into buf
	events int           // how many of the frames are events
	lastID span          // the id line of the last frame, in buf
	roomy  bool          // the goroutine that fills it may let its stack grow: see start
	mark   string        // after each id: see Handler.mark
}

// Streams are many and mostly silent, so that none keeps a buffer of its own.
var framesPool = sync.Pool{New: func() any {
	b := new(frames)
	b.enc = json.NewEncoder(&b.buf)
	b.enc.SetEscapeHTML(false)
	return b
}}

func takeFrames() *frames { return framesPool.Get().(*frames) }

// free gives b back. It must not be used afterwards.
func (b *frames) free() {
	if b.buf.Cap() > keepBatch {
		return
	}
	b.reset()
	b.mark = ""
	framesPool.Put(b)
}

func (b *frames) reset() {
	b.alone = nil
	b.buf.Reset()
	b.events = 0
	b.roomy = false
}

func (b *frames) full() bool  { return len(b.bytes()) >= maxBatch }
func (b *frames) empty() bool { return len(b.bytes()) == 0 }

// bytes returns the frames, until the next is added.
func (b *frames) bytes() []byte {
	if b.alone != nil {
		return b.alone
	}
	return b.buf.Bytes()
}

// join makes room for more behind what is alone.
func (b *frames) join() {
	b.buf.Write(b.alone)
	b.alone = nil
}

// retry says how long to wait before coming back.
func (b *frames) retry(d time.Duration) {
	b.join()
	b.field("retry", strconv.FormatInt(d.Milliseconds(), 10))
	b.end()
}

// comment is what keeps a silent connection open.
func (b *frames) comment() {
	b.join()
	b.buf.WriteString(":\n\n")
}

// id moves the client's last id and raises no event.
func (b *frames) id(id string) {
	b.join()
	b.idLine(id)
	b.end()
}

// ready says that from cursor on nothing is missed, and if the user is nobody.
func (b *frames) ready(cursor string, scopes []string, lives []LiveQuery, user string) error {
	data := struct {
		Cursor string          `json:"cursor"`
		Scopes []string        `json:"scopes"`
		Live   []string        `json:"live,omitempty"`
		User   json.RawMessage `json:"user,omitempty"`
	}{Cursor: marked(cursor, b.mark), Scopes: append([]string{}, scopes...)}
	for _, q := range lives {
		data.Live = append(data.Live, q.String())
	}
	if user == "" {
		data.User = json.RawMessage("null")
	}
	return b.frame("ready", cursor, data)
}

// close says that the stream ends and there is no use in coming back.
func (b *frames) close(reason string) error {
	return b.frame("close", "", struct {
		Reason string `json:"reason"`
	}{reason})
}

// event adds e, which stands for so many events, under the name of its scope. An empty
// id leaves the client's last id as it is. If e's Key or Data is not JSON, event adds
// nothing and returns an error.
func (b *frames) event(id string, e *bus.ChangeEvent, stands int) error {
	data := payload{Scope: e.Scope, Op: e.Op, Table: e.Table}
	if stands > 1 {
		data.Coalesced = stands
	}
	if !e.At.IsZero() {
		data.At = e.At.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	if e.Op == bus.OpReset {
		data.Reason = e.Reason
	} else {
		data.Key, data.Data = unlessNull(e.Key), unlessNull(e.Data)
		data.Changed, data.Moved, data.Origin = e.Changed, e.Moved, e.Origin
	}
	// The scope is canonical if it came from a request, hence fit for a name.
	if err := b.frame(scope.Canonical(e.Scope), id, data); err != nil {
		return err
	}
	b.events++
	return nil
}

// payload is the data of an event's frame.
type payload struct {
	Scope   string          `json:"scope"`
	Op      bus.Op          `json:"op"`
	Table   string          `json:"table,omitempty"`
	Key     json.RawMessage `json:"key,omitempty"`
	Changed []string        `json:"changed,omitempty"`
	Moved   bus.Moved       `json:"moved,omitempty"`
	Origin  string          `json:"origin,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	At      string          `json:"at,omitempty"`

	Coalesced int `json:"coalesced,omitempty"` // how many events it stands for, if not one
}

func unlessNull(v json.RawMessage) json.RawMessage {
	if string(bytes.TrimSpace(v)) == "null" {
		return nil
	}
	return v
}

// frame adds a frame with data as JSON on one line, or nothing and an error.
func (b *frames) frame(name, id string, data any) error {
	b.join()
	start := b.buf.Len()
	b.field("event", name)
	b.lastID.from = b.buf.Len()
	b.idLine(id)
	b.lastID.to = b.buf.Len()
	b.buf.WriteString("data: ")
	from := b.buf.Len()
	if err := b.enc.Encode(data); err != nil { // ends the line
		b.buf.Truncate(start)
		return err
	}
	if !b.tidy(from) {
		b.buf.Truncate(start)
		return errors.New("JSON is not on one line")
	}
	b.end()
	return nil
}

// lineSeparators end a line in JavaScript before ES2019, and for readers that split
// lines by Unicode's rules, as Python's splitlines does. Encode escapes but some of
// them in strings, and leaves raw JSON as it is.
var lineSeparators = strings.NewReplacer("\u2028", `\u2028`, "\u2029", `\u2029`, "\u0085", `\u0085`)

// tidy makes the JSON that begins at from, and its line end, fit for a stream, or
// reports false.
func (b *frames) tidy(from int) bool {
	data := b.buf.Bytes()[from:]
	if bytes.IndexByte(data, '\n') != len(data)-1 || bytes.IndexByte(data, '\r') >= 0 {
		return false
	}
	separators := bytes.Contains(data, []byte("\u2028")) || bytes.Contains(data, []byte("\u2029")) || bytes.Contains(data, []byte("\u0085"))
	if utf8.Valid(data) && !separators {
		return true
	}
	text := lineSeparators.Replace(strings.ToValidUTF8(string(data), "\uFFFD"))
	b.buf.Truncate(from)
	b.buf.WriteString(text)
	return true
}

// field adds one line, or none if value is empty or not fit for a line. (A NUL
// makes a reader ignore an id.)
func (b *frames) field(name, value string) {
	if value == "" || strings.ContainsAny(value, "\r\n\x00") || !utf8.ValidString(value) {
		return
	}
	b.buf.WriteString(name)
	b.buf.WriteString(": ")
	b.buf.WriteString(value)
	b.buf.WriteByte('\n')
}

// idLine adds the line of an id, with the mark.
func (b *frames) idLine(id string) { b.field("id", marked(id, b.mark)) }

// end ends a frame.
func (b *frames) end() { b.buf.WriteByte('\n') }
