package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// line reads one line of standard output.
func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("standard output: %v after %q", err, line)
	}
	return strings.TrimSuffix(line, "\n")
}

func beginTail(t *testing.T, db string, args ...string) *process {
	t.Helper()
	p := begin(t, db, append([]string{"tail"}, args...)...)
	p.waitLog(t, `"listening"`)
	return p
}

const tailTables = `create table tasks (id int primary key, project int, owner text, title text);
	create table news (id int primary key)`

func attachTailTables(t *testing.T, db string) {
	t.Helper()
	exec1(t, db, tailTables)
	mustRun(t, db, "attach", "tasks", "--scope", "project:{project}", "--audience", "owner", "--payload", "title")
	mustRun(t, db, "attach", "news", "--scope", "news", "--durable=false")
}

func TestTailShowsALinePerChange(t *testing.T) {
	db := migrated(t)
	attachTailTables(t, db)
	p := beginTail(t, db)
	for _, step := range []struct{ sql, want string }{
		{`insert into tasks values (1, 7, 'alice', 'x')`, `insert   public.tasks  {"id":1}  project:7  for alice`},
		{`insert into tasks values (2, 7, null, 'y')`, `insert   public.tasks  {"id":2}  project:7  for nobody`},
		{`set pgbell.origin = 'tab1'; update tasks set project = 8, owner = 'bob' where id = 1`,
			`update   public.tasks  {"id":1}  project:7 -> project:8  for alice -> bob  changed project, owner  by tab1`},
		{`update tasks set title = 'z' where id = 1`, `update   public.tasks  {"id":1}  project:8               for bob  changed title`},
		{`delete from tasks where id = 2`, `delete   public.tasks  {"id":2}  project:7               for nobody`},
		{`insert into news values (1)`, `insert   public.news   {"id":1}  news                    for everyone`},
		{`truncate tasks`, `reset    public.tasks  truncate`},
		{`select pgbell.publish('hello', '{"a":1}', array['carol'])`, `publish                          hello                   for carol`},
	} {
		exec1(t, db, step.sql)
		time, got, _ := strings.Cut(p.line(t), "  ")
		if got != step.want || len(time) != len("15:04:05.000") {
			t.Errorf("tail shows\n%s  %s, want\n%s", time, got, step.want)
		}
	}
	if code := p.end(t, syscall.SIGINT); code != 0 {
		t.Errorf("exit %d after Ctrl-C, want 0", code)
	}
}

// With --as a line is what that user would hear, by the audience rule.
func TestTailAsAUser(t *testing.T) {
	db := migrated(t)
	attachTailTables(t, db)
	p, j := beginTail(t, db, "--as", "alice"), beginTail(t, db, "--as", "alice", "--json", "--scope", "project:8")
	for _, sql := range []string{
		`insert into tasks values (1, 7, 'alice', 'x'), (2, 7, 'bob', 'y'), (3, 7, null, 'z')`,
		`update tasks set project = 8, owner = 'bob' where id = 1`,
		`update tasks set title = 'bob''s' where id = 1`,
		`update tasks set owner = 'alice' where id = 1`,
		`update tasks set project = 7 where id = 1`,
		`insert into news values (1)`,
		`select pgbell.publish('hello', null, array['carol'])`,
		`truncate tasks`,
	} {
		exec1(t, db, sql)
	}
	for _, want := range []string{
		`insert   public.tasks  {"id":1}  project:7`,
		`update   public.tasks  {"id":1}  project:7  moved out`,
		`update   public.tasks  {"id":1}  project:8  moved in  changed owner`,
		`update   public.tasks  {"id":1}  project:8  moved out`,
		`update   public.tasks  {"id":1}  project:7  moved in  changed project`,
		`insert   public.news   {"id":1}  news`,
		`reset    public.tasks  truncate`,
	} {
		if _, got, _ := strings.Cut(p.line(t), "  "); got != want {
			t.Errorf("tail --as alice shows\n%s, want\n%s", got, want)
		}
	}
	for _, want := range []string{
		`{"table":"public.tasks","op":"update","key":{"id":1},"scopes":["project:8"],"changed":["owner"],"moved":"in","data":{"title":"bob's"}}`,
		`{"table":"public.tasks","op":"update","key":{"id":1},"scopes":["project:8"],"moved":"out"}`,
		`{"table":"public.tasks","op":"reset","reason":"truncate"}`,
	} {
		got := decode[map[string]any](t, j.line(t))
		delete(got, "at")
		if diff := cmp.Diff(decode[map[string]any](t, want), got); diff != "" {
			t.Errorf("tail --as alice --json (-want +got):\n%s", diff)
		}
	}
}

func TestTailNamesTheScopesThatDiffer(t *testing.T) {
	for _, test := range []struct{ from, to, want string }{
		{"a b", "a b", "a b"}, {"a", "b", "a -> b"}, {"t p:7 x", "t p:8 x", "t x p:7 -> p:8"}, {"t p:7", "t", "t p:7 -> none"}, {"", "p:8", "none -> p:8"},
	} {
		if got := movedScopes(strings.Fields(test.from), strings.Fields(test.to)); got != test.want {
			t.Errorf("from %s to %s: %q, want %q", test.from, test.to, got, test.want)
		}
	}
}

func TestTailColoursOnATerminal(t *testing.T) {
	db := migrated(t)
	attachTailTables(t, db)
	x := onTerminal(t, db, nil, "tail")
	x.see(t, "listening")
	exec1(t, db, `insert into news values (1)`)
	exec1(t, db, `truncate tasks`)
	x.see(t, "truncate\x1b[0m\n")
	for _, want := range []string{"\x1b[32minsert \x1b[0m  public.news  \x1b[1m{\"id\":1}\x1b[0m  \x1b[36mnews\x1b[0m  for everyone\n", "\x1b[1;7;33mreset    public.tasks  truncate\x1b[0m\n"} {
		if !strings.Contains(x.out, want) {
			t.Errorf("the terminal shows %q, want %q", x.out, want)
		}
	}
	x.write(t, "\x03")
	if code := x.exit(t); code != 0 {
		t.Errorf("exit %d after Ctrl-C, want 0", code)
	}
	plain := onTerminal(t, db, []string{"NO_COLOR=1"}, "tail")
	plain.see(t, "listening")
	exec1(t, db, `insert into news values (2)`)
	plain.see(t, "for everyone\n")
	if strings.Contains(plain.out, "\x1b") {
		t.Errorf("with NO_COLOR the terminal shows %q", plain.out)
	}
}

// A gap has no record of its own, and stands out all the same.
func TestTailShowsAGap(t *testing.T) {
	db := migrated(t)
	attachTailTables(t, db)
	p := beginTail(t, db)
	// As after a crash, which ends all connections.
	exec1(t, db, `delete from pgbell.incarnation; insert into pgbell.incarnation default values;
		select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'pgbell'`)
	for _, want := range []string{"reset    public.news  the connection to the database was down", "reset    every scope  the database server was restarted"} {
		if _, got, _ := strings.Cut(p.line(t), "  "); got != want {
			t.Errorf("tail shows %q, want %q", got, want)
		}
	}
}

func TestTailJSON(t *testing.T) {
	db := migrated(t)
	attachTailTables(t, db)
	p := beginTail(t, db, "--json")
	for _, step := range []struct{ sql, want string }{
		{`insert into tasks values (1, 7, 'alice', 'x')`,
			`{"table":"public.tasks","op":"insert","key":{"id":1},"scopes":["project:7"],"audience":["alice"],"data":{"title":"x"}}`},
		{`update tasks set owner = null, title = '<b>' where id = 1`,
			`{"table":"public.tasks","op":"update","key":{"id":1},"scopes":["project:7"],"audience":[],"changed":["owner","title"],
			"old":{"key":{"id":1},"scopes":["project:7"],"audience":["alice"]},"data":{"title":"<b>"}}`},
		{`insert into news values (1)`, `{"table":"public.news","op":"insert","key":{"id":1},"scopes":["news"],"audience":null}`},
		{`truncate tasks`, `{"table":"public.tasks","op":"reset","reason":"truncate"}`},
	} {
		exec1(t, db, step.sql)
		got := decode[map[string]any](t, p.line(t))
		if at, _ := got["at"].(string); at == "" {
			t.Errorf("a line without its time: %v", got)
		}
		delete(got, "at")
		var wanted map[string]any
		if err := json.Unmarshal([]byte(step.want), &wanted); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("tail --json (-want +got):\n%s", diff)
		}
	}
}

func TestTailFiltersByScope(t *testing.T) {
	db := migrated(t)
	attachTailTables(t, db)
	exec1(t, db, `create table names (id text primary key)`)
	mustRun(t, db, "attach", "names", "--scope", "name:{id}")
	p := beginTail(t, db, "--scope", "project:8", "--scope", "name:ä b") // canonical: name:%C3%A4%20b
	exec1(t, db, `insert into tasks values (1, 7, 'alice', 'x'); insert into names values ('other'); insert into news values (1)`)
	exec1(t, db, `insert into names values ('ä b')`)
	exec1(t, db, `insert into tasks values (2, 8, 'alice', 'x')`)
	exec1(t, db, `update tasks set project = 7 where id = 2`) // left the scope
	exec1(t, db, `truncate news`)
	exec1(t, db, `truncate tasks`)
	for _, want := range []string{"name:%C3%A4%20b", `insert public.tasks {"id":2} project:8 for`, "project:8 -> project:7", "reset public.tasks"} {
		if got := strings.Join(strings.Fields(p.line(t)), " "); !strings.Contains(got, want) {
			t.Errorf("tail shows %q, want %q", got, want)
		}
	}
}

func TestTailEndsWithItsReader(t *testing.T) {
	db := migrated(t)
	attachTailTables(t, db)
	p := begin(t, db, "tail")
	p.waitLog(t, `"listening"`)
	exec1(t, db, `insert into news values (1)`)
	p.line(t)
	if err := p.closeStdout(); err != nil {
		t.Fatal(err)
	}
	if code := p.waitExit(t); code != 0 {
		t.Errorf("exit %d once nobody reads, want 0", code)
	}
}

// Names in the database may hold what a terminal would obey.
func TestTailEscapesWhatATerminalWouldObey(t *testing.T) {
	db := migrated(t)
	exec1(t, db, "create table \"a\x1b[31m\" (id text primary key)")
	mustRun(t, db, "attach", "\"a\x1b[31m\"", "--scope", "a")
	p := beginTail(t, db)
	exec1(t, db, "insert into \"a\x1b[31m\" values (e'\\u009b31m\\n')")
	if got := p.line(t); strings.ContainsAny(got, "\x1b\u009b") || !strings.Contains(got, `a\x1b[31m`) {
		t.Errorf("tail shows %q", got)
	}
}

func TestTailErrors(t *testing.T) {
	db := migrated(t)
	stranger := as(t, db, newRole(t, db, ""), password)
	wantError(t, runOn(t, stranger, "tail"), 1, "permission denied")
	wantError(t, runOn(t, "postgres://u@127.0.0.1:1/d", "tail"), 1, "no PostgreSQL answers at 127.0.0.1:1")
	wantError(t, runOn(t, db, "tail", "tasks"), 2, "no arguments")
}
