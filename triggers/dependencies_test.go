package triggers_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/triggers"
)

const shop = `
create table users (id int primary key, name text);
create table teams (id int primary key);
create table projects (id int primary key, team_id int references teams, title text);
create table tasks (id int primary key, project_id int references projects, owner int references users, slug text, kind text, title text);
create table logs (at date, line text);`

func find(t *testing.T, d triggers.Dependencies, table string) triggers.Relation {
	t.Helper()
	i := slices.IndexFunc(d.Relations, func(r triggers.Relation) bool { return r.Table == table })
	if i < 0 {
		t.Fatalf("no relation %s in %+v", table, d.Relations)
	}
	return d.Relations[i]
}

// Of a feed's scopes the one is taken that tells of the fewest other changes, of those that
// tell of all that matter.
func TestScopeOfARelation(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	db := connect(t, url)
	exec(t, db, shop+`select pgbell.attach('tasks', array['kind:{kind}', 'tasks', 'project:{project_id}', 'task:{id}', 'both:{project_id}:{slug}', 'slug {{x}}:{slug}'], array['owner']),
		pgbell.attach('projects', array['team:{team_id}'])`)
	for query, want := range map[string]string{
		"select 1 from tasks":                                                 "tasks",
		"select 1 from tasks where title = $1":                                "tasks",
		"select 1 from tasks where kind = 'a b'":                              "kind:a%20b",
		"select 1 from tasks where kind = 'a' and project_id = $1":            "project:$1",
		"select 1 from tasks where project_id = $2 and slug = $1":             "both:$2:$1",
		"select 1 from tasks where project_id = $1 and slug = 'x'":            "both:$1:x",
		"select 1 from tasks where project_id = $1 and id = $2 and slug = $3": "task:$2",
		"select 1 from tasks where slug = $1":                                 "slug%20%7Bx%7D:$1",
		"select 1 from projects where team_id = $1":                           "team:$1",
		"select 1 from projects where team_id = 7":                            "team:7",
	} {
		d, err := triggers.Deps(t.Context(), db, query)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if r := d.Relations[0]; r.Scope != want || r.Missing != "" || r.Attach != "" || !d.Complete() {
			t.Errorf("%s: %+v, want scope %s", query, r, want)
		}
	}
	d, err := triggers.Deps(t.Context(), db, "select 1 from tasks where id = $1")
	if err != nil || !slices.Equal(d.Relations[0].Audience, []string{"owner"}) {
		t.Errorf("%+v, %v: the feed has an audience", d, err)
	}
}

func TestWhatToAttachIsSaid(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, shop+`
		select pgbell.attach('projects', array['team:{team_id}'], columns => array['team_id'], payload => array['title']);
		select pgbell.attach('logs', array['logs']);
		alter table logs drop column line`)
	for _, test := range []struct{ query, table, missing, attach string }{
		{"select 1 from users", "public.users", "has no feed", "scopes => array['users']\n"},
		{"select 1 from users where id = $1", "public.users", "has no feed", "scopes => array['user:{id}']\n"},
		{"select 1 from tasks where project_id = $1", "public.tasks", "has no feed", "scopes => array['project:{project_id}']\n"},
		{"select 1 from tasks where slug = $1", "public.tasks", "has no feed", "scopes => array['task_slug:{slug}']\n"},
		{"select 1 from tasks where kind = 'x'", "public.tasks", "has no feed", "scopes => array['tasks']\n"},
		{"select 1 from tasks where project_id = $1 and owner = $2", "public.tasks", "has no feed", "scopes => array['project:{project_id}'],\n  audience => array['owner']\n"},
		{"select (select count(*) from tasks) from tasks where project_id = $1 and owner = $2", "public.tasks", "has no feed", "scopes => array['project:{project_id}', 'tasks']\n"},
		{"select 1 from projects where id = $1", "public.projects", "each of its scopes is for some of the rows", "scopes => array['team:{team_id}', 'project:{id}'],\n  columns => array['team_id', 'id'],\n  payload => array['title']\n"},
		{"select title from projects where team_id = $1", "public.projects", "leaves out updates of title", "scopes => array['team:{team_id}'],\n  columns => array['team_id', 'title'],\n  payload => array['title']\n"},
		{"select 1 from projects p, projects q where p.id = $1 and q.team_id = $2", "public.projects", "each of its scopes is for some", "scopes => array['team:{team_id}', 'project:{id}']"},
		{"select at from logs", "public.logs", "", "scopes => array['logs']\n"},
	} {
		d, err := triggers.Deps(t.Context(), db, test.query)
		if err != nil {
			t.Fatalf("%s: %v", test.query, err)
		}
		r := find(t, d, test.table)
		if !strings.Contains(r.Missing, test.missing) || test.table != "public.logs" && !strings.Contains(r.Attach, test.attach) {
			t.Errorf("%s: %q, %s\nwant %q, %s", test.query, r.Missing, r.Attach, test.missing, test.attach)
		}
		if test.table == "public.logs" {
			continue
		}
		if _, err := d.Scopes(); err == nil || !strings.Contains(err.Error(), "could go unheard: "+test.table) || !strings.Contains(err.Error(), "select pgbell.attach(") {
			t.Errorf("%s: scopes, though it isn't complete: %v", test.query, err)
		}
		// What it says is ready to run, and enough.
		tx, err := db.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), r.Attach); err != nil {
			t.Errorf("%s: %v", r.Attach, err)
		}
		d, err = triggers.Deps(t.Context(), tx, test.query)
		if err != nil || !d.Complete() {
			t.Errorf("%s: after %s: %+v, %v", test.query, r.Attach, d, err)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, db, `alter table projects rename column team_id to group_id`)
	d, err := triggers.Deps(t.Context(), db, "select 1 from projects where id = 3")
	if err != nil || d.Complete() || !strings.Contains(d.Relations[0].Missing, "doesn't tell of everything: ") || d.Relations[0].Attach == "" {
		t.Errorf("a feed that has drifted: %+v, %v", d, err)
	}
}

func TestScopesOfArguments(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	db, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if _, err := db.Exec(t.Context(), shop); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `select pgbell.attach('tasks', array['project:{project_id}', 'slug:{slug}', '{kind}', 'tasks']), pgbell.attach('projects', array['project:{id}', 'of:{title}']), pgbell.attach('users', array['users'])`); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		query string
		args  []any
		want  string // scopes, or the error's end
	}{
		{"select 1 from tasks where project_id = $1", []any{7}, "project:7"},
		{"select 1 from tasks where slug = $1", []any{"a b/é"}, "slug:a%20b/%C3%A9"},
		{"select 1 from tasks where slug = $1", []any{strings.Repeat("x", 252)}, "tasks"}, // too long for a scope
		{"select 1 from tasks where kind = $1", []any{"open"}, "tasks"},                   // reserved
		{"select 1 from tasks where kind = $1", []any{"x"}, "x"},
		{"select 1 from projects where title = $1", []any{strings.Repeat("x", 254)}, "error: there is no such scope"},
		{"select 1 from tasks t join projects p on p.id = t.project_id where p.id = $1", []any{7}, "project:7"}, // one for both
		{"select 1 from tasks where project_id = $1", []any{nil}, ""},
		{"select (select count(*) from users) from tasks where project_id = $1 and slug = $2", []any{7, nil}, "users"},
		{"select 1 from tasks where project_id = $1", []any{"seven"}, "error: "},
		{"select 1 from tasks where project_id = $1", nil, "error: the query has 1 parameters, and 0 arguments are given"},
		{"select 1 from tasks where project_id = 8", nil, "project:8"},
	} {
		d, err := triggers.Deps(t.Context(), db, test.query)
		if err != nil {
			t.Fatalf("%s: %v", test.query, err)
		}
		scopes, err := d.Scopes(test.args...)
		if got, want := strings.Join(scopes, " "), strings.TrimPrefix(test.want, "error: "); want != test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s with %v: %v, want the error %s", test.query, test.args, err, want)
			}
		} else if err != nil || got != want {
			t.Errorf("%s with %v: %q, %v, want %q", test.query, test.args, got, err, want)
		}
	}
}

// Where lookups are run, a scope stands for each value that they give.
func TestScopesOfLookups(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, shop+`
		create table notes (id int primary key, task text, body text);
		select pgbell.attach('tasks', array['project:{project_id}', 'tasks', 'kind:{kind}']),
			pgbell.attach('users', array['users', 'user:{id}', 'name:{name}']),
			pgbell.attach('teams', array['team:{id}']),
			pgbell.attach('projects', array['project:{id}', 'team:{team_id}']),
			pgbell.attach('notes', array['notes', '{task}'])`)
	many := make([]string, triggers.MaxLookup+1)
	for i := range many {
		many[i] = strconv.Itoa(i)
	}
	for _, test := range []struct {
		query, without string // or the error's end
		lookup         string // the relations', as they are shown
		found          [][]string
		want           string
	}{
		{"select u.name from tasks t left join users u on u.id = t.owner where t.project_id = $1", "project:7 users", "user:{tasks.owner}", [][]string{{"3", "4"}}, "project:7 user:3 user:4"},
		{"select u.name from tasks t left join users u on u.id = t.owner where t.project_id = $1", "project:7 users", "user:{tasks.owner}", [][]string{{}}, "project:7"},
		{"select u.name from tasks t left join users u on u.id = t.owner where t.project_id = $1", "project:7 users", "user:{tasks.owner}", [][]string{many}, "project:7 users"},
		{"select u.name from tasks t left join users u on u.id = t.owner where t.project_id = $1", "project:7 users", "user:{tasks.owner}", [][]string{}, "error: fewer lookups than there are"},
		{"select u.name from tasks t left join users u on u.id = t.owner and u.name = 'x' where t.project_id = $1", "project:7 name:x", "user:{tasks.owner}", [][]string{{"3"}}, "project:7 user:3"},
		{"select m.id from projects p join teams m on m.id = p.team_id where p.id = $1", "error: public.teams has a feed, but each of its scopes is for some", "team:{projects.team_id}", [][]string{{"3"}}, "project:7 team:3"},
		{"select m.id from projects p join teams m on m.id = p.team_id where p.id = $1", "error: public.teams has a feed, but each of its scopes is for some", "team:{projects.team_id}", [][]string{many}, "error: public.projects.team_id are more than 100, and no scope tells of all of public.teams"},
		{"select n.id from tasks t join notes n on n.task = t.slug where t.project_id = $1", "project:7 notes", "{tasks.slug}", [][]string{{"a b", "open", "a"}}, "project:7 a%20b notes a"}, // open is reserved
		{"select u.id, m.id from tasks t join users u on u.id = t.owner join projects p on p.id = t.project_id join teams m on m.id = p.team_id where t.project_id = $1",
			"error: public.teams has a feed", "user:{tasks.owner} team:{projects.team_id}", [][]string{{"1"}, {"2"}}, "project:7 user:1 team:2"},
		{"select id from tasks where project_id = $1", "project:7", "", [][]string{}, "project:7"},
	} {
		d, err := triggers.Deps(t.Context(), db, test.query)
		if err != nil {
			t.Fatalf("%s: %v", test.query, err)
		}
		var shown []string
		for _, r := range d.Relations {
			if r.Lookup != "" {
				shown = append(shown, r.Lookup)
			}
		}
		if got := strings.Join(shown, " "); got != test.lookup {
			t.Errorf("%s: lookups %q, want %q", test.query, got, test.lookup)
		}
		check := func(how string, scopes []string, err error, want string) {
			if end, failed := strings.CutPrefix(want, "error: "); failed {
				if err == nil || !strings.Contains(err.Error(), end) {
					t.Errorf("%s, %s: %v, want the error %s", test.query, how, err, end)
				}
			} else if got := strings.Join(scopes, " "); err != nil || got != want {
				t.Errorf("%s, %s: %q, %v, want %q", test.query, how, got, err, want)
			}
		}
		scopes, err := d.Scopes(7)
		check("without lookups", scopes, err, test.without)
		scopes, err = d.ScopesWith(test.found, 7)
		check("with lookups", scopes, err, test.want)
		for _, l := range d.Lookups(func(n int) string { return "$" + strconv.Itoa(n) + "::int" }) {
			var values []string
			if err := db.QueryRow(t.Context(), "select "+l, 7).Scan(&values); err != nil || values == nil {
				t.Errorf("%s: %v, %v", l, values, err)
			}
		}
	}
}

func TestFeedForLookupsIsProposed(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, shop+`select pgbell.attach('tasks', array['project:{project_id}'])`)
	const query = "select u.name from tasks t left join users u on u.id = t.owner where t.project_id = $1"
	d, err := triggers.Deps(t.Context(), db, query)
	if err != nil {
		t.Fatal(err)
	}
	attach := find(t, d, "public.users").Attach
	if want := "scopes => array['users', 'user:{id}']\n"; !strings.Contains(attach, want) {
		t.Errorf("got %s, want %s", attach, want)
	}
	exec(t, db, attach)
	if d, err = triggers.Deps(t.Context(), db, query); err != nil || !d.Complete() || find(t, d, "public.users").Lookup != "user:{tasks.owner}" {
		t.Errorf("after that: %+v, %v", d, err)
	}
}
