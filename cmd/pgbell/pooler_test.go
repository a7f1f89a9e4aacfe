package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// bouncer starts PgBouncer in front of db, with so many lines more in its configuration,
// and returns the connection string through it.
func bouncer(t *testing.T, db string, more ...string) string {
	t.Helper()
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no pgbouncer")
		}
		t.Skip("no pgbouncer")
	}
	conf, err := pgx.ParseConfig(db)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	dir, err := os.MkdirTemp("", "pgbouncer") // not t.TempDir: another user reads it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ini := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=%s port=%d user=%s password='%s'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
ignore_startup_parameters = extra_float_digits
%s
`, conf.Host, conf.Port, conf.User, strings.ReplaceAll(conf.Password, "'", "''"), port, strings.Join(more, "\n"))
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{ini}
	if os.Getuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		args = append([]string{"-u", nobody.Username}, args...)
	}
	cmd := exec.Command(bin, args...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	through := (&url.URL{Scheme: "postgres", User: url.User(conf.User), Host: fmt.Sprintf("127.0.0.1:%d", port), Path: conf.Database, RawQuery: "sslmode=disable"}).String()
	for { // until it answers
		conn, err := pgx.Connect(t.Context(), through)
		if err == nil {
			conn.Close(context.Background())
			return through
		}
		if t.Context().Err() != nil || cmd.ProcessState != nil {
			t.Fatal(err)
		}
	}
}

// What one command leaves behind in a session the next must not trip over. Up to
// PgBouncer 1.20, and with max_prepared_statements = 0 later, prepared statements stay.
func TestCommandsWorkThroughATransactionPooler(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key, owner text); insert into tasks values (1, 'ann')`)
	pooled := bouncer(t, db, "pool_mode = transaction", "default_pool_size = 1")
	for round := range 2 {
		mustRun(t, pooled, "attach", "tasks", "--scope", "task:{id}", "--audience", "owner")
		mustRun(t, pooled, "attach", "tasks", "--scope", "task:{id}", "--print")
		if r := runOn(t, pooled, "attach", "tasks"); r.code != 2 || !strings.Contains(r.stdout, "select pgbell.attach(") {
			t.Errorf("the proposal, round %d: exit %d\n%s%s", round, r.code, r.stdout, r.stderr)
		}
		if out := mustRun(t, pooled, "feeds"); !strings.Contains(out, "public.tasks") || !strings.Contains(out, "ok") {
			t.Errorf("feeds, round %d:\n%s", round, out)
		}
		mustRun(t, pooled, "explain", "tasks", "1")
		mustRun(t, pooled, "migrate", "status")
		mustRun(t, pooled, "migrate")
	}
	for range 2 {
		mustRun(t, pooled, "detach", "tasks")
		mustRun(t, pooled, "attach", "tasks", "--scope", "tasks")
	}
	for range 2 {
		mustRun(t, pooled, "migrate", "down", "--yes")
		mustRun(t, pooled, "migrate")
	}
}

func TestDoctorNamesATransactionPooler(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key)`)
	mustRun(t, db, "attach", "tasks", "--scope", "tasks")
	pooled := bouncer(t, db, "pool_mode = transaction")
	for range 2 {
		r := runOn(t, pooled, "doctor")
		if r.code != 1 || !strings.Contains(r.stdout, "hands each transaction to another session") || !strings.Contains(r.stdout, "public.tasks") ||
			strings.Contains(r.stdout, "can't be looked at") {
			t.Errorf("doctor: exit %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
	session := bouncer(t, db, "pool_mode = session")
	for range 2 {
		mustRun(t, session, "doctor")
	}
}
