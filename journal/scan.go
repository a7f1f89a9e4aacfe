package journal

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/pgbell/pgbell/bus"
)

// scanChanges reads changes as the triggers write them: members in their order, no
// white space, no escapes. It takes a fifth of the time of encoding/json, which is left
// all else: scanChanges reports false, and decides nothing. Keys and data are parts of
// text, which must not be modified any more.
func scanChanges(text []byte) ([]Change, bool) {
	if !utf8.Valid(text) || bytes.IndexByte(text, '\\') >= 0 {
		return nil, false
	}
	s := scanner{text: text, whole: string(text)}
	s.expect("[")
	changes := make([]Change, 0, 1+bytes.Count(text, []byte(`},{"scopes":`)))
	for {
		var c Change
		s.expect("{")
		flags := s.flags()
		c.Side = s.side()
		if s.skip(`,"changed":`) {
			c.Changed = s.strings()
		}
		if s.skip(`,"columns":`) {
			var ok bool
			if c.Changed, ok = flagged(s.strings(), flags); !ok {
				s.failed = true
			}
		} else if flags != "" {
			s.failed = true
		}
		if s.skip(`,"data":`) {
			c.Data = s.object()
		}
		if s.skip(`,"old":`) {
			s.expect("{")
			old := s.side()
			s.expect("}")
			c.Old = &old
		}
		s.expect("}")
		changes = append(changes, c)
		if s.failed || !s.skip(",") {
			break
		}
	}
	s.expect("]")
	return changes, !s.failed && s.at == len(text)
}

// scanner is a place in a text. Once something that is expected is not there, it has
// failed, and gives nothing more that is right.
type scanner struct {
	text   []byte
	whole  string // text, of which the strings are parts
	at     int
	failed bool
}

func (s *scanner) skip(word string) bool {
	if len(s.whole)-s.at < len(word) || s.whole[s.at:s.at+len(word)] != word {
		return false
	}
	s.at += len(word)
	return true
}

func (s *scanner) expect(word string) {
	if !s.skip(word) {
		s.failed = true
	}
}

// flags reads the member in front of the others that tells which columns changed.
func (s *scanner) flags() string {
	if !s.skip(`"flags":"`) {
		return ""
	}
	n := max(strings.IndexByte(s.whole[s.at:], '"'), 0)
	flags := s.whole[s.at : s.at+n]
	s.at += n
	s.expect(`",`)
	return flags
}

// side reads an object from its scopes up to its key, if it has one.
func (s *scanner) side() (side Side) {
	s.expect(`"scopes":`)
	side.Scopes = s.strings()
	s.expect(`,"audience":`)
	if !s.skip("null") {
		side.Audience = bus.Only(s.strings()...)
	}
	if s.skip(`,"key":`) {
		side.Key = s.object()
	}
	return side
}

// strings reads an array of strings.
func (s *scanner) strings() []string {
	s.expect("[")
	if s.failed || s.skip("]") {
		return []string{}
	}
	list := make([]string, 0, 2)
	for {
		s.expect(`"`)
		from := s.at
		for s.at < len(s.whole) && s.whole[s.at] != '"' {
			if s.whole[s.at] < ' ' {
				s.failed = true
			}
			s.at++
		}
		list = append(list, s.keep(s.whole[from:s.at]))
		s.expect(`"`)
		if s.failed || !s.skip(",") {
			break
		}
	}
	s.expect("]")
	return list
}

// maxShared is how long a text may be for parts of it to keep all of it in memory: an
// event waits in a queue long after the others of its statement are gone.
const maxShared = 4 << 10

func (s *scanner) keep(part string) string {
	if len(s.whole) > maxShared {
		return strings.Clone(part)
	}
	return part
}

// maxDepth of an object is far below that of encoding/json, which counts what is around
// it as well.
const maxDepth = 100

// object reads an object, or null.
func (s *scanner) object() json.RawMessage {
	if s.skip("null") {
		return nil
	}
	from, depth, quoted := s.at, 0, false
	for s.at < len(s.whole) {
		switch s.whole[s.at] {
		case '"':
			quoted = !quoted
		case '{', '[':
			if !quoted {
				depth++
			}
		case '}', ']':
			if !quoted {
				depth--
			}
		}
		if s.at++; depth <= 0 {
			break
		}
		if depth > maxDepth {
			s.failed = true
			return nil
		}
	}
	raw := s.text[from:s.at:s.at]
	if !json.Valid(raw) || raw[0] != '{' {
		s.failed = true
	}
	if len(s.whole) > maxShared {
		return bytes.Clone(raw)
	}
	return raw
}
