package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/internal/pgtemp"
	"github.com/pgbell/pgbell/internal/pgtest"
)

// The tests run the real binary against a real server, which asks for passwords.
var (
	binary   string
	postgres *pgtemp.Server
)

const password = "s3cret sesame"

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pgbell-cli-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "pgbell")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	postgres, err = pgtemp.Start(context.Background(), pgtemp.Config{
		Password: password,
		Settings: map[string]string{"fsync": "off", "full_page_writes": "off"}, // a test's data need not outlive the machine
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer postgres.Stop()
	return m.Run()
}

var databases atomic.Int64

// database makes an empty database and returns its URL.
func database(t *testing.T) string {
	t.Helper()
	return copied(t, "template1")
}

// original is the database that migrated copies, once there is one.
var original string

// migrated makes a database with pgbell installed.
func migrated(t *testing.T) string {
	t.Helper()
	if original == "" {
		db := database(t)
		mustRun(t, db, "migrate")
		conf, err := pgx.ParseConfig(db)
		if err != nil {
			t.Fatal(err)
		}
		original = conf.Database
	}
	return copied(t, original)
}

func copied(t *testing.T, template string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), postgres.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	name := fmt.Sprintf("cli%d", databases.Add(1))
	if err := pgtest.CopyDatabase(t.Context(), conn, name, template); err != nil {
		t.Fatal(err)
	}
	return with(t, postgres.URL(), func(u *url.URL) { u.Path = "/" + name })
}

// with returns a changed connection string.
func with(t *testing.T, conn string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(conn)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// as returns the connection string for another role.
func as(t *testing.T, conn, role, password string) string {
	t.Helper()
	return with(t, conn, func(u *url.URL) { u.User = url.UserPassword(role, password) })
}

// exec1 runs SQL as the superuser.
func exec1(t *testing.T, conn, sql string) {
	t.Helper()
	db, err := pgx.Connect(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	if _, err := db.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

type result struct {
	code           int
	stdout, stderr string
}

// command prepares the binary with nothing in its environment but env.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	return cmd
}

func runEnv(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := command(t, env, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if testing.Verbose() && errs.Len() > 0 {
		t.Logf("pgbell %q: %s", args, errs.String())
	}
	r := result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	if strings.Contains(r.stdout+r.stderr, password) {
		t.Errorf("pgbell %q printed the password: %+v", args, r)
	}
	return r
}

// runOn runs pgbell on a database.
func runOn(t *testing.T, db string, args ...string) result {
	t.Helper()
	return runEnv(t, []string{"DATABASE_URL=" + db}, args...)
}

// mustRun is runOn for what has to succeed, and returns standard output.
func mustRun(t *testing.T, db string, args ...string) string {
	t.Helper()
	r := runOn(t, db, args...)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("pgbell %q: exit %d, want 0 and nothing on standard error:\n%s", args, r.code, r.stderr)
	}
	return r.stdout
}

// wantError checks for an exit code and one line that has all the parts.
func wantError(t *testing.T, r result, code int, parts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit %d, want %d", r.code, code)
	}
	var record struct{ Level, Msg, Error string } // of a server, whose log is JSON
	if err := json.Unmarshal([]byte(r.stderr), &record); err == nil && record.Level == "ERROR" && record.Msg == "pgbell ended" {
		r.stderr = "pgbell: " + record.Error + "\n"
	}
	if strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "pgbell: ") {
		t.Errorf("standard error is not one line of pgbell's: %q", r.stderr)
	}
	for _, part := range parts {
		if !strings.Contains(r.stderr, part) {
			t.Errorf("the error does not say %q: %q", part, r.stderr)
		}
	}
	if r.stdout != "" {
		t.Errorf("standard output is %q, want nothing", r.stdout)
	}
}
