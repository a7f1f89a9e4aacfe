package integration

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	bulk    = `create table %s (id int primary key, p int, owner text, title text, n int);`
	bulkRow = `i, i %% 100, 'user ' || i %% 1000, 'title ' || i, 0 from generate_series(%d, %d) i`
)

// timed runs a statement and returns how long it took.
func (d *triggerDB) timed(statement string) time.Duration {
	d.Helper()
	start := time.Now()
	d.exec(statement)
	return time.Since(start)
}

// One number, parts of 500, and a time that grows with the rows alone.
func TestTriggerBulkWritesComeInPartsOfOneNumber(t *testing.T) {
	rows := 100_000
	if testing.Short() {
		rows = 4000
	}
	d := newTriggerDB(t)
	d.exec(fmt.Sprintf(bulk, "bare")+fmt.Sprintf(bulk, "t"),
		`select pgbell.attach('t', array['t', 'p:{p}', 't:{id}'], audience => array['owner'], payload => array['title'])`)
	for _, statement := range []string{
		`insert into %s select ` + fmt.Sprintf(bulkRow, 1, rows),
		`update %s set n = n + 1`,
		`update %s set p = p + 1, owner = 'x'`,
		`delete from %s`,
	} {
		name, _, _ := strings.Cut(statement, "%s")
		bare := d.timed(strings.Replace(statement, "%s", "bare", 1))
		since := d.since()
		attached := d.timed(strings.Replace(statement, "%s", "t", 1))
		t.Logf("%-12s %7.0f ms bare, %7.0f ms attached: %.1f times", name, bare.Seconds()*1000, attached.Seconds()*1000, float64(attached)/float64(bare))
		seqs, changes := map[uint64]bool{}, 0
		for i, r := range d.records(since) {
			seqs[r.LSN] = true
			changes += len(r.Changes)
			if r.Part != i || len(r.Changes) != 500 {
				t.Fatalf("%s: part %d has %d changes, as the %d. record", name, r.Part, len(r.Changes), i)
			}
		}
		if len(seqs) != 1 || changes != rows {
			t.Errorf("%s: %d changes under %d numbers", name, changes, len(seqs))
		}
	}
}

// A plan made for one row is used for many, and the other way round.
func TestTriggerPlansSuitFewRowsAndMany(t *testing.T) {
	d := newTriggerDB(t)
	const rows = 20_000
	d.exec(fmt.Sprintf(bulk, "t"), `select pgbell.attach('t', array['p:{p}'], columns => array['n'])`,
		`insert into t select `+fmt.Sprintf(bulkRow, 1, rows), `analyze t`)
	_, cpu := d.metered()
	perRow := cpu(`update t set n = n + 1`) / rows
	for name, first := range map[string]string{
		"one row first":  `update t set n = 0 where id = 1`,
		"many first":     `update t set n = 0`,
		"ten times one":  strings.Repeat(`update t set n = n + 1 where id = 1;`, 10),
		"no hash joins":  `set enable_hashjoin = off; update t set n = 0 where id = 1`,
		"no merge joins": `set enable_mergejoin = off; update t set n = 0 where id = 1`,
	} {
		conn, cpu := d.metered()
		d.execOn(conn, first)
		// A loop within a loop would take some hundred times as long.
		if many, most := cpu(`update t set n = n + 2`)/rows, 20*perRow+50*time.Microsecond; many > most {
			t.Errorf("%s: %v a row, %v when fresh", name, many, perRow)
		}
		if one, most := cpu(`update t set n = n + 3 where id = 1`), rows*perRow/2+50*time.Millisecond; one > most {
			t.Errorf("%s: %v for one row", name, one)
		}
	}
}

// metered opens a session, and returns what tells how long a processor was at a statement
// in it: which other things that the machine does hardly change.
func (d *triggerDB) metered() (*pgx.Conn, func(statement string) time.Duration) {
	d.Helper()
	config, err := pgx.ParseConfig(d.url)
	if err != nil {
		d.Fatal(err)
	}
	var usage string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { usage += n.Detail }
	conn := d.connectWith(config)
	d.execOn(conn, `set client_min_messages = log`)
	return conn, func(statement string) (total time.Duration) {
		d.Helper()
		d.execOn(conn, `set log_statement_stats = on`)
		usage = ""
		d.execOn(conn, statement, `set log_statement_stats = off`)
		found := regexp.MustCompile(`([0-9.]+) s user, ([0-9.]+) s system, [0-9.]+ s elapsed`).FindAllStringSubmatch(usage, -1)
		if len(found) == 0 {
			d.Fatalf("%s: no statistics in %q", statement, usage)
		}
		for _, text := range found[0][1:] {
			took, err := time.ParseDuration(text + "s")
			if err != nil {
				d.Fatal(err)
			}
			total += took
		}
		return total
	}
}

// A large row travels by reference: an update of its other columns neither
// copies nor keeps it.
func TestTriggerLargeValuesAreLeftWhereTheyAre(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, p text, doc text, n int);
		alter table t alter doc set storage external;
		select pgbell.attach('t', array['p:{p}', 'd:{doc}'], payload => array['doc', 'n'])`)
	rows := 20
	if testing.Short() {
		rows = 5
	}
	d.expect(fmt.Sprintf(`insert into t select i, 'x', repeat('a', 10000000), 0 from generate_series(1, %d) i`, rows),
		repeated(rows, `insert p:x public.t {"id":%d} data {"n":0}`)...)
	before := d.tempBytes()
	d.expect(`set work_mem = '64kB'; update t set n = 1`,
		repeated(rows, `update p:x public.t {"id":%d} changed n data {"n":1}`)...)
	// The statistics of PostgreSQL 14 come late: those of the insert might be among them.
	if written := d.tempBytes() - before; written > rows*500_000 && d.version() >= 150000 {
		t.Errorf("%d bytes of temporary files for %d rows of 10 MB", written, rows)
	}
	d.expect(`update t set doc = doc || 'b' where id = 1`, `update p:x public.t {"id":1} changed doc data {"n":1}`)
	d.expect(`update t set doc = doc || '' where id = 1`)
}

// tempBytes returns how much was written to temporary files so far.
func (d *triggerDB) tempBytes() int {
	d.Helper()
	if d.version() >= 150000 {
		d.exec(`select pg_stat_force_next_flush()`)
	}
	n, err := strconv.Atoi(d.askOn(d.connect(), `select temp_bytes from pg_stat_database where datname = current_database()`))
	if err != nil {
		d.Fatal(err)
	}
	return n
}

func repeated(n int, format string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i+1)
	}
	return all
}

// More than a gigabyte in a row, of which no column is that large.
func TestTriggerRowOfOverAGigabyte(t *testing.T) {
	if os.Getenv("PGBELL_TEST_HUGE") == "" {
		t.Skip("takes 3 GB of memory and a minute: set PGBELL_TEST_HUGE to run it")
	}
	d := newTriggerDB(t)
	for _, partition := range []string{"", " partition by list (id)"} {
		d.exec(`create table t (id int primary key, a text, b text, c text, n int)` + partition)
		table := "t"
		if partition != "" {
			table = "t0"
			d.exec(`create table t0 partition of t default`)
		}
		d.exec(`alter table `+table+` alter a set storage external, alter b set storage external, alter c set storage external`,
			`select pgbell.attach('t', array['a:{a}', 't'], payload => array['a', 'n'])`)
		d.expect(`insert into t (id, a) values (1, repeat('x', 360000000))`, `insert t public.t {"id":1} data {"n":null}`)
		d.expect(`update t set b = a, c = a`, `update t public.t {"id":1} changed b,c data {"n":null}`)
		d.exec(`alter table t add added int`)
		d.expect(`update t set added = 1`, `update t public.t {"id":1} changed  data {"n":null}`)
		d.expect(`delete from t`, `delete t public.t {"id":1} data {"n":null}`)
		d.exec(`drop table t`)
	}
}

// 500 changes may be too much for one value.
func TestTriggerPartsAreBoundedInBytes(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, a text, b text); select pgbell.attach('t', array['t'], payload => array['a', 'b'])`)
	since := d.since()
	d.exec(`insert into t select i, repeat(chr(1), 20000), repeat('x', 60000) from generate_series(1, 40) i`) // of 180 kB each
	changes := 0
	for _, r := range d.records(since) {
		if changes += len(r.Changes); len(r.Changes) > 6 {
			t.Errorf("a part of %d changes", len(r.Changes))
		}
	}
	if changes != 40 {
		t.Errorf("got %d changes", changes)
	}
}
