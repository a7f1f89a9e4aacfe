package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestDemo(t *testing.T) {
	d := startDemo(t)
	for name, test := range map[string]func(*testing.T, *demoProcess){
		"tells owners only": demoTellsOwnersOnly,
		"page misses nothing between its rows and its stream": demoPageMissesNothing,
		"role is owner and no more":                           demoRoleIsOwnerAndNoMore,
	} {
		t.Run(name, func(t *testing.T) { test(t, d) })
	}
}

func demoTellsOwnersOnly(t *testing.T, d *demoProcess) {
	at := func(user string) string {
		return d.page + "events?" + url.Values{"user": {user}, "scope": {"tasks", "notes"}}.Encode()
	}
	streams := map[string]*stream{}
	for _, user := range []string{"alice", "bob", "carol", ""} {
		streams[user] = openStream(t, http.DefaultClient, at(user))
	}
	exec1(t, d.db, `insert into tasks (title, owner) values ('hers', 'alice');
		insert into notes (body, owner, shared_with) values ('theirs', 'alice', '{bob,carol}')`)
	exec1(t, d.db, `select pgbell.publish('tasks', '"end"')`)
	for user, want := range map[string][]string{
		"alice": {"tasks hers", "notes theirs", "tasks end"},
		"bob":   {"notes theirs", "tasks end"},
		"carol": {"notes theirs", "tasks end"},
		"":      {"tasks end"},
	} {
		for _, want := range want {
			event, data := streams[user].next()
			scope, text, _ := strings.Cut(want, " ")
			if event != scope || !strings.Contains(data, `"`+text+`"`) {
				t.Errorf("%q got %s %s, want %s", user, event, data, want)
			}
		}
	}
}

func demoPageMissesNothing(t *testing.T, d *demoProcess) {
	_, page := get(t, d.page)
	found := regexp.MustCompile(`data-user="alice" data-cursor="([^"]+)"`).FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("no cursor in the page:\n%s", page)
	}
	exec1(t, d.db, `update tasks set title = 'meanwhile' where title = 'Water the plants'`)
	s := openStream(t, http.DefaultClient, d.page+"events?"+url.Values{"user": {"alice"}, "scope": {"tasks"}, "since": {found[1]}}.Encode())
	if event, data := s.next(); event != "tasks" || !strings.Contains(data, "meanwhile") {
		t.Errorf("got %s %s, want the change from before the stream", event, data)
	}
}

// A visitor may attach a table of his own, and may not leave the demo's database.
func demoRoleIsOwnerAndNoMore(t *testing.T, d *demoProcess) {
	exec1(t, d.db, `create table mine (id int primary key); select pgbell.attach('mine', array['mine'])`)
	db, err := pgx.Connect(t.Context(), d.db)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	if _, err := db.Exec(t.Context(), `copy mine from program 'echo 1'`); err == nil {
		t.Error("the role may run programs")
	}
	if _, err := pgx.Connect(t.Context(), with(t, d.db, func(u *url.URL) { u.User = url.User("postgres") })); err == nil {
		t.Error("anybody may be superuser")
	}
}

func TestDemoLeavesNothing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			if signal.Ignored(sig) {
				t.Skip("these tests run where the signal is ignored, under nohup perhaps: so does what they start")
			}
			if testing.Short() && sig != syscall.SIGTERM {
				t.Skip("not with -short")
			}
			d := startDemo(t)
			openStream(t, http.DefaultClient, d.page+"events?user=alice&scope=tasks") // a client that stays
			exec1(t, d.db, `insert into tasks (title, owner) values ('one more', 'alice')`)
			postmaster := d.postmaster(t)
			if code := d.end(t, sig); code != 0 {
				t.Errorf("exit %d, want 0", code)
			}
			if d.stderr.Len() > 0 {
				t.Errorf("it said %q, want nothing", &d.stderr)
			}
			d.wantGone(t, postmaster)
		})
	}
}

func TestDemoInterruptedWhileItStartsLeavesNothing(t *testing.T) {
	d := launchDemo(t, "--addr", "127.0.0.1:0")
	waitFor(t, "its files", func() bool {
		files, _ := filepath.Glob(filepath.Join(d.tmp, "*", "data"))
		return len(files) > 0
	})
	if code := d.end(t, syscall.SIGINT); code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	if got, want := d.stderr.String(), "pgbell: interrupted\n"; got != want {
		t.Errorf("it said %q, want %q", got, want)
	}
	if left, err := os.ReadDir(d.tmp); err != nil || len(left) > 0 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

func TestDemoKilledTakesItsServerAlong(t *testing.T) {
	d := startDemo(t)
	postmaster := d.postmaster(t)
	d.end(t, syscall.SIGKILL)
	waitFor(t, "the end of the server", func() bool { return !alive(postmaster) })
}

func TestDemoLeavesNoGoroutine(t *testing.T) {
	t.Setenv("TMPDIR", openTempDir(t))
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	code := make(chan int)
	go func() { code <- run(ctx, []string{"pgbell", "demo", "--addr", "127.0.0.1:0"}, in, io.Discard) }()
	if _, err := out.Read(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	cancel()
	out.Close()
	if got := <-code; got != 0 {
		t.Errorf("exit %d, want 0", got)
	}
	http.DefaultClient.CloseIdleConnections() // of other tests
	goleak.VerifyNone(t, before)
}

func TestDemoRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, test := range map[string]struct {
		env  []string
		args []string
		code int
		want []string
	}{
		"taken port":    {nil, []string{"--addr", taken.Addr().String()}, 1, []string{taken.Addr().String(), "--addr"}},
		"open to all":   {nil, []string{"--addr", "0.0.0.0:0"}, 2, []string{"--addr 0.0.0.0:0", "loopback"}},
		"no host":       {nil, []string{"--addr", ":0"}, 2, []string{"--addr :0", "loopback"}},
		"no address":    {nil, []string{"--addr", "here"}, 2, []string{"--addr", "HOST:PORT"}},
		"argument":      {nil, []string{"please"}, 2, []string{"no arguments"}},
		"no PostgreSQL": {[]string{"PGBELL_PG_BIN=/nowhere"}, []string{"--addr", "127.0.0.1:0"}, 1, []string{"PostgreSQL", "/nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			tmp := openTempDir(t)
			r := runEnv(t, append(test.env, "TMPDIR="+tmp), append([]string{"demo"}, test.args...)...)
			wantError(t, r, test.code, test.want...)
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("files left: %v, %v", left, err)
			}
		})
	}
}

// With --keep the database and what people made in it is there again the next time.
func TestDemoKeepsItsDatabase(t *testing.T) {
	dir := filepath.Join(openTempDir(t), "kept")
	d := startDemo(t, "--keep", dir)
	exec1(t, d.db, "create table todos (id int primary key, owner text)")
	exec1(t, d.db, "select pgbell.attach('todos', '{todos}', '{owner}')")
	if code := d.end(t, syscall.SIGINT); code != 0 || d.stderr.Len() > 0 {
		t.Fatalf("exit %d, it said %q: want 0 and nothing", code, &d.stderr)
	}

	again := startDemo(t, "--keep", dir)
	if again.db != d.db {
		t.Errorf("the database is at %s, was at %s", again.db, d.db)
	}
	if url, err := os.ReadFile(filepath.Join(dir, "url")); err != nil || string(url) != d.db+"\n" {
		t.Errorf("the file says %q, %v; want %s", url, err, d.db)
	}
	alice := openStream(t, http.DefaultClient, again.page+"events?user=alice&scope=todos")
	exec1(t, again.db, "insert into todos values (1, 'bob'), (2, 'alice')")
	if _, data := alice.next(); !strings.Contains(data, `"key":{"id":2}`) {
		t.Errorf("alice hears %s, want her own row", data)
	}
	exec1(t, again.db, "create function mine(user_id text) returns setof todos stable begin atomic select * from todos t where t.owner = user_id; end; select pgbell.live('mine')")
	live := openStream(t, http.DefaultClient, again.page+"events?user=alice&live=mine")
	exec1(t, again.db, "delete from todos where owner = 'bob'; update todos set id = 3")
	if _, data := live.next(); data != `{"live":"mine","op":"changed"}` {
		t.Errorf("alice's live query says %s", data)
	}
	for user, want := range map[string]string{"alice": `"rows":[{"id":3,"owner":"alice"}]`, "bob": `"rows":[]`} {
		if code, got := get(t, again.page+"live/mine?user="+user); code != 200 || !strings.Contains(got, want) {
			t.Errorf("%s gets %d %s", user, code, got)
		}
	}
	r := runEnv(t, nil, "demo", "--addr", "127.0.0.1:0", "--keep", dir)
	wantError(t, r, 1, dir, "in use")
}

// Interrupted before it was up, it leaves nothing that the next one would stumble on.
func TestDemoInterruptedKeepsNothing(t *testing.T) {
	dir := filepath.Join(openTempDir(t), "kept")
	d := launchDemo(t, "--addr", "127.0.0.1:0", "--keep", dir)
	waitFor(t, "its files", func() bool {
		_, err := os.Stat(filepath.Join(dir, "data"))
		return err == nil
	})
	if code := d.end(t, syscall.SIGINT); code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s: %v, want it gone", dir, err)
	}
}
