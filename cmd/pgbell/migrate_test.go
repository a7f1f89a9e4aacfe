package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// migrationJSON is what a user's program would read.
type migrationJSON struct {
	Version   int64
	Name      string
	State     string
	AppliedAt *time.Time `json:"applied_at"`
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func TestMigrateUpDownUp(t *testing.T) {
	db := database(t)
	status := func(want string) {
		t.Helper()
		all := decode[[]migrationJSON](t, mustRun(t, db, "migrate", "status", "--json"))
		if len(all) == 0 || all[0].Version != 1 {
			t.Fatalf("status lists %+v", all)
		}
		for _, m := range all {
			if m.State != want || (m.AppliedAt != nil) != (want == "applied") {
				t.Errorf("migration %+v, want it %s", m, want)
			}
		}
	}
	status("pending")
	for _, args := range [][]string{{"migrate", "--json"}, {"migrate", "up", "--json"}} { // up is the default
		done := decode[[]migrationJSON](t, mustRun(t, db, args...))
		if len(done) == 0 || done[0].State != "applied" {
			t.Errorf("pgbell %q says %+v", args, done)
		}
		status("applied")
		if again := mustRun(t, db, "migrate", "up", "--json"); again != "[]\n" {
			t.Errorf("up again did %s", again)
		}
		for range done {
			down := decode[[]migrationJSON](t, mustRun(t, db, "migrate", "down", "--json"))
			if len(down) != 1 || down[0].State != "pending" {
				t.Errorf("down says %+v", down)
			}
		}
		status("pending")
		if again := mustRun(t, db, "migrate", "down", "--json"); again != "[]\n" {
			t.Errorf("down again did %s", again)
		}
	}
}

func TestMigrateForPeople(t *testing.T) {
	db := database(t)
	for _, step := range []struct{ args, says string }{
		{"status", "pending"}, {"up", "applied"}, {"up", "nothing to do"}, {"status", "applied"}, {"down", "taken back"}, {"down", "nothing to take back"},
	} {
		if got := mustRun(t, db, "migrate", step.args); !strings.Contains(got, step.says) {
			t.Errorf("migrate %s says %q, want %q", step.args, got, step.says)
		}
	}
}

// With the first migration all feeds go, which is not for a slip of the hand.
func TestMigrateDownAsksBeforeFeedsGo(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key); create table "Odd" (id int primary key); select pgbell.attach('tasks', array['tasks']), pgbell.attach('"Odd"', array['odd'])`)
	for _, args := range [][]string{{"migrate", "down"}, {"migrate", "down", "--json"}} {
		wantError(t, runOn(t, db, args...), 2, `the feeds of public."Odd", public.tasks`, "add --yes")
	}
	for _, keys := range []string{"\r", "n\r", "no\r"} {
		x := onTerminal(t, db, nil, "migrate", "down")
		x.see(t, `the feeds of public."Odd", public.tasks? [y/N] `)
		x.write(t, keys)
		x.see(t, "nothing was taken back")
		if code := x.exit(t); code != 1 {
			t.Errorf("%q: exit %d", keys, code)
		}
	}
	if got := mustRun(t, db, "feeds"); !strings.Contains(got, "public.tasks") {
		t.Errorf("after three noes there are the feeds\n%s", got)
	}
	x := onTerminal(t, db, nil, "migrate", "down")
	x.see(t, "[y/N] ")
	x.write(t, "y\r")
	x.see(t, "taken back")
	if code := x.exit(t); code != 0 {
		t.Errorf("exit %d after a yes", code)
	}
	mustRun(t, db, "migrate")
	exec1(t, db, `select pgbell.attach('tasks', array['tasks'])`)
	if got := mustRun(t, db, "migrate", "down", "--yes"); !strings.Contains(got, "taken back") {
		t.Errorf("--yes: %s", got)
	}
}

// What docs/operations.md says of it: with the program and without, nothing is left, and the tables
// are as they were.
func TestUninstall(t *testing.T) {
	for _, how := range []string{"pgbell", "sql"} {
		db := migrated(t)
		exec1(t, db, `create table tasks (id int primary key); create table parts (id int primary key) partition by range (id); create table part partition of parts default;
			select pgbell.attach('tasks', array['tasks']), pgbell.attach('parts', array['parts']);
			create function f() returns int stable begin atomic select count(*)::int from tasks; end; select pgbell.live('f')`)
		if how == "pgbell" {
			mustRun(t, db, "migrate", "down", "--yes")
		} else {
			exec1(t, db, `select pgbell.detach(table_name::regclass) from pgbell.feeds`)
			exec1(t, db, `drop schema pgbell cascade`)
		}
		exec1(t, db, `insert into tasks values (1); insert into parts values (1); delete from part;
			do $$ begin if to_regnamespace('pgbell') is not null or exists (select from pg_trigger where not tgisinternal) then raise 'something is left'; end if; end $$`)
	}
}

func TestMigrateStatusChangesNothing(t *testing.T) {
	db := database(t)
	mustRun(t, db, "migrate", "status")
	exec1(t, db, `do $$ begin if to_regnamespace('pgbell') is not null then raise 'schema pgbell was created'; end if; end $$`)
}

func TestMigrateWithoutPrivilegeSaysWhichOneIsMissing(t *testing.T) {
	db := database(t)
	role := newRole(t, db, "")
	r := runOn(t, as(t, db, role, password), "migrate")
	wantError(t, r, 1, "permission denied", "grant create on database", fmt.Sprintf("to %q", role))

	mustRun(t, db, "migrate")
	r = runOn(t, as(t, db, role, password), "migrate", "down")
	wantError(t, r, 1, "schema pgbell belongs to postgres: migrate as that role, not as "+role)
}

// A role that was granted what the error asks for can go on.
func TestMigrateAsAGrantedRole(t *testing.T) {
	db := database(t)
	role := newRole(t, db, "")
	exec1(t, db, fmt.Sprintf(`do $$ begin execute format('grant create on database %%I to %s', current_database()); end $$`, role))
	mustRun(t, as(t, db, role, password), "migrate")
}

// Any role may hold any advisory lock, and none holds up a migration by that.
func TestMigrateWaitsForNoLockThatAnybodyMayTake(t *testing.T) {
	db := database(t)
	conn, err := pgx.Connect(t.Context(), as(t, db, newRole(t, db, ""), password))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `select pg_advisory_lock(x'706762656c6c2f6d'::bigint)`); err != nil { // pgbell/m
		t.Fatal(err)
	}
	for _, step := range []string{"up", "up", "status", "down"} {
		mustRun(t, db, "migrate", step)
	}
}

// Two migrations take turns, by a lock that needs rights in schema pgbell.
func TestMigrateWaitsForAnother(t *testing.T) {
	db := migrated(t)
	lock := func(db string) (*pgx.Conn, error) {
		conn, err := pgx.Connect(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		_, err = conn.Exec(t.Context(), `begin; lock table pgbell.goose_db_version in share row exclusive mode`)
		return conn, err
	}
	if _, err := lock(as(t, db, newRole(t, db, ""), password)); err == nil {
		t.Error("a stranger holds up migrations")
	}
	conn, err := lock(db)
	if err != nil {
		t.Fatal(err)
	}
	impatient := with(t, db, func(u *url.URL) { u.RawQuery += "&lock_timeout=100" })
	wantError(t, runOn(t, impatient, "migrate"), 1, "another migration is under way")
	if _, err := conn.Exec(t.Context(), `rollback`); err != nil {
		t.Fatal(err)
	}
	mustRun(t, impatient, "migrate")
}
