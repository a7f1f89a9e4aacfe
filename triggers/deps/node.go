package deps

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// node is a node of a parse tree as Postgres stores it (src/backend/nodes/outfuncs.c):
// {NAME :field value ...}. Which fields a node has differs between versions, so that nodes
// are read without knowing any.
type node struct {
	name   string
	fields []field
}

// field has a *node, a list, a token, a datum, or nil for <>.
type field struct {
	name  string
	value any
}

type list []any

// token is anything else, with its escapes: a number, a name, true.
type token string

// datum is the memory of a constant.
type datum []byte

func (n *node) get(name string) any {
	if n != nil {
		for _, f := range n.fields {
			if f.name == name {
				return f.value
			}
		}
	}
	return nil
}

func (n *node) node(name string) *node { return asNode(n.get(name)) }
func (n *node) list(name string) list  { l, _ := n.get(name).(list); return l }
func (n *node) flag(name string) bool  { return n.get(name) == token("true") }

// int is 0 for a field that isn't there or is no number.
func (n *node) int(name string) int { return asInt(n.get(name)) }
func (n *node) oid(name string) uint32 {
	t, _ := n.get(name).(token)
	oid, _ := strconv.ParseUint(string(t), 10, 32)
	return uint32(oid)
}

func (n *node) text(name string) string {
	t, _ := n.get(name).(token)
	return unescape(string(t))
}

func asNode(v any) *node { n, _ := v.(*node); return n }

func asInt(v any) int {
	t, _ := v.(token)
	i, _ := strconv.Atoi(string(t))
	return i
}

// maxDepth bounds how deep nodes may stand within each other: Postgres itself can't plan
// what is much deeper.
const maxDepth = 10_000

// read reads a tree, and nothing behind it.
func read(text string) (any, error) {
	r := reader{text: text}
	v, err := r.value(0)
	if err == nil && r.peek() != 0 {
		err = errors.New("something stands behind it")
	}
	if err != nil {
		return nil, fmt.Errorf("parse tree, byte %d: %w", r.at, err)
	}
	return v, nil
}

type reader struct {
	text string
	at   int
}

// peek returns the next byte that is no white space; 0 is the end.
func (r *reader) peek() byte {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case ' ', '\n', '\t':
			r.at++
		default:
			return c
		}
	}
	return 0
}

// token reads as pg_strtok does (src/backend/nodes/read.c).
func (r *reader) token() (string, error) {
	r.peek()
	begin := r.at
scan:
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\n', '\t', '(', ')', '{', '}':
			break scan
		case '\\':
			r.at++
		}
		r.at++
	}
	if r.at = min(r.at, len(r.text)); r.at == begin {
		return "", errors.New("a word is missing")
	}
	return r.text[begin:r.at], nil
}

func (r *reader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("deeper than %d", maxDepth)
	}
	switch r.peek() {
	case '{':
		r.at++
		return r.node(depth + 1)
	case '(':
		r.at++
		l := list{}
		for r.peek() != ')' {
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		r.at++
		return l, nil
	}
	t, err := r.token()
	if err != nil || t == "<>" {
		return nil, err
	}
	if size, err := strconv.Atoi(t); err == nil && strings.HasPrefix(r.text[r.at:], " [ ") {
		return r.datum(size)
	}
	return token(t), nil
}

func (r *reader) node(depth int) (any, error) {
	name, err := r.token()
	if err != nil {
		return nil, err
	}
	n := &node{name: name}
	for r.peek() != '}' {
		word, err := r.token()
		if err != nil {
			return nil, err
		}
		bare, ok := strings.CutPrefix(word, ":")
		if !ok {
			return nil, fmt.Errorf("%q stands where a field of %s begins", word, name)
		}
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		n.fields = append(n.fields, field{bare, v})
	}
	r.at++
	return n, nil
}

// datum reads the bytes behind their number. Those passed by value are more than that says.
func (r *reader) datum(size int) (any, error) {
	if _, err := r.token(); err != nil { // the bracket
		return nil, err
	}
	d := datum{}
	for {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		if t == "]" {
			break
		}
		b, err := strconv.ParseInt(t, 10, 16) // signed, where char is
		if err != nil || b < -128 || b > 255 {
			return nil, fmt.Errorf("%q is no byte", t)
		}
		d = append(d, byte(b))
	}
	if size > len(d) {
		return nil, fmt.Errorf("a constant of %d bytes has %d", size, len(d))
	}
	return d, nil
}

// unescape takes the backslashes away, and the quotes around a string of a list.
func unescape(t string) string {
	if len(t) >= 2 && t[0] == '"' && t[len(t)-1] == '"' {
		t = t[1 : len(t)-1]
	}
	if !strings.Contains(t, `\`) {
		return t
	}
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		if t[i] == '\\' && i+1 < len(t) {
			i++
		}
		b.WriteByte(t[i])
	}
	return b.String()
}
