package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const explainTables = `create table tasks (id int primary key, project int, owner text, title text);
	insert into tasks values (1, 7, 'alice', 'x'), (2, null, 'bob', 'x'), (3, 7, null, 'x')`

// explained runs explain --json.
func explained(t *testing.T, db, server string, args ...string) (explanation, int) {
	t.Helper()
	r := runEnv(t, []string{"DATABASE_URL=" + db, "PGBELL_SERVER=" + server}, append([]string{"explain", "--json"}, args...)...)
	if r.stdout == "" {
		t.Fatalf("explain %q: exit %d, %s", args, r.code, r.stderr)
	}
	return decode[explanation](t, r.stdout), r.code
}

const noServer = "http://127.0.0.1:1"

func TestExplainSaysWhoWouldHearAndWhyNot(t *testing.T) {
	db := migrated(t)
	exec1(t, db, explainTables)
	mustRun(t, db, "attach", "tasks", "--scope", "project:{project}", "--scope", "task:{id}", "--audience", "owner")
	for _, test := range []struct {
		name, sql string
		args      []string
		hears     bool
		reason    string // part of the only one
		note      string
	}{
		{"owner", "", []string{"tasks", "1", "--as", "alice"}, true, "", ""},
		{"key as an event has it", "", []string{"tasks", `{"id":1}`, "--as", "alice"}, true, "", ""},
		{"somebody", "", []string{"tasks", "1"}, true, "", ""},
		{"another", "", []string{"tasks", "1", "--as", "bob"}, false, "bob is not in the audience: owner is alice", ""},
		{"the anonymous", "", []string{"tasks", "1", "--as", ""}, false, "an anonymous connection is not in the audience: owner is alice", ""},
		{"no owner", "", []string{"tasks", "3", "--as", "alice"}, false, "nobody is in the audience: owner is NULL", ""},
		{"no row", "", []string{"tasks", "99", "--as", "alice"}, false, "there is no such row", ""},
		{"columns", `select pgbell.attach('tasks', array['task:{id}'], columns => array['title'])`, []string{"tasks", "1", "--as", "bob"}, true, "", "an UPDATE counts only if it changes title,"},
		{"not durable", `select pgbell.attach('tasks', array['task:{id}'], durable => false)`, []string{"tasks", "1", "--as", ""}, true, "", "any role that can connect can read this row's key"},
		{"too many owners", `alter table tasks add who int[]; update tasks set who = array_fill(1, array[1000000]); select pgbell.attach('tasks', array['task:{id}'], audience => array['who'])`, []string{"tasks", "1", "--as", "bob"}, true, "", "each write of the row sends a reset of all the feed's scopes"},
		{"no scope", `select pgbell.attach('tasks', array['project:{project}'])`, []string{"tasks", "2"}, false, "no scope exists for this row", ""},
		{"a trigger is disabled", `alter table tasks disable trigger pgbell_delete_1`, []string{"tasks", "1"}, true, "", "nothing is heard of its DELETE"},
		{"all triggers are disabled", `alter table tasks disable trigger all`, []string{"tasks", "1"}, false, "no trigger fires: trigger pgbell_delete_1 is disabled", ""},
		{"drift", `alter table tasks enable trigger all; alter table tasks drop column project`, []string{"tasks", "1", "--as", "bob"}, true, "", "each write sends a reset of all its scopes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			exec1(t, db, test.sql)
			e, code := explained(t, db, noServer, test.args...)
			if e.Hears != test.hears || (code == 0) != test.hears {
				t.Errorf("hears %v, exit %d, want %v", e.Hears, code, test.hears)
			}
			if len(e.Reasons) > 1 || test.reason == "" != (len(e.Reasons) == 0) || !strings.Contains(strings.Join(e.Reasons, ""), test.reason) {
				t.Errorf("reasons %q, want %q", e.Reasons, test.reason)
			}
			if test.note != "" && !slices.ContainsFunc(e.Notes, func(n string) bool { return strings.Contains(n, test.note) }) {
				t.Errorf("notes %q, want %q", e.Notes, test.note)
			}
		})
	}
	exec1(t, db, `select pgbell.detach('tasks')`)
	wantError(t, runOn(t, db, "explain", "tasks", "1"), 1, "tasks has no feed", "pgbell attach tasks")
}

// The frame and the subscribers are those of a real server.
func TestExplainShowsTheFrameThatComes(t *testing.T) {
	db := migrated(t)
	exec1(t, db, explainTables)
	mustRun(t, db, "attach", "tasks", "--scope", "project:{project}", "--scope", "task:{id}", "--audience", "owner", "--payload", "owner")
	_, server := beginServe(t, db, "--auth", "header", "--drain", "0s")
	open(t, server, "", "project:7")
	const absent = "nobody is subscribed as alice, but somebody anonymous is"
	if e, _ := explained(t, db, server, "tasks", "1", "--as", "alice"); len(e.Notes) != 1 || !strings.HasPrefix(e.Notes[0], absent) {
		t.Errorf("notes %q, want one: %s", e.Notes, absent)
	}
	alice := open(t, server, "alice", "project:7")
	e, _ := explained(t, db, server, "tasks", "1", "--as", "alice")
	if len(e.Notes) != 0 || e.Subscribed == nil || !*e.Subscribed {
		t.Errorf("notes %q, subscribed %v, want none, true", e.Notes, e.Subscribed)
	}
	exec1(t, db, `update tasks set title = 'y' where id = 1`)
	name, data := alice.next()
	frame := regexp.MustCompile(`^event: (.*)\nid: .*\ndata: (.*)\n\n$`).FindStringSubmatch(e.Frame)
	if frame == nil {
		t.Fatalf("frame %q", e.Frame)
	}
	var got, want map[string]any
	if err := json.Unmarshal([]byte(frame[2]), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(data), &want); err != nil {
		t.Fatal(err)
	}
	delete(got, "at")
	delete(want, "at")
	if diff := cmp.Diff(want, got); diff != "" || frame[1] != name {
		t.Errorf("frame of %s, came for %s (-came +explained):\n%s", frame[1], name, diff)
	}

	var users []string
	for _, c := range e.Scopes[0].Connections {
		users = append(users, c.UserID)
	}
	slices.Sort(users)
	if !slices.Equal(users, []string{"", "alice"}) || e.Scopes[1].Connections == nil || len(e.Scopes[1].Connections) != 0 {
		t.Errorf("subscribed %+v, want alice and somebody anonymous to the first scope", e.Scopes)
	}
	r := runEnv(t, []string{"DATABASE_URL=" + db, "PGBELL_SERVER=" + server}, "explain", "tasks", "1", "--as", "bob")
	for _, want := range []string{
		"public.tasks {\"id\":1}\n\n", "  feed      durable, ok\n", "\n            task:1     nobody is subscribed\n", "subscribed: ", "alice", "anonymous",
		"  audience  alice      by owner\n", "bob would not hear of a change of it\n  because bob is not in the audience: owner is alice\n",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("explain shows\n%s\nwithout %q", r.stdout, want)
		}
	}
	if r.code != 1 || r.stderr != "pgbell: bob would not hear of it\n" {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
}

func TestExplainAsksTheServerInTheUsersName(t *testing.T) {
	db := migrated(t)
	exec1(t, db, explainTables+`; create function may(user_id text, scope text) returns boolean language sql as $$ select user_id = 'bob' $$`)
	mustRun(t, db, "attach", "tasks", "--scope", "task:{id}")
	_, server := beginServe(t, db, "--auth", "header", "--auth-header", "X-Who", "--authorize-sql", "may", "--drain", "0s")
	env := []string{"DATABASE_URL=" + db, "PGBELL_SERVER=" + server}
	r := runEnv(t, env, "explain", "tasks", "1", "--as", "alice", "--auth-header", "X-Who")
	if r.code != 1 || !strings.Contains(r.stdout, "because the server lets alice subscribe to none of its scopes") || !strings.Contains(r.stdout, "it answers 403") {
		t.Errorf("alice, who is not allowed: %+v", r)
	}
	if r := runEnv(t, env, "explain", "tasks", "1", "--as", "bob", "--auth-header", "X-Who"); r.code != 0 || !strings.Contains(r.stdout, "nobody is subscribed") {
		t.Errorf("bob, who is allowed: %+v", r)
	}

	key := secretFile(t, strings.Repeat("k", 32))
	token := makeToken(t, append([]string{"--user", "carol", "--scope", "task:*"}, key...)...)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, server = beginServe(t, db, append([]string{"--auth", "jwt", "--drain", "0s"}, key...)...)
	if e, _ := explained(t, db, server, "tasks", "1"); !strings.Contains(e.ServerError, "401") || !strings.Contains(e.ServerError, "--token-file") {
		t.Errorf("without a token: %+v", e)
	}
	if e, code := explained(t, db, server, "tasks", "1", "--token-file", file); e.Scopes[0].Connections == nil || code != 0 {
		t.Errorf("with a token from a file: %+v", e)
	}
	r = runEnv(t, []string{"DATABASE_URL=" + db, "PGBELL_TOKEN=" + token}, "explain", "tasks", "1", "--server", server)
	if !strings.Contains(r.stdout, "nobody is subscribed") || strings.Contains(r.stdout+r.stderr, token) {
		t.Errorf("with a token from the environment: %+v", r)
	}
}

// Who may hear and who listens are two things: explain says both.
func TestExplainSaysThatNobodyWhoMayHearIsSubscribed(t *testing.T) {
	db := migrated(t)
	exec1(t, db, explainTables)
	mustRun(t, db, "attach", "tasks", "--scope", "task:{id}", "--audience", "owner")
	_, server := beginServe(t, db, "--auth", "header", "--drain", "0s")
	check := func(words string, subscribed bool, args ...string) {
		t.Helper()
		r := runEnv(t, []string{"DATABASE_URL=" + db, "PGBELL_SERVER=" + server}, append([]string{"explain", "tasks", "1"}, args...)...)
		if r.code != 0 || !strings.Contains(r.stdout, "\n"+words+"\n") {
			t.Errorf("explain %q: exit %d,\n%s\nwant %q", args, r.code, r.stdout, words)
		}
		if e, _ := explained(t, db, server, append([]string{"tasks", "1"}, args...)...); e.Subscribed == nil || *e.Subscribed != subscribed {
			t.Errorf("explain --json %q: subscribed %v, want %v", args, e.Subscribed, subscribed)
		}
	}
	const none = "whoever is in the audience may hear of it, but none of them is subscribed on this server"
	check(none, false)
	check("alice may hear of it, but is subscribed to none of its scopes on this server", false, "--as", "alice")
	open(t, server, "bob", "task:1")
	check(none, false)
	open(t, server, "alice", "task:1")
	check("a change of it is heard", true)
	check("alice would hear of a change of it", true, "--as", "alice")

	exec1(t, db, `alter table tasks disable trigger pgbell_update_1`)
	check("alice would hear of a change of it, but of no UPDATE", true, "--as", "alice")
	e, _ := explained(t, db, server, "tasks", "1")
	if e.Op != "insert" || e.Changed != "" || !strings.Contains(e.Frame, `"op":"insert"`) || !strings.Contains(e.Notification, `"op":"insert"`) {
		t.Errorf("where no UPDATE is heard the example is %q of %q, %s, %s", e.Op, e.Changed, e.Frame, e.Notification)
	}
	mustRun(t, db, "attach", "tasks", "--scope", "t:{id}")
	check("everyone may hear of it, but nobody is subscribed on this server", false)
	if e, _ := explained(t, db, noServer, "tasks", "1"); e.Subscribed != nil {
		t.Errorf("without a server: subscribed %v, want unknown", *e.Subscribed)
	}
}

func TestExplainWithoutAServerIsNoFailure(t *testing.T) {
	db := migrated(t)
	exec1(t, db, explainTables)
	mustRun(t, db, "attach", "tasks", "--scope", "task:{id}")
	out := mustRun(t, db, "explain", "tasks", "1", "--server", "http://user:hunter2@127.0.0.1:1")
	if want := "  server  http://user:xxxxx@127.0.0.1:1 can't say who is subscribed: dial tcp 127.0.0.1:1: connect: connection refused\n"; !strings.Contains(strings.ReplaceAll(out, "    ", "  "), want) || strings.Contains(out, "hunter2") {
		t.Errorf("explain shows\n%s\nwant %q", out, want)
	}
}

func TestExplainEscapesWhatATerminalWouldObey(t *testing.T) {
	db := migrated(t)
	exec1(t, db, "create table x (id text primary key, owner text, \"n\x1b[31m\" text); insert into x values (e'\\u009b31m\\n', e'\\x1b]0;')")
	mustRun(t, db, "attach", "x", "--scope", "x", "--audience", "owner", "--columns", "n\x1b[31m")
	for _, args := range [][]string{{"x", "\u009b31m\n"}, {"x", "\u009b31m\n", "--as", "\x1b[31mbob"}, {"x", "\x1b[31m"}} {
		r := runOn(t, db, append([]string{"explain", "--server", noServer}, args...)...)
		if strings.ContainsAny(r.stdout+r.stderr, "\x1b\u009b") || r.stdout == "" {
			t.Errorf("explain %q shows %q, %q", args, r.stdout, r.stderr)
		}
	}
}
