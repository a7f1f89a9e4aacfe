package triggers_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/triggers"
)

// A table that somebody signs in by owns what refers to it; a name that two tables share goes with
// its schema, but in public.
func TestProposalKnowsLoginsAndSharedNames(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `
		create schema crm; create schema erp;
		create table customers (id int primary key, "Email" text, parent_id int references customers);
		create table sites (id int primary key, url text);
		create table orders (id int primary key, customer_id int not null references customers, site_id int references sites);
		create table crm.projects (id int primary key); create table erp.projects (id int primary key); create table projects (id int primary key);
		create table crm.notes (id int primary key, project_id int references crm.projects, other int references projects, by uuid, owner text);
		create view erp.notes as select 1 as id`)
	for _, test := range []struct {
		table                      string
		scopes, audience, nullable []string
	}{
		{"orders", []string{"orders", "order:{id}", "site:{site_id}"}, []string{"customer_id"}, nil},
		{"customers", []string{"customers", "customer:{id}", "parent:{parent_id}"}, nil, nil},
		{"projects", []string{"projects", "project:{id}"}, nil, nil},
		{"erp.projects", []string{"erp.projects", "erp.project:{id}"}, nil, nil},
		{"crm.notes", []string{"notes", "note:{id}", "crm.project:{project_id}", "project:{other}"}, []string{"owner"}, []string{"owner"}},
	} {
		p, err := triggers.Propose(t.Context(), db, test.table)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([][]string{test.scopes, test.audience, test.nullable}, [][]string{p.Feed.Scopes, p.Feed.Audience, p.Nullable}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.table, diff)
		}
	}
}

func TestProposalFollowsTheTablesDefinition(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `
		create table projects (id int primary key, title text);
		create table users (id int primary key, name text, owner boolean);
		create table countries (a int, b int, primary key (a, b));
		create table tasks (id int primary key, project_id int references projects, parent_id int references tasks, title text, owner text);
		create table docs (id int primary key, "Made" int references users, members uuid[], user_ids bigint[], created_by text, author json, x int, y int,
			foreign key (x, y) references countries);
		create table news (line text); create table news_status (id int primary key);
		create table message (id int primary key, by int references projects);
		create table "Odd {ies" ("a}" int primary key, "b c_id" int references projects, "{d" int references projects, owner char(8), user_id varchar(3));
		create domain ids as text[];
		create table parts (id int, day date, owners ids, primary key (id, day)) partition by range (day);
		create table parts_2026 partition of parts for values from ('2026-01-01') to ('2027-01-01');
		create table boss (id int primary key) partition by list (id);
		create table boss_1 partition of boss for values in (1);
		create table posts (id int primary key, boss_id int references boss, by int references boss);
		create domain ref as bigint;
		create table lines (line_id int primary key, project_id ref, "_id" int, paid boolean, tag_ids int[], flag_id boolean, user_id int, a_id int, b_id int, foreign key (a_id, b_id) references countries);
		create table papers (doc_id int primary key);
		create table members (project_id int, user_id int, primary key (project_id, user_id));
		create view task_view as select * from tasks`)
	for _, test := range []struct {
		table            string
		scopes, audience []string
	}{
		{"tasks", []string{"tasks", "task:{id}", "project:{project_id}", "parent:{parent_id}"}, []string{"owner"}},
		{"users", []string{"users", "user:{id}"}, nil},
		{"countries", []string{"countries", "country:{a}:{b}"}, nil},
		{"docs", []string{"docs", "doc:{id}", "country:{x}:{y}"}, []string{"Made", "members", "user_ids", "created_by"}},
		{"news", []string{"news"}, nil},
		{"message", []string{"public.message", "message:{id}", "project:{by}"}, nil},
		{`"Odd {ies"`, []string{"Odd {{ies", "b c:{b c_id}"}, []string{"owner", "user_id"}},
		{"parts", []string{"parts", "part:{id}:{day}"}, []string{"owners"}},
		{"news_status", []string{"news_status", "news_status:{id}"}, nil},
		{"lines", []string{"lines", "line:{line_id}", "country:{a_id}:{b_id}", "project:{project_id}"}, []string{"user_id"}},
		{"papers", []string{"papers", "paper:{doc_id}"}, nil},
		{"members", []string{"members", "member:{project_id}:{user_id}", "project:{project_id}"}, []string{"user_id"}},
		{"posts", []string{"posts", "post:{id}", "boss:{boss_id}", "boss:{by}"}, nil},
	} {
		t.Run(test.table, func(t *testing.T) {
			p, err := triggers.Propose(t.Context(), db, test.table)
			if err != nil {
				t.Fatal(err)
			}
			want := triggers.Feed{Table: "public." + test.table, Scopes: test.scopes, Audience: test.audience}
			if diff := cmp.Diff(want, p.Feed); diff != "" {
				t.Errorf("feed (-want +got):\n%s", diff)
			}
			for _, reasons := range []struct {
				list []triggers.Reason
				of   []string
			}{{p.Scopes, test.scopes}, {p.Owners, test.audience}} {
				for i, r := range reasons.list {
					if r.What != reasons.of[i] || r.Why == "" {
						t.Errorf("reason %+v, want one for %s", r, reasons.of[i])
					}
				}
			}
			// It's one that can be attached, and then it is known.
			if err := triggers.Attach(t.Context(), db, p.Feed); err != nil {
				t.Fatal(err)
			}
			again, err := triggers.Propose(t.Context(), db, test.table)
			want.State = "ok"
			if p.Former != nil || err != nil || again.Former == nil || !cmp.Equal(*again.Former, want) {
				t.Errorf("former feeds %+v and %+v, %v, want none and the one attached", p.Former, again.Former, err)
			}
		})
	}
	for table, says := range map[string]string{
		"taskss": "did you mean public.tasks", "task_view": "is a view", "parts_2026": "attach public.parts",
	} {
		if _, err := triggers.Propose(t.Context(), db, table); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Propose(%s) = %v, want %q", table, err, says)
		}
	}
}

func TestProposalSaysWhy(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create schema app; create table app.users (id int primary key);
		create table tasks (id int primary key, boss int references app.users, owner text)`)
	p, err := triggers.Propose(t.Context(), db, "tasks")
	if err != nil {
		t.Fatal(err)
	}
	want := []triggers.Reason{{What: "boss", Why: "foreign key to app.users"}, {What: "owner", Why: "by its name"}}
	if diff := cmp.Diff(want, p.Owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if !slices.Contains(p.Scopes, triggers.Reason{What: "task:{id}", Why: "one row, by the primary key"}) || !slices.Equal(p.Key, []string{"id"}) {
		t.Errorf("scopes %v, key %v", p.Scopes, p.Key)
	}
}

// A foreign key to a table that has members is offered as a group; their table says when it changes.
func TestProposalOffersGroups(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `
		create schema app; create table users (id int primary key);
		create table app.teams (id int primary key, slug text unique, "{n}" int unique); create table clubs (id int primary key); create table rooms (id int primary key);
		create table app.members (team_id int references app.teams, usr int references users, role text, primary key (usr, team_id));
		create table club_members (id int primary key, club_id int references clubs, member_id text, invited_by int references users, unique (club_id, member_id));
		create table guests (club_id int references clubs, guest int references users, unique (club_id, guest));
		create table visits (room_id int references rooms, user_id int references users, at timestamptz); create index on visits (room_id, user_id);
		create table keys (room_id int references rooms, lock text, primary key (room_id, lock));
		create table doors (room_id int references rooms, to_room int references rooms, user_id int references users, unique (room_id, user_id));
		create table holders (room_id int references rooms, user_id int references users); create unique index on holders (room_id, user_id) where room_id > 7;
		create table cards (id int primary key, team_id int references app.teams, team text references app.teams (slug), owner text);
		create table matches (id int primary key, home int references clubs, room_id int references rooms)`)
	members := triggers.Feed{Table: "app.members", Scopes: []string{"members"}, Audience: []string{"usr"}, Regroup: "usr"}
	clubs := []triggers.Feed{
		{Table: "public.club_members", Scopes: []string{"club_members"}, Audience: []string{"member_id"}, Regroup: "member_id"},
		{Table: "public.guests", Scopes: []string{"guests"}, Audience: []string{"guest"}, Regroup: "guest"},
	}
	for _, test := range []struct {
		table   string
		owners  []triggers.Reason
		regroup string
		members []triggers.Feed
	}{
		{"cards", []triggers.Reason{{What: "owner", Why: "by its name"}, {What: "team:{team_id}", Why: "foreign key to app.teams, whose members are in app.members"}}, "", []triggers.Feed{members}},
		{"matches", []triggers.Reason{{What: "club:{home}", Why: "foreign key to public.clubs, whose members are in public.club_members and public.guests"}}, "", clubs},
		{"app.members", []triggers.Reason{{What: "usr", Why: "foreign key to public.users"}}, "usr", nil},
		{"visits", []triggers.Reason{{What: "user_id", Why: "foreign key to public.users"}}, "", nil},
		{"doors", []triggers.Reason{{What: "user_id", Why: "foreign key to public.users"}}, "", nil},
		{"keys", nil, "", nil},
	} {
		p, err := triggers.Propose(t.Context(), db, test.table)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.owners, p.Owners); diff != "" || p.Feed.Regroup != test.regroup {
			t.Errorf("%s: regroup %q, want %q; owners (-want +got):\n%s", test.table, p.Feed.Regroup, test.regroup, diff)
		}
		if diff := cmp.Diff(test.members, p.Members); diff != "" {
			t.Errorf("%s: members (-want +got):\n%s", test.table, diff)
		}
		for _, f := range append(p.Members, p.Feed) {
			if err := triggers.Attach(t.Context(), db, f); err != nil {
				t.Errorf("%s: %v", test.table, err)
			}
		}
	}
}
