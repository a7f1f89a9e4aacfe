package deps

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"
)

// Value is what a column is compared with: a parameter, or a constant.
type Value struct {
	Param int    // from 1; 0 is a constant
	Text  string // of the constant, as Postgres writes it
	class class
}

// String is the value as SQL has it: $1, 7, 'open'.
func (v Value) String() string {
	switch {
	case v.Param > 0:
		return "$" + strconv.Itoa(v.Param)
	case v.class == integers, v.class == booleans:
		return v.Text
	}
	return "'" + strings.ReplaceAll(v.Text, "'", "''") + "'"
}

// constant returns the text of a Const of class k. Its bytes are as they stand in the
// server's memory.
func (a *analyser) constant(n *node, k class) (text string, ok bool) {
	d, _ := n.get("constvalue").(datum)
	if n.get("constisnull") != token("false") || k == "" || k == names || a.moving(n) {
		return "", false
	}
	size := n.int("constlen")
	switch k {
	case integers:
		i, ok := a.integer(d, size)
		return strconv.FormatInt(i, 10), ok
	case booleans:
		i, ok := a.integer(d, 1)
		return strconv.FormatBool(i == 1), ok && i&^1 == 0
	case dates: // days since 2000; the greatest and the least are infinities
		i, ok := a.integer(d, 4)
		day := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(i))
		return day.Format(time.DateOnly), ok && day.Year() >= 1 && day.Year() <= 9999
	case uuids:
		if len(d) != 16 {
			return "", false
		}
		return uuid(d), true
	case texts:
		if size != -1 || len(d) < 4 {
			return "", false
		}
		head := a.order.Uint32(d)
		if a.order == binary.ByteOrder(binary.LittleEndian) { // varattrib_4b, src/include/varatt.h
			head = head>>2 | head<<30
		}
		text := string(d[4:])
		return text, int(head) == len(d) && (a.catalog.utf8 && utf8.ValidString(text) || ascii(text))
	}
	i, ok := a.integer(d, 4) // an enum's
	if !ok {
		return "", false
	}
	return a.catalog.label(uint32(i)), a.catalog.err == nil
}

// integer reads what is passed by value: a word of 8 bytes, of which size count.
func (a *analyser) integer(d datum, size int) (int64, bool) {
	if len(d) != 8 {
		return 0, false
	}
	switch word := a.order.Uint64(d); size {
	case 1:
		return int64(int8(word)), true
	case 2:
		return int64(int16(word)), true
	case 4:
		return int64(int32(word)), true
	case 8:
		return int64(word), true
	}
	return 0, false
}

// byteOrder is the server's, going by how it writes the bigint 1; nil if it can't be told.
func byteOrder(one any) binary.ByteOrder {
	if d, _ := one.(datum); len(d) == 8 {
		for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			if o.Uint64(d) == 1 {
				return o
			}
		}
	}
	return nil
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

func uuid(b []byte) string {
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// movingLiteral are the literals that mean another time whenever they are read.
var movingLiteral = regexp.MustCompile(`(?i)'\s*(now|today|tomorrow|yesterday)\b`)

// moving says whether a constant may be such a literal. Those of views and functions were
// read when these were made, but that can't be seen here.
func (a *analyser) moving(n *node) bool {
	switch n.oid("consttype") {
	case 1082, 1083, 1114, 1184, 1266: // date, time, timestamp, both with time zone
		return a.moves
	}
	return false
}

// Of returns what v is with arguments for the query's parameters, as Postgres writes it: the
// text that columns equal to it have. It is null if the argument is. types are the
// parameters' ([Dependencies.Params]); an argument is given as to pgx.
func (v Value) Of(types []uint32, args []any) (text string, null bool, err error) {
	if v.Param == 0 {
		return v.Text, false, nil
	}
	if v.Param > len(args) || v.Param > len(types) {
		return "", false, fmt.Errorf("there is no argument for $%d", v.Param)
	}
	b, err := pgtype.NewMap().Encode(types[v.Param-1], pgtype.TextFormatCode, args[v.Param-1], []byte{}) // nil is a null
	if err == nil && b != nil {
		text, err = canonical(string(b), v.class)
	}
	if err != nil {
		return "", false, fmt.Errorf("$%d: %w", v.Param, err)
	}
	return text, b == nil, nil
}

// canonical returns the text that Postgres would write of a value of class k, given in a
// form that it would read.
func canonical(text string, k class) (string, error) {
	switch k {
	case integers:
		i, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return "", fmt.Errorf("%q is no integer", text)
		}
		return strconv.FormatInt(i, 10), nil
	case booleans:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return "", fmt.Errorf("%q is no boolean", text)
		}
		return strconv.FormatBool(b), nil
	case uuids:
		bare := strings.ToLower(strings.NewReplacer("-", "", "{", "", "}", "").Replace(text))
		b, err := hex.DecodeString(bare)
		if err != nil || len(b) != 16 {
			return "", fmt.Errorf("%q is no uuid", text)
		}
		return uuid(b), nil
	case dates:
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return "", fmt.Errorf("%q is no date such as 2006-01-02", text)
		}
		return day.Format(time.DateOnly), nil
	}
	if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
		return "", fmt.Errorf("%q is no text of Postgres", text)
	}
	return text, nil
}
