package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const completionTables = `create table tasks (id int primary key, owner text); create table tasks_done (id int primary key); create table "Odd" (id int primary key);
	create schema app; create table app.orders (id int primary key); create table parts (id int) partition by list (id); create table parts_1 partition of parts default;
	select pgbell.attach('tasks', array['t']), pgbell.attach('app.orders', array['o'])`

// completions is what a shell is offered.
func completions(t *testing.T, db string, words ...string) []string {
	t.Helper()
	r := runOn(t, db, append(words, "--generate-shell-completion")...)
	if r.code != 0 || r.stderr != "" {
		t.Errorf("completing %q: %+v", words, r)
	}
	var names []string
	for _, line := range strings.Split(strings.TrimSpace(r.stdout), "\n") {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	return names
}

func TestCompletionOffersWhatFits(t *testing.T) {
	db := migrated(t)
	exec1(t, db, completionTables)
	attachable := []string{"app.orders", "parts", "tasks", "tasks_done"}
	attached := []string{"app.orders", "tasks"}
	nothing := []string{""}
	for _, test := range []struct {
		db    string
		words []string
		want  []string
	}{
		{db, []string{"attach"}, attachable},
		{db, []string{"attach", "--durable=false"}, attachable},
		{db, []string{"detach"}, attached},
		{db, []string{"explain"}, attached},
		{db, []string{"explain", "tasks"}, nothing},
		{db, []string{"attach", "tasks", "--scope", "x"}, nothing},
		{"postgres://u@127.0.0.1:1/d", []string{"attach"}, nothing},
		{"five", []string{"attach"}, nothing},
		{db, []string{"attach", "tasks", "--audience"}, []string{"id", "owner"}},
		{db, []string{"attach", "app.orders", "--scope", "x", "--payload"}, []string{"id"}},
		{db, []string{"attach", "--audience"}, nothing},
		{db, []string{"attach", "nowhere", "--regroup"}, nothing},
		{db, []string{"serve", "--auth"}, []string{"none", "header", "jwt"}},
		{db, []string{"doctor", "--auth"}, []string{"none", "header", "jwt"}},
		{db, []string{"serve", "--log-level"}, []string{"debug", "info", "warn", "error"}},
		{db, []string{"serve", "--wake"}, []string{"auto", "poll"}},
		{database(t), []string{"detach"}, nothing},
	} {
		got, tooLate := []string(nil), true
		for try := 0; try < 60 && tooLate; try++ {
			begun := time.Now()
			got = completions(t, test.db, test.words...)
			// On a busy machine a database that answers may not have done so in time.
			tooLate = slices.Equal(got, nothing) && !slices.Equal(test.want, nothing) && time.Since(begun) >= completionWait
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("completing %q on %s: %q, want %q", test.words, test.db, got, test.want)
		}
	}
	if got := completions(t, db); !slices.Contains(got, "attach") || !slices.Contains(got, "completion") || slices.Contains(got, "healthcheck") {
		t.Errorf("commands %q", got)
	}
	if got := completions(t, db, "attach", "tasks", "--sco"); !slices.Equal(got, []string{"--scope"}) {
		t.Errorf("flags %q, want --scope", got)
	}
}

// A database that doesn't answer must not hold up the shell.
func TestCompletionDoesNotWait(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for try := 1; ; try++ {
		begun := time.Now()
		if got := completions(t, "postgres://u@"+l.Addr().String()+"/d", "attach"); !slices.Equal(got, []string{""}) {
			t.Errorf("completed %q", got)
		}
		took := time.Since(begun)
		if took < completionWait+4*time.Second {
			break
		}
		if try == 3 { // else the machine was busy
			t.Fatalf("it took %v", took)
		}
	}
}

// The script works in bash as it comes, on a terminal, at the press of TAB.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	db := migrated(t)
	exec1(t, db, completionTables)
	dir := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "pgbell")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bash, "--noprofile", "--norc", "-i")
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + dir, "TERM=dumb", "PS1=> ", "DATABASE_URL=" + db}
	x := start(t, cmd)
	x.see(t, "> ")
	x.write(t, "source <(pgbell completion bash); echo so''urced\r")
	x.see(t, "sourced\n")
	for _, test := range []struct{ typed, becomes string }{
		{"pgbell att", "pgbell attach "},
		{"pgbell attach par", "pgbell attach parts "},
		{"pgbell attach ta", "pgbell attach tasks"}, // or tasks_done
		{"pgbell explain ta", "pgbell explain tasks "},
		{"pgbell attach tasks --sco", "pgbell attach tasks --scope "},
		{"pgbell attach tasks --audience ow", "pgbell attach tasks --audience owner "},
		{"pgbell serve --auth h", "pgbell serve --auth header "},
	} {
		x.out = ""
		x.write(t, test.typed+"\t")
		x.see(t, test.becomes)
		x.write(t, "\x15") // Ctrl-U: away with it
	}
}
