// Package scope knows what a scope is: its canonical form, its length, the names
// that none may have, and the templates that scopes are made of. It imports the
// standard library only, so that every other package may import it. pgbell's schema
// has the same in SQL, for attach and for the bell (functions/gate.sql and
// functions/feeds.sql); tests here hold the two together.
package scope

import (
	"slices"
	"strings"
)

// MaxBytes is the longest scope there is, in bytes of its canonical form.
const MaxBytes = 256

// reserved are the names that mean something else to an EventSource, or to a stream.
var reserved = []string{"", "open", "error", "message", "ready", "close"}

// Reserved says whether no scope may have this name: it is empty, or one that a stream
// uses itself.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

// plain says whether b stands for itself in a scope. All others are percent-encoded,
// so that no value can forge a frame of a stream or break an htmx trigger.
func plain(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	}
	return strings.IndexByte("_.:@/+=~-", b) >= 0
}

// Canonical brings a scope to the form in which scopes are compared: bytes outside
// A-Za-z0-9_.:@/+=~- are percent-encoded, with upper-case digits. What is
// percent-encoded already stays so, hence doing it twice changes nothing.
func Canonical(s string) string { return encode(s, true) }

// Encode percent-encodes a column's value for a scope. A percent sign in it is no
// more than that.
func Encode(value string) string { return encode(value, false) }

func encode(s string, again bool) string {
	const hex = "0123456789ABCDEF"
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:i])
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case plain(c):
			b.WriteByte(c)
		case again && c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteString(strings.ToUpper(s[i : i+3]))
			i += 2
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

func isHex(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F'
}
