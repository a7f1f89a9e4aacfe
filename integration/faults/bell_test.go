package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bell is a `pgbell serve`, always at the same address.
type bell struct {
	t      testing.TB
	binary string
	addr   string
	url    string // of the database
	flags  []string

	log  output
	cmd  *exec.Cmd
	done chan struct{} // closed once the process has ended
}

// newBell returns a pgbell that is not running yet.
func newBell(t testing.TB, databaseURL string, flags ...string) *bell {
	t.Helper()
	// An address of its own, on which nobody takes the port while pgbell is away.
	ln, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.N(254), rand.N(255), 1+rand.N(254)))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	b := &bell{t: t, binary: binary, addr: ln.Addr().String(), url: databaseURL, flags: flags}
	t.Cleanup(func() {
		b.kill()
		if log := b.log.String(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") || t.Failed() {
			t.Logf("log of pgbell at %s:\n%s", b.addr, log)
			if strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
				t.Error("pgbell has a data race or panicked: see its log")
			}
		}
	})
	return b
}

// start runs pgbell. It dies with this process.
func (b *bell) start() {
	cmd := exec.Command(b.binary, append([]string{"serve", "--addr", b.addr, "--auth", "header", "--drain", "1s", "--database-url", b.url}, b.flags...)...)
	cmd.Stdout, cmd.Stderr = &b.log, &b.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan struct{})
	go func() {
		// Pdeathsig is sent at the end of the thread that forked: prctl(2).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its state says all
		}
		close(done)
	}()
	if err := <-started; err != nil {
		b.t.Errorf("start pgbell: %v", err)
		return
	}
	b.cmd, b.done = cmd, done
}

// kill ends pgbell as a crash would.
func (b *bell) kill() { b.end(syscall.SIGKILL) }

// terminate asks pgbell to end and returns its exit code.
func (b *bell) terminate() int { return b.end(syscall.SIGTERM) }

func (b *bell) end(sig syscall.Signal) int {
	if b.cmd == nil {
		return 0
	}
	_ = b.cmd.Process.Signal(sig) // it may have ended
	<-b.done
	return b.cmd.ProcessState.ExitCode()
}

// unready is what /readyz answers when it doesn't answer that all is well.
type unready string

func (u unready) Error() string { return string(u) }

// ready returns what /readyz answers: nil, or its words. Another error is no answer.
func (b *bell) ready(ctx context.Context) error {
	body, status, err := b.get(ctx, "/readyz")
	if err == nil && status != http.StatusOK {
		err = unready(fmt.Sprintf("%d: %s", status, strings.TrimSpace(body)))
	}
	return err
}

func (b *bell) get(ctx context.Context, path string) (body string, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.addr+path, nil)
	if err != nil {
		return "", 0, err
	}
	req.Close = true
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), answer.StatusCode, err
}

// awaitAlive waits until pgbell answers at all.
func (b *bell) awaitAlive(ctx context.Context) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); ; pause(ctx, 20*time.Millisecond) {
		_, status, err := b.get(ctx, "/healthz")
		if status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			b.t.Errorf("pgbell does not answer: status %d, %v", status, err)
			return
		}
	}
}

// awaitReady waits until /readyz is as wanted, and returns after how long and its
// last words.
func (b *bell) awaitReady(ctx context.Context, wanted bool, limit time.Duration) (took time.Duration, last error) {
	b.t.Helper()
	began := time.Now()
	for {
		last = b.ready(ctx)
		var unready unready
		if took = time.Since(began); last == nil && wanted || errors.As(last, &unready) && !wanted {
			return took, last
		}
		if took > limit || ctx.Err() != nil {
			b.t.Errorf("pgbell ready=%v: not within %v; /readyz: %v", wanted, limit, last)
			return took, last
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// output is what a process wrote.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() > 1<<20 { // the newest is what matters
		keep := bytes.Clone(o.text.Bytes()[1<<19:])
		o.text.Reset()
		o.text.Write(keep)
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
