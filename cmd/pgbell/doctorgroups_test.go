package main

import (
	"strings"
	"testing"
)

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
	for _, auth := range []string{"none", "header"} {
		by, _ := diagnosis(t, db, "--auth", auth)
		if f, found := by["audience"]; found != (auth == "none") || found && (f.Level != warning || !strings.Contains(f.Words, "public.") || !strings.Contains(f.Remedy, "give doctor the same")) {
			t.Errorf("--auth %s: %+v", auth, f)
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
