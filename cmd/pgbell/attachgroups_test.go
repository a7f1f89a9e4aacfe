package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAttachNamesGroups(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table cards (id int primary key, team_id int, owner text); create table members (team_id int, user_id text, primary key (team_id, user_id))`)
	if out, want := mustRun(t, db, "attach", "cards", "--scope", "cards", "--audience", "owner,team:{team_id}"), "attached public.cards: scopes cards, heard by the users in owner and the groups team:{team_id}\n"; out != want {
		t.Errorf("attach says %q, want %q", out, want)
	}
	user := "user_id"
	members := feedJSON{Table: "public.members", Scopes: []string{"members"}, Audience: []string{"team:{team_id}"}, Durable: true, State: "ok", Regroup: &user}
	args := []string{"attach", "members", "--scope", "members", "--audience", "team:{team_id}", "--regroup", "user_id"}
	for _, format := range []string{"--print", "--print=sql"} {
		if out := mustRun(t, db, append(args, format)...); !strings.Contains(out, "  audience => array['team:{team_id}'],\n  regroup => 'user_id'\n);") {
			t.Errorf("attach %s writes:\n%s", format, out)
		}
	}
	if diff := cmp.Diff(members, decode[feedJSON](t, mustRun(t, db, append(args, "--json")...))); diff != "" {
		t.Errorf("attach --json (-want +got):\n%s", diff)
	}
	out := mustRun(t, db, "feeds")
	if !strings.Contains(out, "owner, team:{team_id}") || !strings.Contains(out, "  user_id  ok\n") {
		t.Errorf("feeds says:\n%s", out)
	}
	wantError(t, runOn(t, db, append(args, "--durable=false")...), 2, "through the journal")
	wantError(t, runOn(t, db, append(args, "--columns", "team_id")...), 2, "each change")
	wantError(t, runOn(t, db, "attach", "cards", "--scope", "cards", "--audience", "team:{team_id"), 2, "group template")
	wantError(t, runOn(t, db, "attach", "cards", "--scope", "cards", "--audience", "team:{gone}"), 1, `no column "gone"`)

	// What is gone is left out of what doctor says to do.
	exec1(t, db, `alter table cards drop column team_id; alter table members drop column user_id cascade`)
	by, _ := diagnosis(t, db)
	has(t, by, "feed public.cards", problem, "column team_id is gone", `audience => array['owner']);`)
	if f := by["feed public.members"]; strings.Contains(f.Remedy, "user_id") || !strings.Contains(f.Remedy, "pgbell.attach") {
		t.Errorf("got %+v", f)
	}
}

func TestAttachProposesGroups(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table teams (id int primary key);
		create table members (team_id int references teams, user_id text, primary key (team_id, user_id));
		create table cards (id int primary key, team_id int references teams)`)
	r := runOn(t, db, "attach", "cards")
	const also = "so that it asks again when public.members changes: pgbell attach public.members --scope members --audience user_id --regroup user_id\n"
	if !strings.Contains(r.stdout, "team:{team_id}  foreign key to public.teams, whose members are in public.members\n") || !strings.Contains(r.stdout, also) {
		t.Errorf("attach cards says:\n%s", r.stdout)
	}
	const do = "pgbell attach public.cards --scope cards --scope 'card:{id}' --scope 'team:{team_id}' --audience 'team:{team_id}'\n"
	if !strings.HasSuffix(r.stderr, do) {
		t.Errorf("attach cards says %q, want %q", r.stderr, do)
	}
	r = runOn(t, db, "attach", "members")
	if !strings.Contains(r.stdout, "this table says who is in which group") || !strings.HasSuffix(r.stderr, "--audience user_id --regroup user_id\n") {
		t.Errorf("attach members says:\n%s%s", r.stdout, r.stderr)
	}
	if r := runOn(t, db, "attach", "members", "--durable=false"); strings.Contains(r.stderr, "--regroup") {
		t.Errorf("attach members --durable=false says: %s", r.stderr)
	}
	mustRun(t, db, "attach", "members", "--scope", "members", "--audience", "user_id", "--regroup", "user_id")
	if r := runOn(t, db, "attach", "cards"); strings.Contains(r.stdout, also) {
		t.Errorf("attach cards, with members attached, says:\n%s", r.stdout)
	}
	if r := runOn(t, db, "attach", "cards", "--audience", "id"); strings.Contains(r.stdout, "in a group") || !strings.Contains(r.stdout, "as you say") {
		t.Errorf("attach cards --audience id says:\n%s", r.stdout)
	}
}
