package pgtemp

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one postmaster.
type process struct {
	pid  int
	done chan struct{} // closed once it has ended
}

// spawn starts cmd as a child that dies with this process.
func spawn(cmd *exec.Cmd) (*process, error) {
	started := make(chan error, 1)
	p := &process{done: make(chan struct{})}
	go func() {
		// Pdeathsig is sent when the thread that forked ends, not the process:
		// PR_SET_PDEATHSIG in prctl(2). So this thread stays for as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(p.done)
		}
	}()
	return p, <-started
}

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// waitReady waits until the server in dataDir says that it takes connections.
func (p *process) waitReady(ctx context.Context, dataDir string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		lines := lockFileLines(dataDir)
		if len(lines) >= lockLineStatus && lines[0] == strconv.Itoa(p.pid) &&
			strings.TrimSpace(lines[lockLineStatus-1]) == "ready" {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("wait for the server: %w", context.Cause(ctx))
		}
	}
}

// end sends sig and waits for the end, with harder signals if it takes long.
func (p *process) end(sig syscall.Signal) {
	for _, sig := range []syscall.Signal{sig, syscall.SIGQUIT} {
		_ = syscall.Kill(p.pid, sig) // no such process: it has ended
		select {
		case <-p.done:
			return
		case <-time.After(10 * time.Second):
		}
	}
	p.kill()
}

// kill ends the postmaster and its children with SIGKILL.
func (p *process) kill() {
	_ = syscall.Kill(p.pid, syscall.SIGSTOP) // or it would replace the children
	for _, child := range children(p.pid) {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	<-p.done
}

// Lines of postmaster.pid, counted from 1: src/include/utils/pidfile.h.
const (
	lockLineShmem  = 7
	lockLineStatus = 8
)

// lockFileLines returns the lines of the lock file of the server in dataDir,
// nil if there is none.
func lockFileLines(dataDir string) []string {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return nil
	}
	return strings.Split(string(text), "\n")
}
