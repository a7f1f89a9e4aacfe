//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a server that was started for a measurement.
type process struct {
	pid  int
	addr string // host and port it serves on
	last atomic.Pointer[string]
	done chan struct{} // closed once it has ended
}

// serverURL is how each server says on its output where it serves.
var serverURL = regexp.MustCompile(`http://(127\.0\.0\.1:\d+)`)

// start runs a server, a child that dies with this process, and returns once it has
// said where it serves.
func start(ctx context.Context, databaseURL, name string, args ...string) (*process, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+databaseURL)
	// In a group of its own, out of reach of a terminal's Ctrl-C: it is ended in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = in, in
	p := &process{done: make(chan struct{})}
	started, addr := make(chan error, 1), make(chan string, 1)
	go func() {
		// Pdeathsig is sent when the thread that forked ends: PR_SET_PDEATHSIG in prctl(2).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		in.Close()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended is in its last line
		close(p.done)
	}()
	go func() {
		defer out.Close()
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line := lines.Text()
			p.last.Store(&line)
			if m := serverURL.FindStringSubmatch(line); m != nil {
				select {
				case addr <- m[1]:
				default: // said again
				}
			}
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = cmd.Process.Pid
	select {
	case p.addr = <-addr:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("%s %s ended: %s", name, strings.Join(args, " "), p.lastLine())
	case <-ctx.Done():
		p.stop()
		return nil, context.Cause(ctx)
	}
}

func (p *process) lastLine() string {
	if line := p.last.Load(); line != nil {
		return *line
	}
	return "it said nothing"
}

// stop ends the process and waits for it. It may be nil, or have ended.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = syscall.Kill(p.pid, syscall.SIGTERM) // no such process: it has ended
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.done
	}
}

// cpu returns the processor time that the process has used.
func (p *process) cpu() (time.Duration, error) { return cpuOf(p.pid) }

// cpuOf does so for any process.
func cpuOf(pid int) (time.Duration, error) {
	// The clock of another process: clock_getcpuclockid(3), and CPUCLOCK_SCHED in Linux'
	// include/linux/posix-timers.h.
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

var residentLine = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

// resident returns the KiB of memory that the process has.
func (p *process) resident() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0, err
	}
	m := residentLine.FindSubmatch(status)
	if m == nil {
		return 0, fmt.Errorf("/proc/%d/status: no VmRSS", p.pid)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
