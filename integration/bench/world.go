//go:build linux

package main

import (
	"cmp"
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

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
	for _, name := range three {
		if err := w.exec(ctx, "postgres", "create database "+name+emptied); err != nil {
			return err
		}
	}
	db, err := sql.Open("pgx", w.url(pgbell+emptied))
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

// contender returns whose database this is: it is called as the contender, or that and
// more behind an underscore.
func contender(database string) string {
	name, _, _ := strings.Cut(database, "_")
	return name
}

// url returns the connection string of a contender's database.
func (w *world) url(database string) string {
	return strings.Replace(w.server.URL(), "/postgres?", "/"+database+"?", 1)
}

// exec executes statements over one connection.
func (w *world) exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, w.url(database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}

// noFlush is behind the connection string of who doesn't wait for a flush.
const noFlush = "&synchronous_commit=off"

// shape is what a row of the table below wants the table to be like.
type shape struct {
	rows, projects int
	body           int    // bytes of a column that travels; 0 for none
	owner          string // of row n, in SQL; empty for the user that all streams have
	feed           string // what attach is told; empty for tasksFeed
	more           string // statements of pgbell's, before it is attached
}

// emptied is the end of the name of the database that a contender begins with.
const emptied = "_empty"

// makeTable makes a database of a contender anew, with the table and triggers: what a row
// before left in it, such as an hour's journal, is no burden to the next.
func (w *world) makeTable(ctx context.Context, database string, s shape) error {
	name := contender(database)
	err := w.exec(ctx, "postgres", "drop database if exists "+database+" with (force)", "create database "+database+" template "+name+emptied)
	if err != nil {
		return err
	}
	fill := fmt.Sprintf(`%s
		insert into tasks select n, n %% %d, %s, 'task ' || n, false, now(), nullif(repeat('x', %d), '')
		from generate_series(1, %d) n;`, tableSQL, s.projects, cmp.Or(s.owner, "'"+user+"'"), s.body, s.rows)
	switch name {
	case naive:
		fill += naiveSQL
	case pgbell:
		payload := "null"
		if s.body > 0 {
			payload = "array['body']"
		}
		fill += s.more + "select pgbell.attach('tasks', " + cmp.Or(s.feed, tasksFeed) + ", payload => " + payload + ");"
	}
	if err := w.exec(ctx, database, fill, "vacuum analyze tasks", "checkpoint"); err != nil {
		return fmt.Errorf("make the table of %s: %w", database, err)
	}
	return nil
}

// tasksFeed is what pgbell.attach is told of a table such as tasks.
const tasksFeed = "array['project:{project_id}', 'task:{id}'], audience => array['owner_id']"

// addTable makes a further table in a contender's database, with the contender's triggers.
func (w *world) addTable(ctx context.Context, name, table, create, feed string) error {
	switch name {
	case naive:
		create += "; create trigger tell after insert or update on " + table + " for each row execute function tell()"
	case pgbell:
		create += "; select pgbell.attach('" + table + "', " + feed + ")"
	}
	if err := w.exec(ctx, name, create, "vacuum analyze "+table); err != nil {
		return fmt.Errorf("make %s of %s: %w", table, name, err)
	}
	return nil
}

// makeTables does so for some databases.
func (w *world) makeTables(ctx context.Context, s shape, databases ...string) error {
	for _, database := range databases {
		if err := w.makeTable(ctx, database, s); err != nil {
			return err
		}
	}
	return nil
}
