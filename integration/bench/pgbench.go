//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

// pgbenchRows is how many rows the writers choose from at random: so many that they
// seldom wait for each other's row.
const pgbenchRows = 10_000

var pgbenchScript = fmt.Sprintf("\\set id random(1, %d)\n"+
	"update tasks set title = 'task of ' || :client_id, done = not done, updated_at = now() where id = :id;\n", pgbenchRows)

// slowFlush adds 2 ms to each WAL flush: its leader sleeps commit_delay microseconds
// first, however few others run. XLogFlush and MinimumActiveBackends in PostgreSQL's
// src/backend/access/transam/xlog.c and storage/ipc/procarray.c.
const slowFlush = "-c commit_delay=2000 -c commit_siblings=0"

var pgbenchTPS = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)

// pgbench runs so many writers for so many seconds and returns their transactions a
// second. options are for their sessions, as PGOPTIONS has them.
func (w *world) pgbench(ctx context.Context, database string, clients, seconds int, options string) (float64, error) {
	path := filepath.Join(w.server.BinDir(), "pgbench")
	if _, err := os.Stat(path); err != nil {
		return 0, fmt.Errorf("%w: install the package that has it (Debian: postgresql; Fedora: postgresql-contrib)", err)
	}
	script := filepath.Join(w.dir, "update.sql")
	if err := os.WriteFile(script, []byte(pgbenchScript), 0o600); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, path, "--no-vacuum", "--protocol=prepared", "--file="+script, "--time="+strconv.Itoa(seconds),
		"--client="+strconv.Itoa(clients), "--jobs="+strconv.Itoa(min(clients, 2)), w.url(database))
	cmd.Env = append(os.Environ(), "PGOPTIONS="+options)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("pgbench: %w\n%s", err, out)
	}
	m := pgbenchTPS.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("pgbench printed no tps:\n%s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
