//go:build linux

package main

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sys/unix"

	"github.com/pgbell/pgbell/internal/pgtemp"
	"github.com/pgbell/pgbell/migrations"
)

// user owns all rows and reads all streams, so that pgbell's audience filter has work.
const user = "ann"

var (
	//go:embed table.sql
	tableSQL string
	//go:embed naive.sql
	naiveSQL string
)

// world is what is measured: a PostgreSQL, and the binaries of the servers.
type world struct {
	plan   plan
	server *pgtemp.Server
	dir    string // holds the binary of pgbell
	log    func(format string, args ...any)
}

// newWorld builds pgbell and starts PostgreSQL. Close removes all that it made.
func newWorld(ctx context.Context, p plan, log func(string, ...any)) (*world, error) {
	w := &world{plan: p, log: log}
	if err := w.open(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) open(ctx context.Context) error {
	var err error
	if w.dir, err = os.MkdirTemp("", "pgbell-bench-"); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", w.binary(), "github.com/pgbell/pgbell/cmd/pgbell")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	onDisk, err := diskDir()
	if err != nil {
		return err
	}
	settings := map[string]string{
		"max_connections": "200",
		// What would otherwise fall upon one contender's round and not another's.
		"autovacuum": "off", "max_wal_size": "16GB", "checkpoint_timeout": "1h",
	}
	if w.plan.noSync {
		settings["fsync"] = "off"
	}
	w.server, err = pgtemp.Start(ctx, pgtemp.Config{Dir: onDisk, Settings: settings})
	if err != nil {
		return err
	}
	for _, name := range []string{bare, naive, pgbell} {
		if err := w.exec(ctx, "postgres", "create database "+name); err != nil {
			return err
		}
	}
	db, err := sql.Open("pgx", w.url(pgbell))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = migrations.Up(ctx, db)
	return err
}

func (w *world) close() error {
	var err error
	if w.server != nil {
		err = w.server.Stop()
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

func (w *world) binary() string { return filepath.Join(w.dir, "pgbell") }

// diskDir returns a directory for the database that is not in memory, where a flush
// would cost nothing; "" for the usual place.
func diskDir() (string, error) {
	const other = "/var/tmp"
	for _, dir := range []string{os.TempDir(), other} {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
			continue
		}
		if dir == other {
			return dir, nil
		}
		return "", nil
	}
	return "", errors.New("the directories for temporary files are in memory: set TMPDIR to one on a disk")
}

// url returns the connection string of a contender's database.
func (w *world) url(database string) string {
	return strings.Replace(w.server.URL(), "/postgres?", "/"+database+"?", 1)
}

func (w *world) exec(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, w.url(database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// shape is what a row of the table below wants the table to be like.
type shape struct {
	rows, projects int
	body           int // bytes of a column that travels; 0 for none
}

// makeTable makes a contender's table anew, with triggers.
func (w *world) makeTable(ctx context.Context, name string, s shape) error {
	fill := fmt.Sprintf(`
		drop table if exists tasks; drop function if exists tell(); %s
		insert into tasks select n, n %% %d, '%s', 'task ' || n, false, now(), nullif(repeat('x', %d), '')
		from generate_series(1, %d) n;`, tableSQL, s.projects, user, s.body, s.rows)
	switch name {
	case naive:
		fill += naiveSQL
	case pgbell:
		payload := "null"
		if s.body > 0 {
			payload = "array['body']"
		}
		fill += "select pgbell.attach('tasks', array['project:{project_id}', 'task:{id}'], audience => array['owner_id'], payload => " + payload + ");"
	}
	if err := w.exec(ctx, name, fill); err != nil {
		return fmt.Errorf("make the table of %s: %w", name, err)
	}
	if err := w.exec(ctx, name, "vacuum analyze tasks"); err != nil {
		return err
	}
	return w.exec(ctx, name, "checkpoint")
}

// makeTables does so for some contenders.
func (w *world) makeTables(ctx context.Context, s shape, names ...string) error {
	for _, name := range names {
		if err := w.makeTable(ctx, name, s); err != nil {
			return err
		}
	}
	return nil
}

// serve starts the server of a contender and returns once it listens to the database.
// Bare has none: then it is nil.
func (w *world) serve(ctx context.Context, name string) (*process, error) {
	switch name {
	case bare:
		return nil, nil
	case pgbell:
		p, err := start(ctx, w.url(name), w.binary(), "serve", "--addr", "127.0.0.1:0", "--auth", "header", "--drain", "0s")
		if err != nil {
			return nil, err
		}
		if err := p.waitReady(ctx); err != nil {
			p.stop()
			return nil, err
		}
		return p, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, w.url(naive), self, serveArg, name)
}

// serveAll starts the servers of the contenders that have one. The returned function
// stops them.
func (w *world) serveAll(ctx context.Context) (stop func(), err error) {
	var all []*process
	stop = func() {
		for _, p := range all {
			p.stop()
		}
	}
	for _, name := range []string{naive, pgbell} {
		p, err := w.serve(ctx, name)
		if err != nil {
			stop()
			return nil, err
		}
		all = append(all, p)
	}
	return stop, nil
}

// waitReady waits until pgbell says that it has caught up.
func (p *process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.done:
			return fmt.Errorf("pgbell ended: %s", p.lastLine())
		case <-ctx.Done():
			return fmt.Errorf("wait for pgbell: %w: %s", context.Cause(ctx), p.lastLine())
		}
	}
}

// request returns what a client sends to a contender's server to hear of a scope.
func request(name, scope string) string {
	path := "/events?scope=" + scope
	if name == naive {
		path = "/events?stream=" + scope
	}
	return "GET " + path + " HTTP/1.1\r\nHost: bench\r\nX-Forwarded-User: " + user + "\r\n\r\n"
}
