package main

import (
	"strings"
	"testing"
)

func TestExplainSaysByWhichGroup(t *testing.T) {
	db := migrated(t)
	exec1(t, db, cards+`; insert into cards values (1, 7, 'carol'), (2, null, 'alice'), (3, null, null);
		create function broken(user_id text) returns text[] language plpgsql as $$ begin raise exception 'no luck'; end $$`)
	for _, test := range []struct {
		args    string
		hears   bool
		by      []string
		reasons []string // parts
		words   string   // part of the text
	}{
		{"1 --as alice --groups-sql groups_of", true, []string{"team:7"}, nil, "alice would hear of a change of it, by group team:7"},
		{"1 --as alice --group team:6 --group team:7", true, []string{"team:7"}, nil, ", by group team:7"},
		{"1 --as carol --groups-sql groups_of", true, nil, nil, "carol would hear of a change of it\n"},
		{"1 --as carol --group team:7", true, nil, nil, "carol would hear of a change of it\n"},
		{"1 --as bob --groups-sql groups_of", false, nil, []string{"bob is not in the audience: owner is carol; team:{team_id} is team:7", "bob is in no group of: team:7; bob is in: team:8"}, "bob would not hear"},
		{"1 --as dave --groups-sql groups_of", false, nil, []string{"dave is not in", "dave is in no group"}, "dave would not hear"},
		{"1 --as alice", false, nil, []string{"alice is not in", "which groups alice is in is not known: name them by --group, or the function by --groups-sql"}, "whether alice would hear of a change of it can't be told"},
		{"1 --as team:7", false, nil, []string{"team:7 is not in", "not known"}, "can't be told"},
		{"1 --as=", false, nil, []string{"an anonymous connection is not in", "an anonymous connection is in no group"}, "would not hear"},
		{"1", true, nil, nil, "group team:7  by team:{team_id}"},
		{"2 --as bob", false, nil, []string{"bob is not in the audience: owner is alice; team_id is NULL"}, "nobody  team_id is NULL"},
		{"3 --as alice --group team:7", false, nil, []string{"nobody is in the audience: owner is NULL; team_id is NULL"}, "would not hear"},
	} {
		args := append([]string{"cards"}, strings.Fields(test.args)...)
		e, code := explained(t, db, noServer, args...)
		if e.Hears != test.hears || (code == 0) != test.hears || strings.Join(e.By, ",") != strings.Join(test.by, ",") || len(e.Reasons) != len(test.reasons) {
			t.Errorf("%s: hears %v, exit %d, by %q, because %q", test.args, e.Hears, code, e.By, e.Reasons)
			continue
		}
		for i, part := range test.reasons {
			if !strings.Contains(e.Reasons[i], part) {
				t.Errorf("%s: because %q, want %q", test.args, e.Reasons[i], part)
			}
		}
		if out := runEnv(t, []string{"DATABASE_URL=" + db, "PGBELL_SERVER=" + noServer}, append([]string{"explain"}, args...)...).stdout; !strings.Contains(out, test.words) {
			t.Errorf("%s: it doesn't say %q:\n%s", test.args, test.words, out)
		}
	}
	out := runEnv(t, []string{"DATABASE_URL=" + db, "PGBELL_SERVER=" + noServer}, "explain", "cards", "1", "--json").stdout
	if !strings.Contains(out, `"group:team:7"`) {
		t.Errorf("the audience has no group in JSON:\n%s", out)
	}
	wantError(t, runOn(t, db, "explain", "cards", "1", "--as", "alice", "--groups-sql", "broken"), 1, "--groups-sql: ", "no luck")
	for _, command := range []string{"explain cards 1", "tail"} {
		for _, test := range []struct {
			args, says string
			code       int
		}{
			{"--as alice --groups-sql nothing", "--groups-sql: function nothing(user_id text) does not exist", 1},
			{"--as alice --groups-sql=", "--groups-sql is empty", 2},
			{"--as alice --group team:7 --groups-sql groups_of", "can't go together", 2},
			{"--group team:7", "--group is about the user of --as", 2},
			{"--groups-sql groups_of", "--groups-sql is about the user of --as", 2},
		} {
			wantError(t, runOn(t, db, strings.Fields(command+" "+test.args)...), test.code, test.says)
		}
	}
}

// With --as a line is what the user would hear, by the groups of now.
func TestTailAsAMember(t *testing.T) {
	db := migrated(t)
	exec1(t, db, cards)
	all := beginTail(t, db)
	asked, named, unknown := beginTail(t, db, "--as", "alice", "--groups-sql", "groups_of"), beginTail(t, db, "--as", "alice", "--group", "team:8"), beginTail(t, db, "--as", "alice")
	inJSON := beginTail(t, db, "--json")
	for _, sql := range []string{
		`insert into cards values (1, 7, 'bob')`,
		`update cards set team_id = 8 where id = 1`,
		`update cards set team_id = 7 where id = 1`,
		`update cards set team_id = 8, owner = 'alice' where id = 1`,
		`delete from members where user_id = 'alice'`,
		`insert into cards values (2, 7, null)`,
		`insert into members values (8, 'alice')`,
		`update cards set owner = null where id = 1`,
		`select pgbell.publish('x', null, array['carol', 'group:team:8', 'group::team:8'])`,
	} {
		exec1(t, db, sql)
	}
	for name, test := range map[string]struct {
		p     *process
		lines []string
	}{
		"all": {all, []string{
			`insert   public.cards  {"id":1}  cards  for bob, group team:7`,
			`update   public.cards  {"id":1}  cards  for bob, group team:7 -> bob, group team:8  changed team_id`,
			`update   public.cards  {"id":1}  cards  for bob, group team:8 -> bob, group team:7  changed team_id`,
			`update   public.cards  {"id":1}  cards  for bob, group team:7 -> alice, group team:8  changed team_id, owner`,
			`delete   public.members            members  for nobody`,
			`insert   public.cards    {"id":2}  cards    for group team:7`,
			`insert   public.members            members  for nobody`,
			`update   public.cards    {"id":1}  cards    for alice, group team:8 -> group team:8  changed owner`,
			`publish                            x        for carol, group:team:8, group team:8`,
		}},
		"asked": {asked, []string{
			`insert   public.cards  {"id":1}  cards`,
			`update   public.cards  {"id":1}  cards  moved out`,
			`update   public.cards  {"id":1}  cards  moved in  changed team_id`,
			`update   public.cards  {"id":1}  cards  changed team_id, owner`,
			`reset    every scope   groups changed`,
			`reset    every scope   groups changed`,
			`update   public.cards  {"id":1}  cards        changed owner`,
			`publish                          x`,
		}},
		"named": {named, []string{
			`update   public.cards  {"id":1}  cards  moved in  changed team_id`,
			`update   public.cards  {"id":1}  cards  moved out`,
			`update   public.cards  {"id":1}  cards  moved in  changed team_id, owner`,
			`update   public.cards  {"id":1}  cards  changed owner`,
			`publish                          x`,
		}},
		"unknown": {unknown, []string{
			`update   public.cards  {"id":1}  cards  moved in  changed team_id, owner`,
			`update   public.cards  {"id":1}  cards  moved out`,
		}},
	} {
		for _, want := range test.lines {
			if _, got, _ := strings.Cut(test.p.line(t), "  "); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
				t.Errorf("%s shows\n%s, want\n%s", name, got, want)
			}
		}
	}
	unknown.waitLog(t, "which groups alice is in is not known: name them by --group, or the function by --groups-sql")
	for got := ""; !strings.Contains(got, `"publish"`); {
		if got = inJSON.line(t); strings.Contains(got, `"publish"`) && !strings.Contains(got, `"audience":["carol","group::team:8","group:team:8"]`) {
			t.Errorf("in JSON: %s", got)
		}
	}
}
