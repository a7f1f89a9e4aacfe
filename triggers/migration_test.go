package triggers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMigrationText(t *testing.T) {
	got, err := Migration(Feed{
		Table:    `app."Ta'sk"`,
		Scopes:   []string{"tasks", "project:{project_id}"},
		Audience: []string{"owner"},
		Columns:  []string{"it's", `back\slash`},
		Payload:  []string{},
		Volatile: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `-- +goose Up
-- +goose StatementBegin
select pgbell.attach(
  'app."Ta''sk"'::regclass,
  scopes => array['tasks', 'project:{project_id}'],
  audience => array['owner'],
  columns => array['it''s', E'back\\slash'],
  payload => array[]::text[],
  durable => false
);
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
select pgbell.detach('app."Ta''sk"'::regclass);
-- +goose StatementEnd
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("migration (-want +got):\n%s", diff)
	}
}

func TestMigrationRegroups(t *testing.T) {
	f := Feed{Table: "members", Scopes: []string{"members"}, Audience: []string{"team:{team_id}"}, Regroup: `it's`}
	former := f
	former.Regroup = ""
	do, undo, err := SQL(f, &former)
	if want := "select pgbell.attach(\n  'members'::regclass,\n  scopes => array['members'],\n  audience => array['team:{team_id}'],\n  regroup => 'it''s'\n);"; do != want || err != nil {
		t.Errorf("got %s, %v; want %s", do, err, want)
	}
	if !strings.Contains(undo, "pgbell.attach") || strings.Contains(undo, "regroup") {
		t.Errorf("to undo it: %s; want the feed that doesn't regroup", undo)
	}
}

func TestMigrationLeavesOutWhatIsNotGiven(t *testing.T) {
	got, err := Migration(Feed{Table: "tasks", Scopes: []string{"tasks"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"audience", "columns", "payload", "durable", "regroup"} {
		if strings.Contains(got, word) {
			t.Errorf("migration mentions %s:\n%s", word, got)
		}
	}
}

// A value with a line of its own must not end goose's statement, nor start one.
func TestMigrationKeepsAValueOnItsLine(t *testing.T) {
	got, err := Migration(Feed{Table: "tasks", Scopes: []string{"a\n-- +goose StatementEnd\ndrop table tasks;"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(got, "\n-- +goose StatementEnd"); n != 2 {
		t.Errorf("%d lines end a statement, want 2:\n%s", n, got)
	}
}

func TestMigrationRefusesWhatIsNotText(t *testing.T) {
	for _, scope := range []string{"a\x00b", "a\xffb"} {
		if got, err := Migration(Feed{Table: "tasks", Scopes: []string{scope}}, nil); err == nil {
			t.Errorf("Migration with scope %q = %q, want an error", scope, got)
		}
	}
}
