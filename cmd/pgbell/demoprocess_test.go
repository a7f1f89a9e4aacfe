package main

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demoProcess is a pgbell demo that is up, or about to be.
type demoProcess struct {
	*exec.Cmd
	tmp    string // where its files go
	stderr bytes.Buffer
	stdout io.ReadCloser

	page, db string // as printed
}

// launchDemo starts pgbell demo and returns before it is up.
func launchDemo(t *testing.T, args ...string) *demoProcess {
	t.Helper()
	d := &demoProcess{tmp: openTempDir(t)}
	// A user's own settings mean other databases.
	env := []string{"TMPDIR=" + d.tmp, "PGSERVICE=nowhere", "PGHOST=db.invalid", "PGOPTIONS=-c role=nobody", "DATABASE_URL=x"}
	d.Cmd = command(t, env, append([]string{"demo"}, args...)...)
	d.Stderr = &d.stderr
	var err error
	if d.stdout, err = d.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.ProcessState == nil {
			d.end(t, syscall.SIGTERM)
		}
		if d.stderr.Len() > 0 {
			t.Logf("pgbell demo said:\n%s", &d.stderr)
		}
	})
	return d
}

// startDemo starts pgbell demo on a free port and waits until it is up.
func startDemo(t *testing.T, args ...string) *demoProcess {
	t.Helper()
	d := launchDemo(t, append([]string{"--addr", "127.0.0.1:0"}, args...)...)
	d.readUntilUp(t)
	return d
}

// readUntilUp reads what pgbell demo prints when it is up.
func (d *demoProcess) readUntilUp(t *testing.T) {
	t.Helper()
	var printed strings.Builder
	late := time.AfterFunc(10*time.Minute, func() { d.Process.Kill() })
	defer late.Stop()
	for b := make([]byte, 4096); !strings.Contains(printed.String(), "Ctrl-C"); {
		n, err := d.stdout.Read(b)
		printed.Write(b[:n])
		if err != nil {
			t.Fatalf("pgbell demo did not come up: %v: it printed %q", err, &printed)
		}
	}
	d.page = regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(printed.String())
	d.db = regexp.MustCompile(`postgres://[^'\s]+`).FindString(printed.String())
	if d.page == "" || d.db == "" || !strings.Contains(printed.String(), "curl -N '"+d.page+"events?") {
		t.Fatalf("pgbell demo printed no page, database or stream: %q", &printed)
	}
}

// end sends a signal and waits for the exit code, -1 for death by a signal.
func (d *demoProcess) end(t *testing.T, sig syscall.Signal) int {
	t.Helper()
	d.Process.Signal(sig) //nolint:errcheck // it has ended: as good
	late := time.AfterFunc(10*time.Minute, func() { d.Process.Kill() })
	d.Wait() //nolint:errcheck // the exit code tells
	if !late.Stop() {
		t.Error("pgbell demo does not end")
	}
	return d.ProcessState.ExitCode()
}

// postmaster returns the process id of the demo's server.
func (d *demoProcess) postmaster(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.tmp, "*", "data", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		t.Fatalf("lock files of servers: %v, %v, want one", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// openTempDir makes a directory that the server's user can get into as well.
func openTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgbell-demo-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantGone checks that a demo that has ended left nothing.
func (d *demoProcess) wantGone(t *testing.T, postmaster int) {
	t.Helper()
	if alive(postmaster) {
		t.Errorf("process %d is still there", postmaster)
	}
	left, err := os.ReadDir(d.tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("files left: %v, %v", left, err)
	}
	u, err := url.Parse(d.page)
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", u.Host); err == nil {
		conn.Close()
		t.Errorf("something still listens on %s", u.Host)
	}
}

// waitFor waits for what nothing announces.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s", what)
		}
	}
}
