package deps

import (
	"reflect"
	"strings"
	"testing"
)

func TestTreesAreReadAsPostgresWritesThem(t *testing.T) {
	for text, want := range map[string]any{
		"<>":                  nil,
		"12":                  token("12"),
		"(i 1 2)":             list{token("i"), token("1"), token("2")},
		"()":                  list{},
		"{}":                  nil, // a node has a name
		"{A}":                 &node{name: "A"},
		"{A :b <> :c true}":   &node{name: "A", fields: []field{{"b", nil}, {"c", token("true")}}},
		"{A :b {C :d (1)}\n}": &node{name: "A", fields: []field{{"b", &node{name: "C", fields: []field{{"d", list{token("1")}}}}}}},
		"{CONST :constvalue 4 [ 7 0 0 0 -1 0 0 255 ]}": &node{name: "CONST", fields: []field{{"constvalue", datum{7, 0, 0, 0, 255, 0, 0, 255}}}},
		`("a\ b" "c"d")`: list{token(`"a\ b"`), token(`"c"d"`)},
	} {
		got, err := read(text)
		if text == "{}" {
			if err == nil {
				t.Errorf("%s: %v", text, got)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v", text, got, err)
		}
	}
	for in, want := range map[string]string{`a\ b`: "a b", `"x\\y"`: `x\y`, `"c"d"`: `c"d`, `\<\>`: "<>", `"`: `"`, `a\`: `a\`} {
		if got := unescape(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for _, broken := range []string{"", "(", "{A", "{A :b}", "{A b 1}", "(1", "1 2", "{A :b 4 [ 1 2 ]}", "{A :b 4 [ 300 0 0 0 ]}", "{A :b 1 [ x ]}", "{A :b 1 [ 1", ")", "}", strings.Repeat("(", maxDepth+2)} {
		if got, err := read(broken); err == nil {
			t.Errorf("%.20q: %v", broken, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"{QUERY :commandType 1 :rtable ({RANGETBLENTRY :relid 5 :x <>}) :y (b 1 2)}", "4 [ 7 0 0 0 0 0 0 0 ]", `("a\ b")`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := read(text)
		if err != nil {
			return
		}
		each(v, func(n *node) { // nothing that a node may lack breaks who asks
			n.node("x").list("y")
			n.list("x")
			n.int("x")
			n.oid("x")
			n.text("x")
		})
		queries(v)
	})
}
