package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// newRole makes a role that may log in, and runs SQL with its name for $role.
func newRole(t *testing.T, db, sql string) string {
	t.Helper()
	role := fmt.Sprintf("role%d", databases.Add(1))
	exec1(t, db, fmt.Sprintf("create role %s login password '%s'; ", role, password)+strings.ReplaceAll(sql, "$role", role))
	return role
}

func TestAttachFeedsDetach(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key, project_id int, owner text, members text[], title text, "a,b" text);
		create table notes (id int primary key)`)

	r := runOn(t, db, "feeds")
	if r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "pgbell attach TABLE") {
		t.Errorf("feeds without any: %+v, want to be told how to attach one", r)
	}
	r = runOn(t, db, "feeds", "--json")
	if r.code != 0 || r.stdout != "[]\n" || r.stderr != "" {
		t.Errorf("feeds --json without any: %+v", r)
	}

	tasks := feedJSON{
		Table: "public.tasks", Scopes: []string{"tasks", "project:{project_id}"},
		Audience: []string{"owner", "members"}, Columns: []string{"title", "a,b"}, Payload: []string{"title"}, Durable: true, State: "ok",
	}
	notes := feedJSON{Table: "public.notes", Scopes: []string{"note:{id},all"}, State: "ok"}
	// Flags may stand behind the table, as documented, and in front of it.
	out := mustRun(t, db, "attach", "tasks", "--scope", "tasks", "--scope", "project:{project_id}",
		"--audience", "owner", "--audience", "members", "--columns", `title,"a,b"`, "--payload", "title", "--json")
	if diff := cmp.Diff(tasks, decode[feedJSON](t, out)); diff != "" {
		t.Errorf("attach --json (-want +got):\n%s", diff)
	}
	out = mustRun(t, db, "attach", "--durable=false", "--scope", "note:{id},all", "public.notes")
	if want := "attached public.notes: scopes note:{id},all, heard by everyone\n"; out != want {
		t.Errorf("attach says %q, want %q", out, want)
	}
	list := decode[[]feedJSON](t, mustRun(t, db, "feeds", "--json"))
	if diff := cmp.Diff([]feedJSON{notes, tasks}, list); diff != "" {
		t.Errorf("feeds --json (-want +got):\n%s", diff)
	}
	want := "" +
		"TABLE         SCOPES                       AUDIENCE        COLUMNS     PAYLOAD  DURABLE  REGROUP  STATE\n" +
		"public.notes  note:{id},all                everyone        any         none     no       none     ok\n" +
		"public.tasks  tasks, project:{project_id}  owner, members  title, a,b  title    yes      none     ok\n"
	if diff := cmp.Diff(want, mustRun(t, db, "feeds")); diff != "" {
		t.Errorf("feeds (-want +got):\n%s", diff)
	}

	if out := mustRun(t, db, "detach", "tasks"); out != "detached tasks\n" {
		t.Errorf("detach says %q", out)
	}
	if out := mustRun(t, db, "detach", "tasks"); out != "tasks was not attached\n" {
		t.Errorf("detach again says %q", out)
	}
	type detached struct {
		Table    string `json:"table_name"`
		Detached bool
	}
	if got := decode[detached](t, mustRun(t, db, "detach", "notes", "--json")); got != (detached{"notes", true}) {
		t.Errorf("detach --json says %+v", got)
	}
	if got := decode[detached](t, mustRun(t, db, "detach", "--json", "notes")); got != (detached{"notes", false}) {
		t.Errorf("detach --json again says %+v", got)
	}
}

func TestAttachWarnsOfATableWithoutKey(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table log (line text)`)
	r := runOn(t, db, "attach", "log", "--scope", "log")
	if r.code != 0 || !strings.HasPrefix(r.stdout, "attached public.log") {
		t.Errorf("attach: %+v", r)
	}
	if !strings.HasPrefix(r.stderr, "pgbell: warning: ") || !strings.Contains(r.stderr, "no primary key") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("attach warns %q, want one line about the primary key", r.stderr)
	}
}

func TestFlagsFromTheEnvironment(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key, owner text)`)
	env := []string{"DATABASE_URL=" + db, "PGBELL_SCOPE=tasks\ntask:{id}", "PGBELL_AUDIENCE=owner", "PGBELL_DURABLE=false", "PGBELL_JSON=true", "PGBELL_COLUMNS="}
	r := runEnv(t, env, "attach", "tasks")
	if r.code != 0 {
		t.Fatalf("attach: %+v", r)
	}
	want := feedJSON{Table: "public.tasks", Scopes: []string{"tasks", "task:{id}"}, Audience: []string{"owner"}, State: "ok"}
	if diff := cmp.Diff(want, decode[feedJSON](t, r.stdout)); diff != "" {
		t.Errorf("attach by environment (-want +got):\n%s", diff)
	}
	if r := runEnv(t, env, "attach", "tasks", "--scope", "flag", "--durable"); !strings.Contains(r.stdout, `"flag"`) || strings.Contains(r.stdout, "task:") || !strings.Contains(r.stdout, `"durable": true`) {
		t.Errorf("a flag does not replace its variable: %+v", r)
	}
}

func TestFeedErrorsSayWhatToDo(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key, title text); create schema app; create table app.orders (id int primary key);
		create view task_view as select 1 as id; create table help (id int primary key)`)
	stranger := as(t, db, newRole(t, db, ""), password)
	owner := as(t, db, newRole(t, db, "create table mine (id int primary key); alter table mine owner to $role"), password)
	member := as(t, db, newRole(t, db, "grant postgres to $role; alter role $role noinherit"), password)
	attach := func(table string, more ...string) []string {
		return append([]string{"attach", table, "--scope", "a"}, more...)
	}
	for _, test := range []struct {
		name string
		db   string
		args []string
		says []string
	}{
		{"missing table", db, attach("taks"), []string{"attach taks: table taks does not exist: did you mean public.tasks?"}},
		{"missing table, other schema", db, attach("orders"), []string{"did you mean app.orders?"}},
		{"missing table, none near", db, attach("zebra"), []string{"table zebra does not exist", "search_path"}},
		{"missing table to detach", db, []string{"detach", "tsaks"}, []string{"did you mean public.tasks?"}},
		{"malformed name", db, attach(`"tasks`), []string{`"tasks`}},
		{"missing column", db, attach("tasks", "--audience", "owner"), []string{`no column "owner"`, "Its columns are: id, title"}},
		{"missing column in a scope", db, attach("tasks", "--scope", "p:{project}"), []string{`no column "project"`, "id, title"}},
		{"a view", db, attach("task_view"), []string{"is a view", "Attach the tables"}},
		{"stranger", stranger, attach("tasks"), []string{"permission denied", "the role that ran pgbell migrate"}},
		{"stranger's feeds", stranger, []string{"feeds"}, []string{"permission denied", "the role that ran pgbell migrate"}},
		{"stranger's detach", stranger, []string{"detach", "tasks"}, []string{"permission denied"}},
		{"owner of the table only", owner, attach("mine"), []string{"permission denied", "the role that ran pgbell migrate"}},
		{"member without its rights", member, attach("tasks"), []string{"permission denied"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantError(t, runOn(t, test.db, test.args...), 1, test.says...)
		})
	}
	t.Run("a table called help", func(t *testing.T) {
		mustRun(t, db, attach("help")...)
	})
	t.Run("a table in use", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(t.Context(), "begin; insert into tasks values (1)"); err != nil {
			t.Fatal(err)
		}
		impatient := with(t, db, func(u *url.URL) { u.RawQuery += "&lock_timeout=10ms" })
		wantError(t, runOn(t, impatient, attach("tasks")...), 1, "is in use", "Try again")
	})
}

func TestNotMigratedSaysToMigrate(t *testing.T) {
	db := database(t)
	exec1(t, db, `create table tasks (id int primary key)`)
	for _, args := range [][]string{{"attach", "tasks", "--scope", "a"}, {"detach", "tasks"}, {"feeds"}, {"feeds", "--json"}, {"tail"}} {
		t.Run(args[0], func(t *testing.T) {
			wantError(t, runOn(t, db, args...), 1, "run: pgbell migrate")
		})
	}
}

// Of triggers without a feed only the table is known.
func TestFeedsListsTablesWithTriggersOfNoFeed(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key); select pgbell.attach('tasks', array['t'], audience => '{}'); delete from pgbell.feed`)
	lines := strings.Split(mustRun(t, db, "feeds"), "\n")
	if got := strings.Fields(lines[1]); len(got) < 2 || got[0] != "public.tasks" || got[1] != "its" {
		t.Errorf("got %q", lines)
	}
}
