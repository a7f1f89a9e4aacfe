package deps

import (
	"encoding/binary"
	"testing"
)

// A server may write numbers the other way round. Text from one that isn't in UTF8 is only
// believed where it can't be read in two ways.
func TestConstantsAreReadAsTheServerKeepsThem(t *testing.T) {
	constant := func(typ, size token, d datum) *node {
		return &node{name: "CONST", fields: []field{{"consttype", typ}, {"constlen", size}, {"constisnull", token("false")}, {"constvalue", d}}}
	}
	for _, test := range []struct {
		name  string
		order binary.ByteOrder
		utf8  bool
		class class
		n     *node
		want  string // empty: none
	}{
		{"little", binary.LittleEndian, true, integers, constant("23", "4", datum{254, 255, 255, 255, 255, 255, 255, 255}), "-2"},
		{"big", binary.BigEndian, true, integers, constant("20", "8", datum{0, 0, 0, 0, 0, 0, 1, 2}), "258"},
		{"short", binary.LittleEndian, true, integers, constant("23", "4", datum{1, 0, 0, 0}), ""},
		{"odd size", binary.LittleEndian, true, integers, constant("23", "3", datum{1, 0, 0, 0, 0, 0, 0, 0}), ""},
		{"true", binary.LittleEndian, true, booleans, constant("16", "1", datum{1, 0, 0, 0, 0, 0, 0, 0}), "true"},
		{"neither", binary.LittleEndian, true, booleans, constant("16", "1", datum{2, 0, 0, 0, 0, 0, 0, 0}), ""},
		{"text", binary.LittleEndian, true, texts, constant("25", "-1", datum{24, 0, 0, 0, 0xc3, 0xa4}), "ä"},
		{"text, big", binary.BigEndian, true, texts, constant("25", "-1", datum{0, 0, 0, 6, 'o', 'k'}), "ok"},
		{"compressed", binary.LittleEndian, true, texts, constant("25", "-1", datum{26, 0, 0, 0, 'o', 'k'}), ""},
		{"another encoding", binary.LittleEndian, false, texts, constant("25", "-1", datum{24, 0, 0, 0, 0xc3, 0xa4}), ""},
		{"another encoding, ascii", binary.LittleEndian, false, texts, constant("25", "-1", datum{24, 0, 0, 0, 'o', 'k'}), "ok"},
		{"no utf8", binary.LittleEndian, true, texts, constant("25", "-1", datum{24, 0, 0, 0, 0xc3, 0xc3}), ""},
		{"cut", binary.LittleEndian, true, texts, constant("25", "-1", datum{28, 0, 0, 0, 'o', 'k'}), ""},
		{"name", binary.LittleEndian, true, names, constant("19", "64", make(datum, 64)), ""},
		{"uuid", binary.LittleEndian, true, uuids, constant("2950", "16", make(datum, 16)), "00000000-0000-0000-0000-000000000000"},
		{"day", binary.LittleEndian, true, dates, constant("1082", "4", datum{255, 255, 255, 255, 255, 255, 255, 255}), "1999-12-31"},
		{"infinity", binary.LittleEndian, true, dates, constant("1082", "4", datum{255, 255, 255, 127, 0, 0, 0, 0}), ""},
		{"null", binary.LittleEndian, true, integers, &node{fields: []field{{"constisnull", token("true")}, {"constvalue", nil}}}, ""},
		{"a class of its own", binary.LittleEndian, true, "", constant("1700", "-1", datum{24, 0, 0, 0, 0, 0}), ""},
	} {
		a := &analyser{catalog: &catalog{utf8: test.utf8}, order: test.order}
		got, ok := a.constant(test.n, test.class)
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("%s: %q %v, want %q", test.name, got, ok, test.want)
		}
	}
	if byteOrder(datum{1, 0, 0, 0, 0, 0, 0, 0}) != binary.ByteOrder(binary.LittleEndian) || byteOrder(datum{0, 0, 0, 0, 0, 0, 0, 1}) != binary.ByteOrder(binary.BigEndian) || byteOrder(datum{1}) != nil || byteOrder(nil) != nil {
		t.Error("the order of bytes")
	}
}
