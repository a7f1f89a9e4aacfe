package main

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const depsTables = `create table users (id int primary key, name text);
	create table tasks (id int primary key, project_id int, owner text, title text);
	create function board(p int) returns setof tasks stable begin atomic select * from tasks where project_id = p; end;
	create function hidden() returns bigint stable language plpgsql as 'begin return (select count(*) from users); end';`

func TestDepsSaysWhichScopesTell(t *testing.T) {
	db := migrated(t)
	exec1(t, db, depsTables)
	mustRun(t, db, "attach", "tasks", "--scope", "project:{project_id}", "--audience", "owner")
	const want = `TABLE         COLUMNS                EQUALS           SCOPE       HEARD BY
public.tasks  id, project_id, title  project_id = $1  project:$1  owner
`
	if got := mustRun(t, db, "deps", "select id, title from tasks where project_id = $1"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var text bytes.Buffer
	if err := json.Compact(&text, []byte(mustRun(t, db, "deps", "--json", "select id, title from tasks where project_id = $1"))); err != nil {
		t.Fatal(err)
	}
	if text := strings.TrimSpace(text.String()); text != `{"complete":true,"relations":[{"table":"public.tasks","columns":["id","project_id","title"],"equals":{"project_id":"$1"},"scope":"project:$1","audience":["owner"]}],"opaque":[],"time":[]}` {
		t.Error(text)
	}
	mustRun(t, db, "attach", "users", "--scope", "users", "--scope", "user:{name}")
	const joined = "select t.title, u.id from tasks t join users u on u.name = t.owner where t.project_id = $1"
	const among = `TABLE         COLUMNS                   EQUALS                         SCOPE       HEARD BY
public.tasks  project_id, owner, title  project_id = $1                project:$1  owner
public.users  id, name                  name among public.tasks.owner  users       everyone

A live query listens to user:{tasks.owner} in place of users.
`
	if got := mustRun(t, db, "deps", joined); got != among {
		t.Errorf("got\n%s\nwant\n%s", got, among)
	}
	if got := mustRun(t, db, "deps", "--json", joined); !strings.Contains(strings.Join(strings.Fields(got), ""), `"equals":{},"among":{"name":"public.tasks.owner"},"scope":"users","lookup":"user:{tasks.owner}"}`) {
		t.Error(got)
	}
	if got := mustRun(t, db, "deps", "board"); !strings.Contains(got, "project:$1") {
		t.Error(got)
	}
	if got := mustRun(t, db, "deps", "select now(), id from tasks where project_id = 7"); !strings.Contains(got, "project:7") || !strings.HasSuffix(got, "\nThe result changes by itself, too: now().\n") {
		t.Error(got)
	}
	if got := mustRun(t, db, "deps", "select 1"); !strings.Contains(got, "reads no table") {
		t.Error(got)
	}
}

func TestDepsSaysWhatCouldGoUnheard(t *testing.T) {
	db := migrated(t)
	exec1(t, db, depsTables)
	mustRun(t, db, "attach", "tasks", "--scope", "project:{project_id}")
	for _, test := range []struct{ query, out string }{
		{"select name from users where id = $1", "\npublic.users has no feed.\nselect pgbell.attach(\n  'public.users'::regclass,\n  scopes => array['user:{id}']\n);\n"},
		{"select a.id from tasks a, tasks b where a.title = b.title", "\npublic.tasks has a feed, but each of its scopes is for some of the rows that the query reads.\n"},
		{"select hidden() from tasks where project_id = 3", "\npublic.hidden() can't be looked into: write it with begin atomic"},
		{"select relname from pg_class", "\npg_catalog.pg_class can't be looked into: no trigger tells"},
		{"select lo_get(1)", "\nlo_get(oid) can't be looked into: what it gives follows from more than rows"},
	} {
		r := runOn(t, db, "deps", test.query)
		if r.code != 1 || r.stderr != "pgbell: some change could go unheard\n" || !strings.Contains(r.stdout, test.out) {
			t.Errorf("%s: %+v, want %q", test.query, r, test.out)
		}
		if strings.Count(r.stdout, "select pgbell.attach(") > 1 {
			t.Errorf("%s: one table is attached twice:\n%s", test.query, r.stdout)
		}
		j := runOn(t, db, "deps", "--json", test.query)
		if j.code != 1 || !strings.Contains(j.stdout, `"complete": false`) {
			t.Errorf("%s: %+v", test.query, j)
		}
	}
}

func TestDepsRefuses(t *testing.T) {
	db := migrated(t)
	exec1(t, db, depsTables)
	for _, test := range []struct {
		args []string
		say  string
	}{
		{[]string{"deps"}, "takes one query, in quotes"},
		{[]string{"deps", "select", "1"}, "takes one query, in quotes"},
		{[]string{"deps", "delete from users"}, "it is no single SELECT"},
		{[]string{"deps", "select 1; select 2"}, "multiple commands"},
		{[]string{"deps", "select * from nobody"}, `relation "nobody" does not exist`},
		{[]string{"deps", "boards"}, "boards is no query, and no function"},
		{[]string{"deps", "select * from users where id = $2"}, "write its type, as in $1::int"},
	} {
		if r := runOn(t, db, test.args...); r.code != 2 || !strings.Contains(r.stderr, test.say) || strings.Count(r.stderr, "\n") != 1 || r.stdout != "" {
			t.Errorf("%q: %+v, want %q", test.args, r, test.say)
		}
	}
	if r := runOn(t, database(t), "deps", "select 1"); r.code != 1 || !strings.Contains(r.stderr, "pgbell migrate") {
		t.Errorf("without pgbell: %+v", r)
	}
}

// What the manual shows is so: what is printed, and the scopes of each query of its table.
func TestManualOfDeps(t *testing.T) {
	text, err := os.ReadFile("../../docs/deps.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(text)
	db := migrated(t)
	for _, m := range regexp.MustCompile("(?s)\n```sql\n(.*?)\n```").FindAllStringSubmatch(manual, -1) {
		exec1(t, db, m[1])
	}
	shown := regexp.MustCompile("(?s)\n<!-- pgbell deps '(.*?)' -->\n```\n(.*?)```").FindAllStringSubmatch(manual, -1)
	for _, m := range shown {
		if got, want := runOn(t, db, "deps", m[1]).stdout, strings.TrimPrefix(m[2], "$ pgbell deps '"+m[1]+"'\n"); got != want {
			t.Errorf("%s\n got %s\nwant %s", m[1], got, want)
		}
	}
	queries := regexp.MustCompile("(?m)^\\| `((?:select|with) .*?)` \\| (.*?) \\|$").FindAllStringSubmatch(manual, -1)
	for _, m := range queries {
		var scopes []string
		for _, r := range decode[dependenciesJSON](t, runOn(t, db, "deps", "--json", m[1]).stdout).Relations {
			if s := "`" + r.Scope + "`"; !slices.Contains(scopes, s) {
				scopes = append(scopes, s)
			}
		}
		if got := strings.Join(scopes, " "); got != m[2] {
			t.Errorf("%s: scopes %s, the manual has %s", m[1], got, m[2])
		}
	}
	if len(shown) < 2 || len(queries) < 10 {
		t.Errorf("the manual shows %d calls and %d queries", len(shown), len(queries))
	}
	if r := runOn(t, db, "deps", "select busy(1)"); r.code != 0 || !strings.Contains(r.stdout, "tasks") {
		t.Errorf("a function whose comment says what it reads: %+v", r)
	}
	example, err := os.ReadFile("../../examples/htmx/small/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)\n```go\n(.*?)```").FindAllStringSubmatch(manual, -1) {
		if !strings.Contains(string(example), m[1]) {
			t.Errorf("the example has no\n%s", m[1])
		}
	}
}
