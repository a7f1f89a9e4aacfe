package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// terminal is a pgbell that runs on a terminal of its own.
type terminal struct {
	*exec.Cmd
	pty   *os.File
	shown chan string // closed once nobody has it open any more
	out   string      // all that it showed
}

// onTerminal starts pgbell on a terminal. env is added to its environment.
func onTerminal(t *testing.T, db string, env []string, args ...string) *terminal {
	t.Helper()
	return start(t, command(t, append([]string{"DATABASE_URL=" + db, "TERM=xterm"}, env...), args...))
}

// start starts cmd on a terminal.
func start(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	x := &terminal{Cmd: cmd, shown: make(chan string)}
	var err error
	if x.pty, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 200}); err != nil {
		t.Fatal(err)
	}
	// Else Ctrl-C throws away what was shown last, at times what the program says to it.
	quiet := exec.Command("stty", "noflsh")
	quiet.Stdin = x.pty
	if out, err := quiet.CombinedOutput(); err != nil {
		t.Errorf("stty noflsh: %v: %s", err, out)
	}
	go func() { // its file knows no deadline
		defer close(x.shown)
		buf := make([]byte, 4096)
		for {
			n, err := x.pty.Read(buf)
			if err != nil {
				return
			}
			select {
			case x.shown <- string(buf[:n]):
			case <-t.Context().Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		x.Process.Kill()
		x.Wait()
		x.pty.Close()
		if strings.Contains(x.out, password) {
			t.Errorf("the password was shown:\n%s", x.out)
		}
	})
	return x
}

// see waits until the terminal shows text.
func (x *terminal) see(t *testing.T, text string) {
	t.Helper()
	x.read(t, func() bool { return strings.Contains(x.out, text) })
	if !strings.Contains(x.out, text) {
		t.Fatalf("the terminal shows\n%q, want %q", x.out, text)
	}
}

// exit waits for the end and returns the exit code.
func (x *terminal) exit(t *testing.T) int {
	t.Helper()
	x.read(t, func() bool { return false })
	x.Wait()
	return x.ProcessState.ExitCode()
}

func (x *terminal) read(t *testing.T, enough func() bool) {
	t.Helper()
	late := time.After(10 * time.Minute)
	for !enough() {
		select {
		case text, ok := <-x.shown:
			if !ok {
				return
			}
			x.out = strings.NewReplacer("\r\n", "\n", "\a", "").Replace(x.out + text)
		case <-late:
			t.Fatalf("the terminal shows\n%q, and then nothing", x.out)
		}
	}
}

func (x *terminal) write(t *testing.T, keys string) {
	t.Helper()
	if _, err := x.pty.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}
