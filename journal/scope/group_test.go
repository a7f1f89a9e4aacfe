package scope

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestGroupNamesAreAsTheyAre(t *testing.T) {
	for _, test := range []struct {
		template string
		values   []string
		want     string // empty: there is none
	}{
		{"team:{id}", []string{"7"}, "team:7"},
		{"team:{id}", []string{"Blau & Gelb %41 ü"}, "team:Blau & Gelb %41 ü"},
		{"{id}", []string{"7"}, "7"},
		{"{id}", []string{""}, ""},
		{"{id}", []string{":7"}, ""},
		{"team:{id}", []string{""}, "team:"},
		{"{{team}}:{id}", []string{"7"}, "{team}:7"},
		{"{org}/{team}", []string{"a", "b"}, "a/b"},
		{"{org}/{team}", []string{"a", "b/c"}, "a/b/c"},
		{"{org}/{team}", []string{"a/b", "c"}, ""},
		{"{org}::{team}", []string{"a:", "c"}, ""},
		{"{org}::{team}", []string{"a", ":c"}, "a:::c"},
		{"team:{id}", []string{strings.Repeat("x", 1019)}, "team:" + strings.Repeat("x", 1019)},
		{"team:{id}", []string{strings.Repeat("x", 1020)}, ""},
	} {
		g, err := ParseGroup(test.template)
		if err != nil {
			t.Fatal(err)
		}
		name, ok := g.Make(test.values)
		if ok != (test.want != "") || ok && name != test.want {
			t.Errorf("%s of %q: %q, %v", test.template, test.values, name, ok)
		}
	}
	for _, template := range []string{"{a}{b}", "{a}:{b}{c}", "team:{", "{}", "x}", ":{a}"} {
		if _, err := ParseGroup(template); err == nil {
			t.Errorf("%s: no error", template)
		}
	}
}

// No two rows whose columns differ are of one group by one template.
func TestOneGroupIsOfOneRowsValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.StringMatching(`[ab:/]{0,4}`)
		separator := rapid.StringMatching(`[ab:/]{1,3}`)
		template := "{x}" + separator.Draw(t, "first") + "{y}" + separator.Draw(t, "second") + "{z}"
		g, err := ParseGroup(template)
		if err != nil {
			t.Fatal(err)
		}
		row := rapid.SliceOfN(piece, 3, 3)
		a, b := row.Draw(t, "a"), row.Draw(t, "b")
		one, is := g.Make(a)
		other, too := g.Make(b)
		if is && too && one == other && !slices.Equal(a, b) {
			t.Errorf("%s: %q and %q are both %q", template, a, b, one)
		}
	})
}
