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

// oneRow is a script of pgbench; it is told how many rows there are.
const oneRow = "\\set id random(1, :rows)\n" +
	"update tasks set title = 'task of ' || :client_id, done = not done, updated_at = now() where id = :id;\n"

// slowFlush adds 2 ms to each WAL flush: its leader sleeps commit_delay microseconds
// first, however few others run. XLogFlush and MinimumActiveBackends in PostgreSQL's
// src/backend/access/transam/xlog.c and storage/ipc/procarray.c.
const slowFlush = "-c commit_delay=2000 -c commit_siblings=0"

var (
	pgbenchTPS      = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)
	pgbenchProgress = regexp.MustCompile(`(?m)^progress: ([0-9.]+) s, ([0-9.]+) tps`)
)

// writing is what pgbench is to do: so many writers, each a script over and over, for so
// many seconds that count, after one or more that don't. options are for their sessions, as
// PGOPTIONS has them.
type writing struct {
	script           string
	clients, seconds int
	options          string
}

// warm returns how many seconds don't count: in them each session makes its first
// transactions, for which Postgres reads its catalog and parses triggers.
func (do writing) warm() int { return 1 + do.clients/20 }

// pgbench returns the transactions a second.
func (w *world) pgbench(ctx context.Context, database string, do writing) (float64, error) {
	path := filepath.Join(w.server.BinDir(), "pgbench")
	if _, err := os.Stat(path); err != nil {
		return 0, fmt.Errorf("%w: install the package that has it (Debian: postgresql; Fedora: postgresql-contrib)", err)
	}
	script := filepath.Join(w.dir, "script.sql")
	if err := os.WriteFile(script, []byte(do.script), 0o600); err != nil {
		return 0, err
	}
	until := "--time=" + strconv.Itoa(do.warm()+do.seconds)
	if w.plan.each > 0 {
		until = "--transactions=" + strconv.Itoa(w.plan.each)
	}
	cmd := exec.CommandContext(ctx, path, "--no-vacuum", "--protocol=prepared", "--progress=1", "--file="+script, until,
		"--define=rows="+strconv.Itoa(w.plan.rows), "--client="+strconv.Itoa(do.clients), "--jobs="+strconv.Itoa(min(do.clients, 2)), w.url(database))
	cmd.Env = append(os.Environ(), "PGOPTIONS="+do.options)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("pgbench: %w\n%s", err, out)
	}
	if w.plan.each == 0 {
		return steadyTPS(out, do.warm())
	}
	m := pgbenchTPS.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("pgbench printed no tps:\n%s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// steadyTPS returns the mean of the transactions a second that pgbench reports as it goes,
// from so many seconds on.
func steadyTPS(out []byte, warm int) (float64, error) {
	var sum, n float64
	for _, m := range pgbenchProgress.FindAllSubmatch(out, -1) {
		at, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil || at < float64(warm)+0.5 {
			continue // the end of a second that doesn't count
		}
		tps, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return 0, err
		}
		sum, n = sum+tps, n+1
	}
	if n == 0 {
		return 0, fmt.Errorf("pgbench reported no second after the first %d:\n%s", warm, out)
	}
	return sum / n, nil
}
