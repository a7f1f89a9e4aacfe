package triggers

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name   string
		feed   Feed
		errors string // part of the error; empty: none
	}{
		{"plain", Feed{Table: "tasks", Scopes: []string{"tasks"}}, ""},
		{"columns", Feed{Table: "tasks", Scopes: []string{"a:{b}:{Odd name}"}}, ""},
		{"literal braces", Feed{Table: "tasks", Scopes: []string{"{{a}}", "{{{a}}}"}}, ""},
		{"reserved only as a part", Feed{Table: "tasks", Scopes: []string{"ready:{id}", "Open"}}, ""},
		{"no table", Feed{Scopes: []string{"tasks"}}, "no table"},
		{"blank table", Feed{Table: " ", Scopes: []string{"tasks"}}, "no table"},
		{"no scopes", Feed{Table: "tasks"}, "no scopes"},
		{"empty scope", Feed{Table: "tasks", Scopes: []string{""}}, "empty"},
		{"unclosed brace", Feed{Table: "tasks", Scopes: []string{"tasks", "project:{project_id"}}, "byte 9 is not closed"},
		{"unopened brace", Feed{Table: "tasks", Scopes: []string{"project:project_id}"}}, "closes nothing"},
		{"no column", Feed{Table: "tasks", Scopes: []string{"project:{}"}}, "no column name"},
		{"group", Feed{Table: "cards", Scopes: []string{"cards"}, Audience: []string{"owner", "team:{team_id}"}}, ""},
		{"group with an unclosed brace", Feed{Table: "cards", Scopes: []string{"cards"}, Audience: []string{"team:{team_id"}}, `group template "team:{team_id": `},
		{"group of two columns", Feed{Table: "cards", Scopes: []string{"cards"}, Audience: []string{"{a}{b}"}}, "nothing stands between"},
		{"regroup", Feed{Table: "members", Scopes: []string{"members"}, Regroup: "user_id"}, ""},
		{"regroup without a journal", Feed{Table: "members", Scopes: []string{"members"}, Regroup: "user_id", Volatile: true}, "through the journal"},
		{"regroup by some changes", Feed{Table: "members", Scopes: []string{"members"}, Regroup: "user_id", Columns: []string{"team_id"}}, "each change"},
		{"reserved", Feed{Table: "tasks", Scopes: []string{"ready"}}, "reserved"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.feed.Validate()
			switch {
			case test.errors == "" && err != nil:
				t.Errorf("Validate() = %v, want no error", err)
			case test.errors != "" && (err == nil || !strings.Contains(err.Error(), test.errors)):
				t.Errorf("Validate() = %v, want an error with %q", err, test.errors)
			}
		})
	}
}
