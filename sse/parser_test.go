package sse

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
)

// kind is what a block of a stream is to its reader.
type kind string

const (
	event   kind = "an event"
	id      kind = "an id alone"
	retry   kind = "a retry time"
	comment kind = "a comment"
)

// item is what a reader makes of a block, or of a comment.
type item struct {
	kind kind
	name string // the event's type
	id   string // the last event id, after the block
	data string
}

func (it item) String() string {
	return fmt.Sprintf("%s: name %q, id %q, data %s", it.kind, it.name, it.id, it.data)
}

// parser reads a stream by the rules of the WHATWG's HTML standard, section 9.2.6,
// "Interpreting an event stream". It shares nothing with the writer.
type parser struct {
	r      *bufio.Reader
	begun  bool
	skipLF bool

	lastEventID string
	retryTime   string

	// The buffers of the standard.
	data, eventType, eventID string
	sawData, sawRetry        bool
}

func newParser(r io.Reader) *parser { return &parser{r: bufio.NewReader(r)} }

// line reads a line, ended by CRLF, LF or CR.
func (p *parser) line() (string, error) {
	var b strings.Builder
	for {
		c, err := p.r.ReadByte()
		if err != nil {
			return "", err // an unfinished line is discarded
		}
		if p.skipLF {
			p.skipLF = false
			if c == '\n' {
				continue
			}
		}
		switch c {
		case '\r':
			p.skipLF = true
			return b.String(), nil
		case '\n':
			return b.String(), nil
		}
		b.WriteByte(c)
	}
}

// next returns the next thing that a reader notices.
func (p *parser) next() (item, error) {
	for {
		line, err := p.line()
		if err != nil {
			return item{}, err
		}
		if !p.begun {
			p.begun = true
			line = strings.TrimPrefix(line, "\uFEFF")
		}
		if line == "" {
			if it, ok := p.dispatch(); ok {
				return it, nil
			}
			continue
		}
		if strings.HasPrefix(line, ":") {
			return item{kind: comment, id: p.lastEventID, data: line[1:]}, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			p.eventType = value
		case "data":
			p.data += value + "\n"
			p.sawData = true
		case "id":
			if !strings.Contains(value, "\x00") {
				p.eventID = value
			}
		case "retry":
			if strings.Trim(value, "0123456789") == "" {
				p.retryTime, p.sawRetry = value, true
			}
		}
	}
}

// dispatch ends a block.
func (p *parser) dispatch() (item, bool) {
	moved := p.eventID != p.lastEventID
	p.lastEventID = p.eventID
	it := item{kind: event, name: p.eventType, id: p.lastEventID, data: strings.TrimSuffix(p.data, "\n")}
	hadData, hadRetry := p.sawData, p.sawRetry
	p.data, p.eventType, p.sawData, p.sawRetry = "", "", false, false
	switch {
	case hadData:
		if it.name == "" {
			it.name = "message"
		}
		return it, true
	case hadRetry:
		return item{kind: retry, id: it.id, data: p.retryTime}, true
	case moved:
		return item{kind: id, id: it.id}, true
	}
	return item{}, false
}

// The examples of the standard.
func TestParserFollowsTheStandard(t *testing.T) {
	for _, test := range []struct {
		stream string
		want   []item
	}{
		{"data: YHOO\ndata: +2\ndata: 10\n\n", []item{{event, "message", "", "YHOO\n+2\n10"}}},
		{": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n", []item{
			{comment, "", "", " test stream"}, {event, "message", "1", "first event"}, {event, "message", "", "second event"}, {event, "message", "", " third event"}}},
		{"data:test\r\rdata: test\r\n\r\nid: 7\n\ndata: unfinished\n", []item{
			{event, "message", "", "test"}, {event, "message", "", "test"}, {id, "", "7", ""}}},
		{"event: a\nid: 1\x00\ndata: x\n\nretry: 12\n\nretry: 1x\n\n", []item{{event, "a", "", "x"}, {retry, "", "", "12"}}},
	} {
		p := newParser(strings.NewReader(test.stream))
		for _, want := range test.want {
			if got, err := p.next(); err != nil || got != want {
				t.Errorf("%q: got %v, %v, want %v", test.stream, got, err, want)
			}
		}
		if got, err := p.next(); err != io.EOF {
			t.Errorf("%q: got %v, %v, want the end", test.stream, got, err)
		}
	}
}
