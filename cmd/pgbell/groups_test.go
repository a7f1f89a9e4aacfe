package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cards are a table whose rows teams may see, and who is in which team.
const cards = `create table cards (id int primary key, team_id int, owner text);
	create table members (team_id int, user_id text);
	insert into members values (7, 'alice'), (8, 'bob');
	create function groups_of(user_id text) returns text[] stable language sql as
		$$ select array_agg('team:' || m.team_id) from members m where m.user_id = $1 $$;
	select pgbell.attach('cards', array['cards'], audience => array['owner', 'team:{team_id}']);
	select pgbell.attach('members', array['members'], audience => '{}', regroup => 'user_id')`

// keyOf is the key of an event.
func keyOf(t *testing.T, data string) string {
	t.Helper()
	var e struct{ Key json.RawMessage }
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		t.Fatal(err)
	}
	return string(e.Key)
}

// The first event that a member hears is of the team's card, or of the user's own.
func TestServeKnowsGroups(t *testing.T) {
	db := migrated(t)
	exec1(t, db, cards)
	key := secretFile(t, jwtSecret)
	token := func(args ...string) []string {
		return []string{"Authorization", "Bearer " + makeToken(t, append(append(key, "--user", "alice", "--scope", "*"), args...)...)}
	}
	header := func(groups ...string) []string { return append([]string{"X-Forwarded-User", "alice"}, groups...) }
	jwt := append([]string{"--auth", "jwt"}, key...)
	next := 0
	for _, test := range []struct {
		name   string
		serve  []string
		header []string
		heard  bool // the team's card
	}{
		{"header", []string{"--auth", "header"}, header("X-Forwarded-Groups", "team:6, team:7"), true},
		{"header of another name", []string{"--auth", "header", "--groups-header", "X-Teams"}, header("X-Teams", "team:7"), true},
		{"header that is not looked at", []string{"--auth", "header", "--groups-header", "X-Teams"}, header("X-Forwarded-Groups", "team:7"), false},
		{"header of another team", []string{"--auth", "header"}, header("X-Forwarded-Groups", "team:8"), false},
		{"token", jwt, token("--group", "team:6", "--group", "team:7"), true},
		{"token without groups", jwt, token(), false},
		{"token with a stranger's header", jwt, append(token(), "X-Forwarded-Groups", "team:7"), false},
		{"claim that is not looked at", append(jwt, "--jwt-groups-claim", "roles"), token("--group", "team:7"), false},
		{"function", append(jwt, "--groups-sql", "groups_of"), token(), true},
		{"function in place of the header", []string{"--auth", "header", "--groups-sql", "groups_of"}, header("X-Forwarded-Groups", "team:6", "X-Forwarded-Groups", "team:8"), true},
	} {
		_, server := beginServe(t, db, append(test.serve, "--drain", "0s")...)
		s := openStream(t, http.DefaultClient, server+"/events?scope=cards", test.header...)
		next += 2
		exec1(t, db, fmt.Sprintf(`insert into cards values (%d, 7, 'bob'); insert into cards values (%d, null, 'alice')`, next, next+1))
		want := fmt.Sprintf(`{"id":%d}`, next+1)
		if test.heard {
			want = fmt.Sprintf(`{"id":%d}`, next)
		}
		if _, data := s.next(); keyOf(t, data) != want {
			t.Errorf("%s: got %s, want the key %s", test.name, data, want)
		}
	}
}

// Who leaves a team hears nothing of what is committed later, and who comes into one does.
func TestServeAsksForGroupsAgainOnceTheyChange(t *testing.T) {
	db := migrated(t)
	exec1(t, db, cards)
	_, server := beginServe(t, db, "--auth", "header", "--groups-sql", "groups_of")
	alice, bob := open(t, server, "alice", "cards"), open(t, server, "bob", "cards")
	if _, metrics := get(t, server+"/metrics"); !strings.Contains(metrics, "\npgbell_subscriptions_in_groups 2\n") {
		t.Error("the metrics don't count who is in groups")
	}
	page, err := io.ReadAll(send(t, http.DefaultClient, http.MethodGet, server+"/status", asUser("alice")...).Body)
	if err != nil || !regexp.MustCompile(`In groups\s*</[^>]*>\s*<[^>]*>\s*2 streams`).Match(page) || strings.Contains(string(page), "team:7") {
		t.Errorf("%v: the status page doesn't count who is in groups, or names one:\n%s", err, page)
	}
	exec1(t, db, `insert into cards values (1, 7, null)`)
	if _, data := alice.next(); keyOf(t, data) != `{"id":1}` {
		t.Errorf("alice got %s, want the card of her team", data)
	}
	exec1(t, db, `begin; update members set user_id = 'bob' where user_id = 'alice'; commit; insert into cards values (2, 7, null); insert into cards values (3, null, 'alice')`)
	for name, s := range map[string]*stream{"alice": alice, "bob": bob} {
		if event, data := s.next(); event != "cards" || !strings.Contains(data, `"reason":"groups changed"`) {
			t.Errorf("%s got %s %s, want a reset", name, event, data)
		}
	}
	if _, data := alice.next(); keyOf(t, data) != `{"id":3}` {
		t.Errorf("alice got %s, want her own card", data)
	}
	exec1(t, db, `insert into cards values (4, 7, null)`) // 2 may be older than his reset
	_, data := bob.next()
	if keyOf(t, data) == `{"id":2}` {
		_, data = bob.next()
	}
	if keyOf(t, data) != `{"id":4}` {
		t.Errorf("bob got %s, want the card of his new team", data)
	}
	_, metrics := get(t, server+"/metrics")
	if asked := all(`(?m)^pgbell_groups_asked_total ([4-9])$`, metrics); len(asked) != 1 || strings.Contains(metrics, "\npgbell_regroups_total 0\n") {
		t.Error("the metrics don't count the questions, or that groups changed")
	}
	exec1(t, db, `truncate members; insert into members select n, 'carol' from generate_series(1, 1001) n`)
	if code := status(t, server, "carol", "cards"); code != http.StatusForbidden {
		t.Errorf("of too many groups: status %d, want 403", code)
	}
	if _, metrics := get(t, server+"/metrics"); !strings.Contains(metrics, `reason="too-many-groups"} 1`) {
		t.Error("the metrics don't count it")
	}
	exec1(t, db, `drop function groups_of`)
	if code := status(t, server, "dave", "cards"); code != http.StatusServiceUnavailable {
		t.Errorf("without the function: status %d, want 503", code)
	}
}

func TestServeSaysWhatIsWrongWithTheGroups(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create function one(text) returns text language sql as $$ select 'team:7' $$;
		create function may(text, text) returns boolean language sql as 'select true'`)
	serve := func(args ...string) result {
		return runOn(t, db, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	}
	wantError(t, serve("--auth", "header", "--groups-sql", "nothing"), 1, "--groups-sql: function nothing(user_id text) does not exist")
	wantError(t, serve("--auth", "header", "--authorize-sql", "may", "--groups-sql", "one"), 1, "one(text) does not return text[]")
	key := secretFile(t, jwtSecret)
	for _, test := range []struct{ args, says string }{
		{"--groups-sql one", "--groups-sql is for --auth header or jwt: with none, nobody has a name"},
		{"--auth header --groups-sql=", "--groups-sql is empty"},
		{"--auth header --groups-sql one --groups-header X-Teams", "--groups-sql and --groups-header can't go together"},
		{"--auth jwt --groups-sql one --jwt-groups-claim roles " + strings.Join(key, " "), "--groups-sql and --jwt-groups-claim can't go together"},
		{"--auth jwt --groups-header X-Teams " + strings.Join(key, " "), "--groups-header is for --auth header"},
		{"--auth jwt --jwt-groups-claim= " + strings.Join(key, " "), "--jwt-groups-claim is empty"},
		{"--auth header --jwt-groups-claim roles", "--jwt-groups-claim is for --auth jwt"},
		{"--auth header --groups-header x:y", "is not the name of a header"},
		{"--auth header --groups-header x-forwarded-user", "--auth-header and --groups-header are the same"},
	} {
		wantError(t, serve(strings.Fields(test.args)...), 2, test.says)
	}
}

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

func TestDoctorLooksAtGroups(t *testing.T) {
	db := migrated(t)
	exec1(t, db, cards+`; create function slow(user_id text) returns text[] language sql as $$ select array['team:7'] from pg_sleep(0.6) $$;
		create function text(user_id text) returns text language sql as $$ select 'team:7' $$;
		create function many(user_id text) returns text[] language sql as $$ select array_agg(n::text) from generate_series(1, 1001) n $$;
		create function picky(user_id text) returns text[] language plpgsql as
			$$ begin if user_id <> 'alice' then raise exception 'no such user'; end if; return array['team:7', 'team:8']; end $$;
		create function secret(user_id text) returns text[] language sql as $$ select null::text[] $$;
		revoke execute on function secret(text) from public`)
	look := func(conn string, args ...string) (finding, int) {
		t.Helper()
		r := runOn(t, conn, append([]string{"doctor", "--json"}, args...)...)
		var found finding
		for _, f := range decode[[]finding](t, r.stdout) {
			if f.About == "groups" {
				if found.About != "" {
					t.Errorf("%q: two findings, %+v and %+v", args, found, f)
				}
				found = f
			}
		}
		return found, r.code
	}
	for _, test := range []struct {
		args  string
		level level // empty: there is no finding
		words string
		code  int
	}{
		{"", warning, "feeds name groups by team:{team_id}, and with serve --auth none nobody is in any", 0},
		{"--auth header", "", "", 0},
		{"--auth jwt", "", "", 0},
		{"--groups-sql groups_of", fine, "groups_of says 0 groups for a user that there is not, in ", 0},
		{"--groups-sql groups_of --as alice", fine, "groups_of says 1 group for alice, in ", 0},
		{"--groups-sql picky --as alice", fine, "picky says 2 groups for alice, in ", 0},
		{"--groups-sql picky --as bob", problem, "no such user", 1},
		{"--groups-sql picky", warning, "no such user", 0},
		{"--groups-sql nothing", problem, "nothing(user_id text) does not exist", 1},
		{"--groups-sql text", problem, "does not return text[]", 1},
		{"--groups-sql many", problem, "many says 1,001 groups", 1},
		{"--groups-sql slow", warning, "slow took ", 0},
	} {
		f, code := look(db, strings.Fields(test.args)...)
		if f.Level != test.level || !strings.Contains(f.Words, test.words) || code != test.code || (f.Remedy == "") != (f.Level == fine || f.Level == "") {
			t.Errorf("doctor %s: got %+v, exit %d; want %s, %q, exit %d", test.args, f, code, test.level, test.words, test.code)
		}
	}
	role := newRole(t, db, "")
	exec1(t, db, grantListener(role))
	if f, _ := look(as(t, db, role, password), "--groups-sql", "secret"); f.Level != problem || !strings.Contains(f.Words, "may not be called by this role") {
		t.Errorf("a function that may not be called: %+v", f)
	}
	for _, test := range []struct{ args, says string }{
		{"--auth x", "--auth is none, header or jwt"}, {"--groups-sql=", "--groups-sql is empty"}, {"--as alice", "--as names a user"}, {"--groups-sql groups_of --as=", "--as names a user"},
	} {
		wantError(t, runOn(t, db, append([]string{"doctor"}, strings.Fields(test.args)...)...), 2, test.says)
	}

	exec1(t, db, `alter table members drop column user_id`)
	by, _ := diagnosis(t, db)
	has(t, by, "feed public.members", problem, "who is in which group may change unheard", "pgbell.attach")
	exec1(t, db, `select pgbell.detach('members')`)
	if f, _ := look(db, "--auth", "header"); f.About != "" {
		t.Errorf("groups of a header: %+v, want none", f)
	}
	r := runOn(t, db, "doctor", "--groups-sql", "picky", "--as", "alice")
	if !strings.Contains(r.stdout, "no feed says when who is in which group changes") {
		t.Errorf("without a feed that regroups:\n%s", r.stdout)
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
