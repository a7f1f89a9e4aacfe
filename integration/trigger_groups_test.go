package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/journal"
)

// heard returns what a user who is in groups hears of statements.
func (d *triggerDB) heard(statements, user string, groups ...string) []string {
	d.Helper()
	since := d.since()
	d.exec(statements)
	return heardOf(d.records(since), user, groups...)
}

func heardOf(records []*journal.Record, user string, groups ...string) []string {
	var all []string
	for _, r := range records {
		for _, e := range r.Events() {
			if e.Audience.Allows(user, groups...) {
				words := []string{string(e.Op)}
				if e.Moved != "" {
					words = append(words, string(e.Moved))
				}
				words = append(words, e.Scope, string(e.Key))
				if e.Data != nil {
					words = append(words, string(e.Data))
				}
				all = append(all, strings.Join(words, " "))
			}
		}
	}
	return all
}

// Which groups a row is for, by the template and by its columns' types.
func TestTriggerGroupsOfAnyType(t *testing.T) {
	d := newTriggerDB(t)
	for i, test := range []struct{ columns, audience, values, want string }{
		{"a int", "team:{a}", "7", "team:7"},
		{"a int", "team:{a}", "null", ""},
		{"a text", "team:{a}", "'Blau & Gelb/%41 ü'", "team:Blau & Gelb/%41 ü"},
		{"a text", "{a}", "''", ""},
		{"a text", "{a}", "':x'", ""},
		{"a text", "{a}", "'alice'", "alice"},
		{"a uuid", "team:{a}", "'a0EEbc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "team:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"a char(9)", "team:{a}", "'x'", "team:x"},
		{"a timestamptz", "{a}", "'2026-01-02 03:04:05+01'", "2026-01-02 02:04:05+00"},
		{"a boolean", "{{{a}}}", "true", "{true}"},
		{"a int[]", "team:{a}", "'{1,null,2}'", "team:1,team:2"},
		{"a text[]", "team:{a}", "'{{x,y},{z,x}}'", "team:x,team:y,team:z"},
		{"a text[]", "team:{a}", "'{}'", ""},
		{"a text[]", "team:{a}", "null", ""},
		{"a text, b int[]", "{a}/{b}", "'x', '{1,2}'", "x/1,x/2"},
		{"a text, b int[]", "{a}/{b}", "null, '{1,2}'", ""},
		{"a text, b text", "{a}/{b}", "'x/y', 'z'", ""},
		{"a text, b text", "{a}/{b}", "'x', 'y/z'", "x/y/z"},
		{"a text", "{a}", "repeat('x', 1025)", ""},
		{`"A {b" text`, `team:{A {b}`, "'x'", "team:x"},
	} {
		t.Run(test.columns+" "+test.audience+" "+test.values, func(t *testing.T) {
			d := d.on(t)
			for _, partition := range []string{"", " partition by range (id); create table t1 partition of t default"} {
				d.exec(fmt.Sprintf(`create table t (id int primary key, %s)%s; select pgbell.attach('t', array['t'], array['%s'])`, test.columns, partition, test.audience))
				since := d.since()
				d.exec(`insert into t values (1, ` + test.values + `); delete from t`)
				for _, r := range d.records(since) {
					for _, c := range r.Changes {
						if got := strings.Join(c.Audience.Groups(), ","); got != test.want || c.Audience.Everyone() || len(c.Audience.Users()) > 0 {
							t.Errorf("%s: for groups %q and users %q, want %q", r.Op, got, c.Audience.Users(), test.want)
						}
					}
				}
				d.exec(`drop table t`)
				if testing.Short() && i%4 > 0 {
					return
				}
			}
		})
	}
}

func TestTriggerAttachRefusesGroupsThatCantBeTold(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, a text, b text[], c text[], doc jsonb, "{braces}" text)`)
	for args, want := range map[string]string{
		`audience => array['team:{nope}']`:                                 `table public.t has no column "nope"`,
		`audience => array['team:{a']`:                                     `scope template "team:{a"`,
		`audience => array['{a}{b}']`:                                      `nothing stands between two columns`,
		`audience => array['{b}/{c}']`:                                     `names two arrays`,
		`audience => array[':{a}']`:                                        `begins with a colon`,
		`audience => array['team:{doc}']`:                                  `of type jsonb`,
		`audience => array[repeat('x', 300) || '{a}']`:                     `longer than 256 bytes`,
		`regroup => 'nope'`:                                                `table public.t has no column "nope"`,
		`regroup => 'doc'`:                                                 `of type jsonb`,
		`regroup => 'a', durable => false`:                                 `told through the journal`,
		`regroup => 'a', columns => array['a']`:                            `each change`,
		`audience => array['a', null, 'team:{a}']`:                         `a column name is null`,
		`audience => array['{braces}']`:                                    `has no column "braces"`, // though there is one called {braces}
		`audience => array['team']`:                                        `has no column "team"`,
		`audience => array['team:{a}'], columns => array['x:{a}']`:         `no column "x:{a}"`,
		`audience => array['team:{a}'], payload => array['b', 'team:{a}']`: `no column "team:{a}"`,
	} {
		d.refuses(`select pgbell.attach('t', array['t'], `+args+`)`, want)
	}
}

// A row that moves from team to team, and to an owner: who sees both sides hears of an
// update, all others of their side alone.
func TestTriggerMovesBetweenGroups(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table cards (id int primary key, owner text, team int, title text);
		select pgbell.attach('cards', array['cards'], array['owner', 'team:{team}'], payload => array['title'])`)
	for _, test := range []struct {
		from, to string   // owner, team
		user     string   // who listens
		groups   []string // and is in them
		want     string   // of the update that also changes the title
	}{
		{"null, 1", "null, 2", "a", []string{"team:1"}, `update out cards {"id":1}`},
		{"null, 1", "null, 2", "a", []string{"team:2"}, `update in cards {"id":1} {"title":"new"}`},
		{"null, 1", "null, 2", "a", []string{"team:1", "team:2"}, `update cards {"id":1} {"title":"new"}`},
		{"null, 1", "null, 2", "team:1", []string{"1"}, ``},
		{"null, 1", "null, 1", "a", []string{"team:1"}, `update cards {"id":1} {"title":"new"}`},
		{"'a', 1", "'b', 2", "a", []string{"team:2"}, `update cards {"id":1} {"title":"new"}`},
		{"'a', 1", "'b', 2", "a", nil, `update out cards {"id":1}`},
		{"'a', 1", "'b', 2", "b", []string{"team:1"}, `update cards {"id":1} {"title":"new"}`},
		{"'a', 1", "'b', 1", "a", []string{"team:1"}, `update cards {"id":1} {"title":"new"}`},
		{"'a', 1", "'b', 1", "a", nil, `update out cards {"id":1}`},
		{"'a', 1", "'b', 1", "b", []string{"team:2"}, `update in cards {"id":1} {"title":"new"}`},
		{"'a', 1", "null, null", "a", []string{"team:1"}, `update out cards {"id":1}`},
		{"null, null", "null, 1", "a", []string{"team:1"}, `update in cards {"id":1} {"title":"new"}`},
		{"'a', null", "null, 1", "a", []string{"team:1"}, `update cards {"id":1} {"title":"new"}`},
		{"'team:1', null", "null, 2", "a", []string{"team:1"}, ``},
	} {
		d.exec(`delete from cards; insert into cards values (1, ` + test.from + `, 'old')`)
		got := d.heard(`update cards set (owner, team, title) = (select o, t::int, 'new' from (values (`+test.to+`)) x (o, t))`, test.user, test.groups...)
		if diff := cmp.Diff(test.want, strings.Join(got, "; ")); diff != "" {
			t.Errorf("(%s) to (%s), %s in %v: %s", test.from, test.to, test.user, test.groups, diff)
		}
		if got := d.heard(`delete from cards`, test.user, test.groups...); len(got) > 0 && strings.Contains(test.want, " out ") {
			t.Errorf("(%s) to (%s): heard of the delete: %v", test.from, test.to, got)
		}
	}
}

// regrouped says whose groups are to be asked for again after statements.
func (d *triggerDB) regrouped(statements ...string) string {
	d.Helper()
	since := d.since()
	d.exec(statements...)
	var words []string
	for _, r := range d.records(since) {
		if r.Regroup != nil && r.Regroup.All {
			words = append(words, "all")
		} else if r.Regroup != nil {
			words = append(words, strings.Join(r.Regroup.Users, ","))
		}
	}
	return strings.Join(words, "; ")
}

func TestTriggerRegroups(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table members (team int, user_id text, role text, primary key (team, user_id));
		select pgbell.attach('members', array['members'], audience => array[]::text[], regroup => 'user_id')`)
	for _, test := range []struct{ statements, want string }{
		{`insert into members values (1, 'alice', ''), (1, 'bob', ''), (2, 'bob', '')`, "alice,bob"},
		{`update members set user_id = 'carol' where user_id = 'alice'`, "alice,carol"},
		{`update members set team = 3 where user_id = 'carol'`, "carol"},
		{`update members set role = 'boss' where user_id = 'carol'`, "carol"},
		{`update members set role = role`, ""},
		{`delete from members where user_id = 'bob'`, "bob"},
		{`begin; insert into members values (9, 'eve', ''); rollback`, ""},
		{`truncate members`, "all"},
		{`select pgbell.regroup('dave')`, "dave"},
		{`select pgbell.regroup(u) from unnest(array['a', 'b']) u`, "a; b"},
		{`alter table members add at timestamptz default now(); insert into members values (1, 'alice', '')`, "alice"},
		{`select pgbell.attach('members', array['members'], audience => array[]::text[], regroup => 'user_id')`, "all"},
		{`select pgbell.attach('members', array['members'], audience => array[]::text[], regroup => 'user_id')`, ""},
		{`alter table members rename user_id to who; insert into members values (1, 'bob', '')`, "all"},
		{`select pgbell.attach('members', array['members'], audience => array[]::text[], regroup => 'who')`, "all"},
		{`insert into members values (1, 'carol', '')`, "carol"},
		{`select pgbell.detach('members')`, "all"},
		{`insert into members values (2, 'carol', '')`, ""},
	} {
		if got := d.regrouped(test.statements); got != test.want {
			t.Errorf("%s: regroups %q, want %q", test.statements, got, test.want)
		}
	}
	d.exec(`create table crews (id int primary key, users text[]); select pgbell.attach('crews', array['crews'], regroup => 'users')`)
	if got := d.regrouped(`insert into crews values (1, '{b,a,null}')`, `update crews set users = '{c}'`); got != "a,b; a,b,c" {
		t.Errorf("an array of users: regroups %q", got)
	}
	d.refuses(`select pgbell.regroup('')`, "the anonymous are in no group")
	d.refuses(`select pgbell.regroup(null)`, "the anonymous are in no group")
}

func TestTriggerPublishesToGroups(t *testing.T) {
	d := newTriggerDB(t)
	records := func(audience string) []*journal.Record {
		since := d.since()
		d.exec(`select pgbell.publish('news', '{"x":1}', ` + audience + `)`)
		return d.records(since)
	}
	all := records(`array['alice', 'group:team:7', 'group::team:8', null]`)
	for _, test := range []struct {
		user   string
		groups []string
		hears  bool
	}{
		{"alice", nil, true}, {"bob", []string{"team:7"}, true}, {"bob", []string{"team:8", "group:team:7", ":team:8"}, false},
		{"team:7", nil, false}, {"group:team:7", nil, false}, {"group:team:8", nil, true}, {"", []string{"team:7"}, false},
	} {
		if got := heardOf(all, test.user, test.groups...); (len(got) == 1) != test.hears {
			t.Errorf("%q in %v hears %v", test.user, test.groups, got)
		}
	}
}
