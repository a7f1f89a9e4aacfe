//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// statement is what one writer does over and over, in the rows of the table that say what
// the trigger adds to it.
type statement struct {
	key, name string
	table     string
	sql       string  // $1 is the id of a row behind which there are 100
	of        string  // the key of the statement whose time above bare this one's is compared to; bare: whole times are
	target    *target // of that ratio
}

const setting = "title = 'task of ' || $1::bigint, done = not done, updated_at = now()"

var ofSomeRows = []statement{
	{"rows-1", "UPDATE of one row", "tasks", "update tasks set " + setting + " where id = $1", "", nil},
	{"rows-2", "UPDATE of two rows", "tasks", "update tasks set " + setting + " where id between $1 and $1 + 1", "rows-1", atMost(1.5)},
	{"rows-10", "UPDATE of ten rows", "tasks", "update tasks set " + setting + " where id between $1 and $1 + 9", "rows-1", atMost(2)},
	{"rows-100", "UPDATE of 100 rows", "tasks", "update tasks set " + setting + " where id between $1 and $1 + 99", "rows-1", atMost(4)},
	{"moves", "UPDATE that moves one row to another scope", "tasks", "update tasks set project_id = project_id + 1, " + setting + " where id = $1", "rows-1", atMost(1.1)},
	{"altered", "UPDATE of one row after ADD COLUMN", "altered", "update altered set " + setting + " where id = $1", "rows-1", atMost(1.05)},
	{"partitioned-1", "UPDATE of one row of a partitioned table", "parts", "update parts set " + setting + " where id = $1", "rows-1", atMost(1.3)},
	{"large", "UPDATE of one row with 20 MB of text that stays", "large", "update large set " + setting + " where id = 1", bare, atMost(1.5)},
}

var ofAllRows = []statement{
	{"rows-all", "UPDATE of all rows", "tasks", "update tasks set " + setting, "", nil},
	{"partitioned-all", "UPDATE of all rows of a partitioned table", "parts", "update parts set " + setting, "rows-all", atMost(1.3)},
}

// besideTasks makes the tables of statements that are not tasks, filled from it.
var besideTasks = map[string]string{
	"altered": "create table altered (like tasks including all); insert into altered select * from tasks",
	"parts": `create table parts (like tasks including all) partition by hash (id);
		create table parts_0 partition of parts for values with (modulus 4, remainder 0);
		create table parts_1 partition of parts for values with (modulus 4, remainder 1);
		create table parts_2 partition of parts for values with (modulus 4, remainder 2);
		create table parts_3 partition of parts for values with (modulus 4, remainder 3);
		insert into parts select * from tasks`,
	"large": `create table large (like tasks including all);
		insert into large select id, project_id, owner_id, title, done, updated_at, repeat('20 bytes at a time. ', 1000000) from tasks where id = 1`,
}

// writes says whether the contender can write to the table: the naive trigger makes a
// write fail whose row is longer than a notification may be.
func writes(name, table string) bool { return name != naive || table != "large" }

// statements measures what a trigger adds to statements of several kinds, from one writer
// that waits for no flush, while no server runs. Statements and contenders take turns, in
// slices of time: what a trigger adds to one is found in each round by itself, so that a
// machine that is slow for a while is so for both sides of the difference.
func (w *world) statements(ctx context.Context, r *report) error {
	if err := w.makeStatements(ctx); err != nil {
		return err
	}
	times := map[string]map[string][]float64{} // in µs, by key and contender, one for each round
	for _, s := range slices.Concat(ofSomeRows, ofAllRows) {
		times[s.key] = map[string][]float64{}
	}
	conns := map[string]*pgx.Conn{}
	for _, name := range three {
		conn, err := pgx.Connect(ctx, w.url(name)+noFlush)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		conns[name] = conn
	}
	for round := range 1 + w.plan.slices { // the first doesn't count: a session's first writes take longer
		for _, name := range three { // each round finds the same
			if _, err := conns[name].Exec(ctx, "vacuum tasks, altered, parts"); err != nil {
				return err
			}
		}
		for _, s := range slices.Concat(from(ofSomeRows, round), from(ofAllRows, round)) {
			for _, name := range from(three, round) {
				if !writes(name, s.table) {
					continue
				}
				took, err := w.timeStatement(ctx, conns[name], s.sql)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", s.key, name, err)
				}
				if round > 0 {
					times[s.key][name] = append(times[s.key][name], took)
				}
			}
		}
	}
	names, above := map[string]string{}, map[string]*float64{} // pgbell's time above bare, by key
	for _, s := range slices.Concat(ofSomeRows, ofAllRows) {
		s.name = strings.Replace(s.name, "all", count(w.plan.rows), 1)
		of := times[s.key]
		row := figure{Key: s.key, Name: s.name, Unit: "µs"}
		w.log("%s: bare %.0f, naive %.0f, pgbell %.0f µs", s.name, median(of[bare]), median(of[naive]), median(of[pgbell]))
		if s.of == bare {
			row.Bare, row.Pgbell, row.Note = new(median(of[bare])), new(median(of[pgbell])), "naive: the write fails"
			r.Rows = append(r.Rows, row.judge(bare, s.target))
			continue
		}
		row.aboveBare(of)
		names[s.key], above[s.key] = s.name, row.Pgbell
		if s.of == "" {
			r.Rows = append(r.Rows, row.judge(naive, s.target))
		} else {
			r.Rows = append(r.Rows, row.against(strings.TrimPrefix(names[s.of], "UPDATE of "), above[s.of], s.target))
		}
	}
	return w.firstWrites(ctx, r)
}

// timeStatement executes a statement over and over for a slice of time, and returns the µs
// of a processor that Postgres took for each: what else runs on the machine makes it wait,
// but hardly makes it take more.
func (w *world) timeStatement(ctx context.Context, conn *pgx.Conn, sql string) (float64, error) {
	backend := int(conn.PgConn().PID())
	before, err := cpuOf(backend)
	if err != nil {
		return 0, err
	}
	var args []any
	n := 0
	for began := time.Now(); n == 0 || time.Since(began) < w.plan.slice; n++ {
		if strings.Contains(sql, "$1") {
			args = []any{1 + rand.IntN(w.plan.rows-100)}
		}
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			return 0, err
		}
	}
	after, err := cpuOf(backend)
	return float64(after-before) / 1e3 / float64(n), err
}

func (w *world) makeStatements(ctx context.Context) error {
	if err := w.makeTables(ctx, shape{rows: w.plan.rows, projects: 1000}, three...); err != nil {
		return err
	}
	for _, name := range three {
		for table, create := range besideTasks {
			if !writes(name, table) {
				continue
			}
			if err := w.addTable(ctx, name, table, create, tasksFeed); err != nil {
				return err
			}
		}
		if err := w.exec(ctx, name, "alter table altered add column added integer"); err != nil {
			return err
		}
	}
	return nil
}

// firstWrites measures the first statement of a session, for which Postgres reads the
// catalog and parses the trigger.
func (w *world) firstWrites(ctx context.Context, r *report) error {
	times := map[string][]float64{}
	err := turns(three, w.plan.sessions, func(name string) error {
		took, err := w.firstWrite(ctx, name)
		times[name] = append(times[name], float64(took)/1e3)
		return err
	})
	if err != nil {
		return err
	}
	row := figure{Key: "first-write", Name: "the first UPDATE of a session", Unit: "µs"}
	row.aboveBare(times)
	w.log("the first UPDATE of a session: bare %.0f µs, naive %.0f, pgbell %.0f above it", *row.Bare, *row.Naive, *row.Pgbell)
	r.Rows = append(r.Rows, row.judge(naive, atMost(1.2)))
	return nil
}

// firstWrite returns how long the update takes that a session begins with.
func (w *world) firstWrite(ctx context.Context, name string) (time.Duration, error) {
	conn, err := pgx.Connect(ctx, w.url(name)+noFlush)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	began := time.Now()
	_, err = conn.Exec(ctx, "update tasks set done = not done, updated_at = now() where id = 1")
	return time.Since(began), err
}
