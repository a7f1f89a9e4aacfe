package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
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
