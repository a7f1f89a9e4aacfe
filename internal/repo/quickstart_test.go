package repo

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbell/pgbell/internal/pgtemp"
)

// patience is after how long a test gives up. It is no measure of speed.
const patience = 10 * time.Minute

// TestQuickStartWorksAsShown goes through the README's "Attach a table" as a reader does: it runs the demo
// in one terminal and types the blocks into another.
func TestQuickStartWorksAsShown(t *testing.T) {
	find := func(text, pattern string) string {
		t.Helper()
		match := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if match == nil {
			t.Fatalf("nothing like %s in\n%s", pattern, text)
		}
		return match[1]
	}
	part := find(readFile(t, "README.md"), `(?s)\n## Attach a table\n(.*?)\n## `)
	const keptIn, address = "/var/tmp/pgbell-demo", "http://127.0.0.1:8080/"
	command := find(part, "```\n(pgbell demo --keep "+keptIn+")\n```")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(part, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks for a shell, want those that attach, subscribe and write", len(blocks))
	}

	tmp, err := os.MkdirTemp("/tmp", "pgbell-repo-") // which the server's user can enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(tmp, "kept")
	here := func(text, page string) string {
		return strings.NewReplacer(keptIn, kept, address, page).Replace(text)
	}
	path := filepath.Dir(build(t)) + ":" + os.Getenv("PATH")
	for _, dir := range pgtemp.FindBinDirs() {
		path += ":" + dir
	}
	t.Setenv("PATH", path)
	t.Setenv("PGBELL_ADDR", "127.0.0.1:0")

	demo := terminal(t, "exec "+here(command, ""), syscall.SIGINT)
	page := find(demo.until(`http://127\.0\.0\.1:\d+/`), `(http://127\.0\.0\.1:\d+/)`)
	demo.until("Ctrl-C")

	shell := terminal(t, "exec bash -e", 0)
	shell.enter(here(blocks[0][1], page) + "echo attached\n")
	shell.until("attached")
	shell.enter(here(blocks[1][1], page))
	shell.until("event: ready\n(.*\n)*\n")
	shell.enter(here(blocks[2][1], page))
	shown := find(part, "(?s)She hears:\n+```\n(.*?\n)```")
	varies := regexp.MustCompile(`(?m)^id: .*$|"at":"[^"]*"`)
	got := varies.ReplaceAllString(find(shell.until("(?s)event: project:7\n.*?\n\n"), "(?s)(event: project:7\n.*?\n)\n"), "...")
	if want := varies.ReplaceAllString(shown, "..."); got != want {
		t.Errorf("got:\n%s\nthe README shows:\n%s", got, want)
	}
	shell.enter("kill %1\n")
}

// tty is a shell that a test types into. Its output and errors are read as one.
type tty struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// terminal runs a command by bash until the test ends. Then its input ends, and it gets a signal.
func terminal(t *testing.T, command string, end syscall.Signal) *tty {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := exec.CommandContext(ctx, "bash", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all that it starts
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		in.Close()
		_ = syscall.Kill(-cmd.Process.Pid, end) // ended already: as good
		rest, _ := io.ReadAll(r)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, rest)
		}
		cancel()
		r.Close()
	})
	return &tty{t, in, bufio.NewReader(r)}
}

func (s *tty) enter(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, text); err != nil {
		s.t.Fatal(err)
	}
}

// until reads until what it has read matches, and returns that.
func (s *tty) until(pattern string) string {
	s.t.Helper()
	var seen bytes.Buffer
	for match := regexp.MustCompile(pattern); !match.Match(seen.Bytes()); {
		line, err := s.out.ReadString('\n')
		seen.WriteString(line)
		if err != nil {
			s.t.Fatalf("%v before %s; it said:\n%s", err, pattern, &seen)
		}
	}
	return seen.String()
}
