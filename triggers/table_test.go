package triggers

import "testing"

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"tasks", "tasks", 0}, {"taks", "tasks", 1},
		{"tasks", "tsaks", 1}, {"tsks", "task", 2}, {"größe", "grösse", 2}, {"kitten", "sitting", 3},
	} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestBareName(t *testing.T) {
	for table, want := range map[string]string{
		"Tasks": "tasks", "app.tasks": "tasks", `"Ta""sk"`: `ta"sk`, `app."Odd.Name"`: "odd.name", `"App"."X"`: "x", `"App".x`: "x", "": "",
	} {
		if got := bareName(table); got != want {
			t.Errorf("bareName(%q) = %q, want %q", table, got, want)
		}
	}
}
