//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// stream is what was read of one response, up to a point.
type stream struct {
	fd      int
	begun   bool   // the header is over
	live    bool   // changes from now on come
	waits   bool   // it is live only once an event says so
	chunked bool   // the body is in chunks
	left    int    // of the chunk
	header  []byte // the beginning of a header or of a chunk's
	rest    []byte // the beginning of a line of data
}

// frame is an event that tells of a row, or a reset.
type frame struct {
	id    int
	reset bool
}

// feed takes what was read next.
func (s *stream) feed(b []byte, got func(frame)) error {
	if !s.begun {
		s.header = append(s.header, b...)
		head, body, ok := bytes.Cut(s.header, []byte("\r\n\r\n"))
		if !ok {
			return nil
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("no stream: %s", s.header)
		}
		s.begun, s.header, b = true, nil, bytes.Clone(body)
		s.chunked = bytes.Contains(head, []byte("Transfer-Encoding: chunked"))
		s.live = !s.waits
	}
	if !s.chunked {
		s.body(b, got)
		return nil
	}
	for len(b) > 0 {
		if s.left > 0 {
			n := min(s.left, len(b))
			s.body(b[:n], got)
			s.left, b = s.left-n, b[n:]
			continue
		}
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			s.header = append(s.header, b...)
			return nil
		}
		s.header = append(s.header, b[:end]...)
		b = b[end+1:]
		if size := bytes.TrimSpace(s.header); len(size) > 0 { // else it is the end of the chunk before
			n, err := strconv.ParseUint(string(size), 16, 31)
			if err != nil {
				return fmt.Errorf("a chunk: %w", err)
			}
			s.left = int(n)
		}
		s.header = s.header[:0]
	}
	return nil
}

var (
	dataField  = []byte("data: ")
	idKey      = []byte(`"id":`)
	readyData  = []byte(`{"cursor":`)
	resetField = []byte(`"op":"reset"`)
	liveField  = []byte(`{"live":"board?row=`)
)

// body takes what the body has next. Only lines of data matter.
func (s *stream) body(b []byte, got func(frame)) {
	if len(s.rest) > 0 {
		s.rest = append(s.rest, b...)
		b = s.rest
	}
	for {
		at := bytes.Index(b, dataField)
		if at < 0 {
			b = b[max(0, len(b)-len(dataField)+1):]
			break
		}
		b = b[at:]
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			break
		}
		s.data(b[len(dataField):end], got)
		b = b[end+1:]
	}
	s.rest = append(s.rest[:0], b...)
}

// data takes a line of data: of a change, its first "id" is the row's.
func (s *stream) data(line []byte, got func(frame)) {
	switch at := bytes.Index(line, idKey); {
	case at >= 0:
		got(frame{id: leading(line[at+len(idKey):])})
	case bytes.HasPrefix(line, liveField) && !bytes.Contains(line, resetField):
		got(frame{id: leading(line[len(liveField):])})
	case bytes.Contains(line, resetField):
		got(frame{reset: true})
	case bytes.HasPrefix(line, readyData):
		s.live = true
	}
}

// leading is the number that text begins with.
func leading(text []byte) (n int) {
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			break
		}
		n = n*10 + int(digit-'0')
	}
	return n
}
