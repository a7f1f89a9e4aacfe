package integration

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/journal"
)

// triggerDB is a database with pgbell in it and a superuser's session there, the
// writer of most tests.
type triggerDB struct {
	testing.TB
	url    string
	writer *pgx.Conn
	reader *pgx.Conn // reads the journal
}

func newTriggerDB(t testing.TB) *triggerDB {
	t.Helper()
	d := &triggerDB{TB: t, url: pgtest.Migrated.Database(t)}
	d.writer, d.reader = d.connect(), d.connect()
	return d
}

// on returns d as seen by a subtest.
func (d *triggerDB) on(t testing.TB) *triggerDB {
	sub := *d
	sub.TB = t
	return &sub
}

// connect opens one more session, which ends with the test.
func (d *triggerDB) connect() *pgx.Conn { d.Helper(); return d.connectAs("") }

// connectAs opens a session of a role made by d.role.
func (d *triggerDB) connectAs(role string) *pgx.Conn {
	d.Helper()
	config, err := pgx.ParseConfig(d.url)
	if err != nil {
		d.Fatal(err)
	}
	if role != "" {
		config.User, config.Password = role, role
	}
	return d.connectWith(config)
}

func (d *triggerDB) connectWith(config *pgx.ConnConfig) *pgx.Conn {
	d.Helper()
	conn, err := pgx.ConnectConfig(d.Context(), config)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// role makes a role that may log in to d and has no right but those of PUBLIC. It
// goes with the test, with all that it owns.
func (d *triggerDB) role(name string) string {
	d.Helper()
	name += "_" + d.ask("right(current_database(), 20)")
	d.exec(fmt.Sprintf(`create role %q login password '%[1]s'`, name))
	d.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), d.url)
		if err != nil {
			d.Error(err)
			return
		}
		defer conn.Close(context.Background())
		// Its sessions drop their temporary objects after they said goodbye.
		if _, err := conn.Exec(context.Background(), fmt.Sprintf(`do $$ begin for i in 1..1000 loop
			exit when not exists (select from pg_stat_activity where usename = '%s'); perform pg_sleep(0.005), pg_stat_clear_snapshot(); end loop; end $$`, name)); err != nil {
			d.Error(err)
		}
		if _, err := conn.Exec(context.Background(), fmt.Sprintf(`reassign owned by %q to current_user; drop owned by %[1]q; drop role %[1]q`, name)); err != nil {
			d.Error(err)
		}
	})
	return name
}

// exec runs statements in the writer's session. Several in one text are one
// transaction, unless they say otherwise.
func (d *triggerDB) exec(statements ...string) { d.Helper(); d.execOn(d.writer, statements...) }

func (d *triggerDB) execOn(conn *pgx.Conn, statements ...string) {
	d.Helper()
	for _, s := range statements {
		if err := tryExec(d.Context(), conn, s); err != nil {
			d.Fatalf("%s: %v", s, err)
		}
	}
}

func tryExec(ctx context.Context, conn *pgx.Conn, statements string) error {
	_, err := conn.PgConn().Exec(ctx, statements).ReadAll()
	return err
}

// ask returns the one value that a query gives, as text; a null is <null>.
func (d *triggerDB) ask(query string, args ...any) string {
	d.Helper()
	return d.askOn(d.writer, query, args...)
}

func (d *triggerDB) askOn(conn *pgx.Conn, query string, args ...any) string {
	d.Helper()
	var answer *string
	if err := conn.QueryRow(d.Context(), "select ("+query+")::text", args...).Scan(&answer); err != nil {
		d.Fatalf("%s: %v", query, err)
	}
	if answer == nil {
		return "<null>"
	}
	return *answer
}

// since returns the cursor of now.
func (d *triggerDB) since() journal.Cursor {
	d.Helper()
	return d.parse(d.askOn(d.reader, "pgbell.cursor()"))
}

func (d *triggerDB) parse(cursor string) journal.Cursor {
	d.Helper()
	c, err := journal.ParseCursor(cursor)
	if err != nil {
		d.Fatal(err)
	}
	return c
}

// records returns what was recorded since a cursor.
func (d *triggerDB) records(since journal.Cursor) []*journal.Record {
	d.Helper()
	var records []*journal.Record
	_, _, err := journal.Read(d.Context(), d.reader, since, func(r *journal.Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		d.Fatalf("read the journal since %v: %v", since, err)
	}
	return records
}

// definitions returns what facts mean now.
func (d *triggerDB) definitions() *journal.Definitions {
	d.Helper()
	defs := new(journal.Definitions)
	if err := defs.Load(d.Context(), d.reader); err != nil {
		d.Fatal(err)
	}
	return defs
}

// hear returns the events that statements in the writer's session give rise to,
// each as a line of text.
func (d *triggerDB) hear(statements ...string) []string {
	d.Helper()
	return d.hearOn(d.writer, statements...)
}

func (d *triggerDB) hearOn(conn *pgx.Conn, statements ...string) []string {
	d.Helper()
	since := d.since()
	d.execOn(conn, statements...)
	return lines(d.records(since))
}

// expect fails the test unless statements give rise to just these events.
func (d *triggerDB) expect(statements string, want ...string) {
	d.Helper()
	d.expectOn(d.writer, statements, want...)
}

func (d *triggerDB) expectOn(conn *pgx.Conn, statements string, want ...string) {
	d.Helper()
	if diff := cmp.Diff(want, d.hearOn(conn, statements)); diff != "" {
		d.Errorf("%s (-want +got):\n%s", statements, diff)
	}
}

// lines writes the events of records as text, a line each: what is not there is
// left out.
//
//	update moved out project:7 public.tasks {"id":1} for alice,bob changed title data {"title":"x"} origin tab1
//	reset public.tasks [tasks project:{project_id}] truncate
func lines(records []*journal.Record) []string {
	var all []string
	for _, r := range records {
		if r.Reset != nil {
			all = append(all, fmt.Sprintf("reset %s %s", r.Table, r.Reset.Reason))
		}
		for _, e := range r.Events() {
			all = append(all, line(e))
		}
	}
	return all
}

func line(e bus.ChangeEvent) string {
	var b strings.Builder
	b.WriteString(string(e.Op))
	if e.Moved != "" {
		b.WriteString(" moved " + string(e.Moved))
	}
	b.WriteString(" " + e.Scope)
	if e.Table != "" {
		b.WriteString(" " + e.Table)
	}
	if e.Key != nil {
		b.WriteString(" " + string(e.Key))
	}
	if !e.Audience.Everyone() {
		b.WriteString(" for " + strings.Join(e.Audience.Users(), ","))
	}
	if e.Changed != nil {
		b.WriteString(" changed " + strings.Join(e.Changed, ","))
	}
	if e.Data != nil {
		b.WriteString(" data " + string(e.Data))
	}
	if e.Origin != "" {
		b.WriteString(" origin " + e.Origin)
	}
	return b.String()
}

// same fails the test unless got are just these lines.
func (d *triggerDB) same(got []string, want ...string) {
	d.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		d.Errorf("(-want +got):\n%s", diff)
	}
}

// needs skips the test on a server older than version, for it lacks something.
func (d *triggerDB) needs(version int, what string) {
	d.Helper()
	if d.version() < version {
		d.Skipf("PostgreSQL older than %d has no %s", version/10000, what)
	}
}

func (d *triggerDB) version() int {
	d.Helper()
	v, err := strconv.Atoi(d.ask("current_setting('server_version_num')"))
	if err != nil {
		d.Fatal(err)
	}
	return v
}

// refuses fails the test unless the writer gets an error with each of these texts
// in its message, detail or hint.
func (d *triggerDB) refuses(statement string, want ...string) {
	d.Helper()
	err := tryExec(d.Context(), d.writer, statement)
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		d.Errorf("%s: got error %v", statement, err)
		return
	}
	text := pgErr.Message + "\n" + pgErr.Detail + "\n" + pgErr.Hint
	for _, w := range want {
		if !strings.Contains(text, w) {
			d.Errorf("%s: got error %q (%s), want one with %q", statement, text, pgErr.Code, w)
		}
	}
}

// newTriggerDBWith is newTriggerDB for a database that CREATE DATABASE makes with
// these options, if the server is new enough for them.
func newTriggerDBWith(t testing.TB, options string, version int) *triggerDB {
	t.Helper()
	d := newTriggerDB(t)
	if d.version() < version {
		t.Skipf("PostgreSQL %d has no such database", d.version()/10000)
	}
	name := d.ask(`current_database() || '_b'`)
	d.exec(`create database ` + name + ` template template0 ` + options)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), d.url)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		if err := tryExec(context.Background(), conn, `drop database `+name+` with (force)`); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return newTriggerDBAt(t, u.String())
}

// newTriggerDBAt puts pgbell into the database at url.
func newTriggerDBAt(t testing.TB, url string) *triggerDB {
	t.Helper()
	if err := pgtest.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	d := &triggerDB{TB: t, url: url}
	d.writer, d.reader = d.connect(), d.connect()
	return d
}
