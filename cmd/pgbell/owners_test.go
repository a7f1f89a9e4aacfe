package main

import (
	"fmt"
	"strings"
	"testing"
)

// A schema that somebody else has made, or where something is somebody else's, is not
// filled: its owner may put code there that others run.
func TestMigrateRefusesASchemaThatIsNotItsOwn(t *testing.T) {
	db := database(t)
	role := newRole(t, db, "")
	for schema, says := range map[string]string{
		`create schema pgbell authorization ` + role:                                                        "schema pgbell was made by " + role,
		`create schema pgbell; create function pgbell.record() returns int language sql as 'select 1'`:      "function pgbell.record()",
		`create schema pgbell; create function pgbell.evil() returns int language sql as 'select 1'`:        "function pgbell.evil()",
		`create schema pgbell; create table pgbell.mine (id int)`:                                           "table pgbell.mine",
		`create schema pgbell; create type pgbell.pair as (a int)`:                                          "composite type pgbell.pair",
		`create schema pgbell; create type pgbell.mood as enum ('sad')`:                                     "type pgbell.mood",
		`create schema pgbell; create domain pgbell.short as text check (length(value) < 3)`:                "type pgbell.short",
		`create schema pgbell; create table pgbell.mine (id int); alter table pgbell.mine owner to ` + role: "schema pgbell belongs to postgres, but table pgbell.mine to " + role + ": all of it must be one role's; drop what pgbell has not made",
	} {
		exec1(t, db, schema)
		wantError(t, runOn(t, db, "migrate"), 1, says)
		exec1(t, db, `drop schema pgbell cascade`)
	}
	mustRun(t, db, "migrate")
	for made, unmade := range map[string]string{
		`create function pgbell.record(integer, text, text, varchar[]) returns void language sql as ''`: `drop function pgbell.record(integer, text, text, varchar[])`,
		`create trigger x after insert on pgbell.feed execute function pgbell.cursor_trigger()`:         `drop trigger x on pgbell.feed`,
		`create rule x as on insert to pgbell.feed do also select 1`:                                    `drop rule x on pgbell.feed`,
	} {
		if strings.HasPrefix(made, "create trigger") {
			made = `create function public.trg() returns trigger language plpgsql as 'begin return null; end'; ` + strings.Replace(made, "pgbell.cursor_trigger()", "public.trg()", 1)
		}
		exec1(t, db, made)
		wantError(t, runOn(t, db, "migrate"), 1, "in schema pgbell there is what pgbell has not made")
		exec1(t, db, unmade)
	}
	if got := mustRun(t, db, "migrate"); !strings.Contains(got, "nothing to do") {
		t.Error(got)
	}
}

func TestOneOwnerOfSchemaPgbell(t *testing.T) {
	db := migrated(t)
	role := newRole(t, db, "")
	exec1(t, db, `create table tasks (id int primary key); select pgbell.attach('tasks', array['tasks']); grant insert on tasks to `+role)
	exec1(t, db, `alter schema pgbell owner to `+role)
	wantError(t, runOn(t, db, "attach", "tasks", "--scope", "other"), 1, "schema pgbell belongs to "+role+", but table pgbell.journal to postgres", "ALTER SCHEMA pgbell OWNER TO postgres")
	wantError(t, runOn(t, db, "migrate"), 1, "schema pgbell belongs to "+role, "alter schema pgbell owner to postgres")
	exec1(t, as(t, db, role, password), `insert into tasks values (1)`)
	by, code := diagnosis(t, db)
	has(t, by, "schema", problem, "belongs to "+role, "alter schema pgbell owner to postgres")
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	exec1(t, db, by["schema"].Remedy)
	mustRun(t, db, "attach", "tasks", "--scope", "other")
	by, _ = diagnosis(t, db)
	has(t, by, "schema", fine, "", "")

	// All is another's.
	exec1(t, db, fmt.Sprintf(`alter schema pgbell owner to %s; select pgbell.own_all()`, role))
	by, _ = diagnosis(t, db)
	has(t, by, "schema", fine, "", "")
	mustRun(t, db, "attach", "tasks", "--scope", "tasks")
	exec1(t, as(t, db, role, password), `insert into tasks values (2)`)
	mustRun(t, db, "migrate")
	by, _ = diagnosis(t, db)
	has(t, by, "schema", fine, "", "")
}

func TestDoctorNamesWhatPgbellUsesOfOthers(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create function public.theirs(text) returns text language sql immutable as 'select $1'; create table tasks (id int primary key); select pgbell.attach('tasks', array['tasks'])`)
	by, _ := diagnosis(t, db)
	has(t, by, "schema", fine, "", "")
	exec1(t, db, `create or replace function pgbell.short(value text) returns text language sql immutable return public.theirs(value)`)
	by, code := diagnosis(t, db)
	has(t, by, "schema", problem, "function pgbell.short(text) uses function public.theirs(text)", "pgbell migrate")
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	mustRun(t, db, "migrate")
	by, _ = diagnosis(t, db)
	has(t, by, "schema", fine, "", "")
}
