package sse

import (
	"strings"
	"testing"
)

func TestByScopesAllowsWhatIsNamed(t *testing.T) {
	for _, test := range []struct {
		scope, patterns string
		want            bool
	}{
		{"project:7", "project:7", true},
		{"project:7", "tasks project:7", true},
		{"project:7", "", false},
		{"project:7", "project:*", true},
		{"project:7", "*", true},
		{"project:7", "project:", false},
		{"project:7", "project:77", false},
		{"project:77", "project:7", false},
		{"project:77", "project:7*", true},
		{"project:7", "p*:7", false},
		{"project:7", "Project:*", false},
		{"caf%C3%A9", "café", true},
		{"caf%C3%A9:1", "café:*", true},
		{"a%2A", "a*", true},
		{"a%2A", "a%2A", true},
		{"ab", "a%2A", false},
		{"ab", "**", false},
		{"%2Ab", "**", true},
	} {
		var patterns []string
		if test.patterns != "" {
			patterns = strings.Split(test.patterns, " ")
		}
		if got, err := ByScopes(t.Context(), Identity{Scopes: patterns}, test.scope); got != test.want || err != nil {
			t.Errorf("%s with %q: got %v, %v", test.scope, test.patterns, got, err)
		}
	}
}
