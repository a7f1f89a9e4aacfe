package scope

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// anyText draws text with what may matter in it.
func anyText() *rapid.Generator[string] {
	piece := rapid.OneOf(
		rapid.StringN(0, 4, -1),
		rapid.StringMatching(`[a-z0-9_.:@/+=~-]{0,3}`),
		rapid.SampledFrom([]string{"%", "%%", "%4", "%41", "%e2", "%E2%82%AC", "%zz", "{", "}", "{{", "}}", "{id}", "€", "\n", "\"", "\\", " ", "𝄞"}),
	)
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(piece, 0, 6).Draw(t, "pieces"), "")
	})
}

const safeBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@/+=~-"

func TestCanonicalIsIdempotentAndSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := anyText().Draw(t, "text")
		if rapid.Bool().Draw(t, "bytes") {
			text = string(rapid.SliceOf(rapid.Byte()).Draw(t, "raw"))
		}
		once := Canonical(text)
		if twice := Canonical(once); twice != once {
			t.Errorf("%q: once %q, twice %q", text, once, twice)
		}
		if strings.Trim(once, safeBytes+"%") != "" {
			t.Errorf("%q: %q is not safe", text, once)
		}
	})
}

func TestCanonical(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "",
		safeBytes:          safeBytes,
		"a b":              "a%20b",
		"100%":             "100%25",
		"%4":               "%254",
		"%41":              "%41", // stays, though A needs no encoding: it is another scope
		"%e2%82%ac":        "%E2%82%AC",
		"€":                "%E2%82%AC",
		"%%41":             "%25%41",
		"%zz":              "%25zz",
		"a,b;c":            "a%2Cb%3Bc",
		"x\r\ndata: y":     "x%0D%0Adata:%20y",
		"\x00\xff":         "%00%FF",
		"user:{id}":        "user:%7Bid%7D",
		"project:7/task:9": "project:7/task:9",
	} {
		if got := Canonical(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]Template{
		"":                 {[]string{""}, nil},
		"tasks":            {[]string{"tasks"}, nil},
		"project:{id}":     {[]string{"project:", ""}, []string{"id"}},
		"{a}{b}":           {[]string{"", "", ""}, []string{"a", "b"}},
		"{a}-{a}":          {[]string{"", "-", ""}, []string{"a", "a"}},
		"{{a}}":            {[]string{"%7Ba%7D"}, nil},
		"{{{a}}}":          {[]string{"%7B", "%7D"}, []string{"a"}},
		"{{{{":             {[]string{"%7B%7B"}, nil},
		"ä {Odd \"Name\"}": {[]string{"%C3%A4%20", ""}, []string{`Odd "Name"`}},
		"{a{b}":            {[]string{"", ""}, []string{"a{b"}},
		"%41{a}%4":         {[]string{"%41", "%254"}, []string{"a"}},
	} {
		got, err := Parse(text)
		if err != nil || !cmp.Equal(got, want, cmp.AllowUnexported(Template{})) {
			t.Errorf("%q: %v: %s", text, err, cmp.Diff(want, got, cmp.AllowUnexported(Template{})))
		}
		if diff := cmp.Diff(want.columns, got.Columns()); diff != "" {
			t.Errorf("%q: columns: %s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"{":          "byte 1 is not closed",
		"a{b":        "byte 2 is not closed",
		"a}":         "byte 2 closes nothing",
		"}":          "closes nothing",
		"{}":         "no column name",
		"{{}":        "closes nothing",
		"{a}}":       "closes nothing",
		"a{{b}} {":   "not closed",
		"x:{a}:{}:y": "no column name",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one with %q", text, err, want)
		}
	}
	if _, err := ParseAll([]string{"a", "b{"}); err == nil {
		t.Error("one bad template among good ones was accepted")
	}
}

// fill returns the scope that t gives for values, as a trigger would.
func fill(t Template, values []string) string {
	var b strings.Builder
	for i, literal := range t.literals {
		b.WriteString(literal)
		if i < len(values) {
			b.WriteString(values[i])
		}
	}
	return b.String()
}

func TestTemplateMatchesWhateverFillsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.StringMatching(`[ab:]{0,3}`) // so that literals come again in values
		template := Template{literals: []string{few.Draw(t, "literal")}}
		var values []string
		for range rapid.IntRange(0, 3).Draw(t, "columns") {
			template.columns = append(template.columns, "c")
			template.literals = append(template.literals, few.Draw(t, "literal"))
			value := few
			if rapid.Bool().Draw(t, "odd") {
				value = rapid.Map(anyText(), Canonical)
			}
			values = append(values, value.Draw(t, "value"))
		}
		if scope := fill(template, values); !template.Matches(scope) {
			t.Errorf("%q does not match %q", template, scope)
		}
	})
}

// matches is Matches, by trying every way to cut scope.
func matches(literals []string, scope string) bool {
	rest, ok := strings.CutPrefix(scope, literals[0])
	if !ok || len(literals) == 1 {
		return ok && rest == ""
	}
	for i := 0; i <= len(rest); i++ {
		if matches(literals[1:], rest[i:]) {
			return true
		}
	}
	return false
}

func TestTemplateMatchesNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ab]{0,2}`)
		var template Template
		template.literals = rapid.SliceOfN(text, 1, 4).Draw(t, "literals")
		template.columns = make([]string, len(template.literals)-1)
		scope := rapid.StringMatching(`[ab]{0,7}`).Draw(t, "scope")
		if got, want := template.Matches(scope), matches(template.literals, scope); got != want {
			t.Errorf("%q matches %q: got %v, want %v", template.literals, scope, got, want)
		}
	})
}

func TestTemplateMatches(t *testing.T) {
	for _, test := range []struct {
		template, scope string
		want            bool
	}{
		{"tasks", "tasks", true},
		{"tasks", "tasks2", false},
		{"tasks", "task", false},
		{"project:{id}", "project:7", true},
		{"project:{id}", "project:", true}, // an empty text
		{"project:{id}", "project", false},
		{"project:{id}", "task:7", false},
		{"{a}:x", "7:x", true},
		{"{a}:x", "7:y", false},
		{"{a}", "", true},
		{"a{x}a", "a", false}, // the two literals may not overlap
		{"a{x}a", "aa", true},
		{"a{x}b{y}a", "aba", true},
		{"a{x}b{y}a", "abb", false},
		{"ab{x}ba", "aba", false},
		{"a{x}bb{y}b", "abb", false},
		{"ü:{x}", "%C3%BC:1", true},
		{"", "", true},
		{"", "a", false},
	} {
		template, err := Parse(test.template)
		if err != nil {
			t.Fatal(err)
		}
		if got := template.Matches(test.scope); got != test.want {
			t.Errorf("%q matches %q: got %v, want %v", test.template, test.scope, got, test.want)
		}
	}
	if (Template{}).Matches("a") || !(Template{}).Matches("") {
		t.Error("the zero template is not the empty text")
	}
}
