package pgtemp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// parentEnv makes this test binary start a server in the directory named, say
// which, and wait to be killed.
const parentEnv = "PGTEMP_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		s, err := Start(context.Background(), Config{Dir: dir})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if os.Getenv(parentEnv+"_PAUSE") != "" {
			s.Pause()
		}
		fmt.Println(s.process.pid, s.dir.path)
		select {}
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = openTempDir(t)
	}
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

// openTempDir is t.TempDir, but open to the user that the server runs as and
// short enough for a socket.
func openTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgtemp-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func query(t *testing.T, connString, sql string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, connString)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var value string
	err = conn.QueryRow(ctx, sql).Scan(&value)
	return value, err
}

func mustQuery(t *testing.T, connString, sql string) string {
	t.Helper()
	value, err := query(t, connString, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// eventually waits until ok holds, for at most limit.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// alive reports whether a process runs. One that has ended but that nobody waited for,
// as in a container without an init, has no command line any more.
func alive(pid int) bool {
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return syscall.Kill(pid, 0) == nil && (err != nil || len(command) > 0)
}

func empty(t *testing.T, dir string) bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) == 0
}

func TestServerTakesSettingsAndConnections(t *testing.T) {
	s := start(t, Config{Settings: map[string]string{"wal_level": "logical", "application_name": "it's"}})
	for sql, want := range map[string]string{
		"SHOW wal_level":                       "logical",
		"SHOW application_name":                "it's",
		"SHOW fsync":                           "on",
		"SHOW server_encoding":                 "UTF8",
		"SHOW listen_addresses":                "127.0.0.1",
		"SELECT current_user::text":            "postgres",
		"SELECT inet_server_port()::text":      strconv.Itoa(s.Port()),
		"SELECT host(inet_server_addr())":      "127.0.0.1",
		"SHOW unix_socket_directories":         s.SocketDir(),
		"SELECT lower('ok') || current_schema": "okpublic",
	} {
		if got := mustQuery(t, s.URL(), sql); got != want {
			t.Errorf("%s: got %q, want %q", sql, got, want)
		}
	}
	socket := "host=" + s.SocketDir() + " port=" + strconv.Itoa(s.Port()) + " user=postgres"
	if got := mustQuery(t, socket, "SELECT 'hello'"); got != "hello" {
		t.Errorf("over the socket: got %q", got)
	}
}

func TestPasswordKeepsOthersOut(t *testing.T) {
	s := start(t, Config{Password: "p:s/w d"})
	if got := mustQuery(t, s.URL(), "SELECT 'in'"); got != "in" {
		t.Errorf("got %q", got)
	}
	without, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	without.User = url.UserPassword("postgres", "wrong")
	if _, err := query(t, without.String(), "SELECT 'in'"); err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("wrong password: got error %v", err)
	}
}

func TestServersLiveSideBySide(t *testing.T) {
	dir := openTempDir(t)
	a, b := start(t, Config{Dir: dir}), start(t, Config{Dir: dir})
	if a.Port() == b.Port() || a.dir.path == b.dir.path {
		t.Fatalf("two servers share %d, %s", a.Port(), a.dir.path)
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	mustQuery(t, b.URL(), "SELECT 'still here'")
}

func TestStopLeavesNothing(t *testing.T) {
	dir := openTempDir(t)
	for name, before := range map[string]func(*Server){
		"running": func(*Server) {},
		"paused":  (*Server).Pause,
		"killed":  (*Server).Kill,
		"down":    (*Server).StopFast,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Start(t.Context(), Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			pids := append(children(s.process.pid), s.process.pid)
			if len(pids) < 3 {
				t.Errorf("processes: got %v, want the postmaster and some children", pids)
			}
			segment := strings.Fields(lockFileLines(s.dataDir())[lockLineShmem-1])[1]
			before(s)
			for range 2 { // the second does nothing
				if err := s.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			if !empty(t, dir) {
				t.Errorf("%s is not empty", dir)
			}
			for _, pid := range pids {
				eventually(t, 10*time.Minute, fmt.Sprintf("process %d ends", pid), func() bool { return !alive(pid) })
			}
			if slices.Contains(sharedMemory(t), segment) {
				t.Errorf("it left shared memory segment %s", segment)
			}
			if err := s.Restart(t.Context()); !errors.Is(err, errStopped) {
				t.Errorf("restart after stop: got %v, want %v", err, errStopped)
			}
		})
	}
}

// sharedMemory lists the System V segments of the machine: proc_sysvipc_shm(5).
func sharedMemory(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return nil // another system
	}
	var ids []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 {
			ids = append(ids, fields[1])
		}
	}
	return ids
}

func TestFaults(t *testing.T) {
	s := start(t, Config{})
	mustQuery(t, s.URL(), "WITH made AS (SELECT pg_create_restore_point('x')) SELECT 'ok' FROM made")
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept (id int)"); err != nil {
		t.Fatal(err)
	}
	port := s.Port()

	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if other, err := pgx.Connect(ctx, s.URL()); err == nil {
		other.Close(context.Background())
		t.Error("a paused server let somebody in")
	}
	s.Resume()
	if err := conn.Ping(t.Context()); err != nil {
		t.Errorf("a connection did not outlive a pause: %v", err)
	}

	for name, down := range map[string]func(){
		"StopFast":      s.StopFast,
		"StopImmediate": s.StopImmediate,
		"Kill":          s.Kill,
		"no stop":       func() {},
	} {
		down()
		if name != "no stop" {
			if _, err := query(t, s.URL(), "SELECT 'x'"); err == nil {
				t.Errorf("%s: still answers", name)
			}
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatalf("%s: restart: %v", name, err)
		}
		if s.Port() != port {
			t.Errorf("%s: port: got %d, want %d", name, s.Port(), port)
		}
		mustQuery(t, s.URL(), "SELECT count(*)::text FROM kept")
	}
	if !strings.Contains(s.Log(), "ready to accept connections") {
		t.Errorf("log: got %q", s.Log())
	}
}

func TestServerDiesWithItsParent(t *testing.T) {
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Log("only Linux tells a child that its parent has died")
		return
	}
	for name, pause := range map[string]string{"running": "", "paused": "yes"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dieWithParent(t, pause)
		})
	}
}

func dieWithParent(t *testing.T, pause string) {
	dir := openTempDir(t)
	parent := exec.Command(os.Args[0], "-test.run=^$")
	parent.Env = append(os.Environ(), parentEnv+"="+dir, parentEnv+"_PAUSE="+pause)
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	var path string
	if _, err := fmt.Fscan(bufio.NewReader(out), &pid, &path); err != nil {
		t.Fatal(err)
	}
	pids := append(children(pid), pid)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out) // waits for the end
	_ = parent.Wait()               // "signal: killed"
	for _, pid := range pids {
		eventually(t, 10*time.Minute, fmt.Sprintf("process %d ends", pid), func() bool { return !alive(pid) })
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the files of a killed parent: %v", err)
	}
	s := start(t, Config{Dir: dir})
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next start left %s: %v", path, err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	none := t.TempDir()
	for name, test := range map[string]struct {
		cfg  Config
		want string
	}{
		"no binaries":   {Config{BinDir: none}, "postgres: no such file"},
		"bad setting":   {Config{Settings: map[string]string{"no_such_setting": "1"}}, "no_such_setting"},
		"bad value":     {Config{Settings: map[string]string{"max_connections": "many"}}, "max_connections"},
		"bad directory": {Config{Dir: filepath.Join(none, "gone")}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.cfg.Dir == "" {
				test.cfg.Dir = openTempDir(t)
			}
			s, err := Start(t.Context(), test.cfg)
			if err == nil {
				s.Stop()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got error %q, want one line with %q", err, test.want)
			}
			if !strings.HasSuffix(test.cfg.Dir, "gone") && !empty(t, test.cfg.Dir) {
				t.Error("it left files")
			}
		})
	}
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	dir := openTempDir(t)
	for _, after := range []time.Duration{0, 200 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		s, err := Start(ctx, Config{Dir: dir})
		cancel()
		if err == nil {
			t.Logf("started within %v", after)
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		if !empty(t, dir) {
			t.Errorf("%s is not empty", dir)
		}
	}
}
