package pgtemp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config says how to run a Server. The zero value is ready to use.
type Config struct {
	BinDir   string            // holds postgres and initdb; "" means PGBELL_PG_BIN, else the first of FindBinDirs
	Settings map[string]string // for postgresql.conf, by name; values need no quotes
	Password string            // of user postgres; "" lets in every process of this machine that asks, as a superuser
	Dir      string            // where to make the server's directory; "" means the system's place for such
	Keep     string            // a directory for the files that may stay: see Server.Keep; "" means one that Stop removes
}

// Server is a PostgreSQL of this process's own. Its methods may be called from
// any goroutine, one at a time.
type Server struct {
	cfg     Config
	binDir  string
	account *account
	dir     *tempDir
	log     *os.File
	port    int
	kept    bool // Stop leaves the files

	mu      sync.Mutex
	process *process // the latest, which may have ended
	stopped bool
}

// errEnded means that a server ended while it was starting.
var errEnded = errors.New("the server ended")

// Start runs a new server and returns once it takes connections. Ending ctx
// ends the start, but not a server that is up: call Stop for that.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	binDir, err := chooseBinDir(cfg.BinDir)
	if err != nil {
		return nil, err
	}
	account, err := chooseAccount()
	if err != nil {
		return nil, err
	}
	if err := account.reaches(binDir); err != nil {
		return nil, fmt.Errorf("PostgreSQL binaries: %w", err)
	}
	s := &Server{cfg: cfg, binDir: binDir, account: account}
	if cfg.Keep != "" {
		s.dir, s.port, err = keptDir(cfg.Keep, account)
		s.kept = s.port != 0
	} else {
		s.dir, err = newDir(cfg.Dir, account)
	}
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// newDir makes the directory of a server that is for this process alone.
func newDir(parent string, account *account) (*tempDir, error) {
	if parent == "" {
		if parent = os.TempDir(); account.reaches(parent) != nil {
			parent = "/tmp"
		}
	}
	if err := account.reaches(parent); err != nil {
		return nil, err
	}
	sweep(parent)
	return makeTempDir(parent, account)
}

// start makes the server's files, unless it has them, and runs it.
func (s *Server) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	s.log, err = os.OpenFile(filepath.Join(s.dir.path, "log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if s.kept {
		return s.launch(ctx)
	}
	if err := s.initdb(ctx); err != nil {
		return err
	}
	// Between finding a free port and its use somebody else may take it.
	for range 5 {
		if s.port, err = freePort(); err != nil {
			return err
		}
		err = s.launch(ctx)
		if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "TCP/IP socket") {
			break
		}
	}
	return err
}

// initdb makes the data directory.
func (s *Server) initdb(ctx context.Context) error {
	args := []string{
		"--pgdata", s.dataDir(), "--username", "postgres",
		"--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions",
	}
	if s.cfg.Password == "" {
		args = append(args, "--auth", "trust")
	} else {
		file := filepath.Join(s.dir.path, "password")
		if err := os.WriteFile(file, []byte(s.cfg.Password), 0o600); err != nil {
			return err
		}
		defer os.Remove(file)
		if err := s.account.own(file); err != nil {
			return err
		}
		args = append(args, "--auth", "scram-sha-256", "--pwfile", file)
	}
	p, err := spawn(s.command("initdb", args...))
	if err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.end(syscall.SIGTERM)
		return fmt.Errorf("initdb: %w", context.Cause(ctx))
	}
	conf, err := os.OpenFile(filepath.Join(s.dataDir(), "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("initdb: %s", s.complaint())
	}
	if err != nil {
		return err
	}
	_, err = conf.WriteString(s.settings())
	return errors.Join(err, conf.Close())
}

// settings returns what to add to postgresql.conf: what is set last holds.
func (s *Server) settings() string {
	var conf strings.Builder
	set := func(name, value string) {
		fmt.Fprintf(&conf, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''"))
	}
	// In files, where removing the directory removes it, even after a crash.
	set("dynamic_shared_memory_type", "mmap")
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Settings)) {
		set(name, s.cfg.Settings[name])
	}
	set("listen_addresses", "127.0.0.1")
	set("unix_socket_directories", s.SocketDir())
	return conf.String()
}

// launch runs the server on the files and the port that it has. After a kill, the
// last of the old server's processes may take a moment to let go of its memory.
func (s *Server) launch(ctx context.Context) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := s.launchOnce(ctx)
		if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "is still in use") || time.Now().After(deadline) {
			return err
		}
	}
}

func (s *Server) launchOnce(ctx context.Context) error {
	from, err := s.log.Seek(0, 2)
	if err != nil {
		return err
	}
	p, err := spawn(s.command("postgres", "-D", s.dataDir(), "-p", strconv.Itoa(s.port)))
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.process = p
	if err := p.waitReady(ctx, s.dataDir()); err != nil {
		if p.running() {
			p.end(syscall.SIGQUIT)
		}
		return fmt.Errorf("start postgres: %w: %s", err, s.complaintSince(from))
	}
	return nil
}

// command returns a command that runs as the server's user, heedless of the
// environment that is meant for clients.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.binDir, name), args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "LC_") || strings.HasPrefix(v, "LANG")
	})
	cmd.Dir = s.dir.path // the working directory may be closed to the user
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = procAttr(s.account.credential())
	return cmd
}

func (s *Server) dataDir() string { return filepath.Join(s.dir.path, "data") }
