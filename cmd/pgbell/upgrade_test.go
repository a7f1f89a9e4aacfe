package main

import (
	"strings"
	"testing"

	"github.com/pgbell/pgbell/internal/pgtest"
)

func TestFormerSchemaIsMigrated(t *testing.T) {
	db := database(t)
	if err := pgtest.MigrateFormer(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	exec1(t, db, `create table tasks (id int primary key); create table gone (id int primary key);
		select pgbell.attach('tasks', array['tasks']), pgbell.attach('gone', array['gone']); drop table gone`)
	by, code := diagnosis(t, db)
	has(t, by, "schema", problem, "of before pgbell's first release", "pgbell migrate")
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	if got := mustRun(t, db, "migrate", "status"); !strings.Contains(got, "pending") {
		t.Errorf("status says %q", got)
	}
	wantError(t, runOn(t, db, "migrate", "down"), 1, "of before the first release", "run pgbell migrate first")

	r := runOn(t, db, "migrate")
	if r.code != 0 || !strings.Contains(r.stdout, "applied") || !strings.Contains(r.stderr, "warning: public.gone is not attached any more") {
		t.Errorf("migrate: exit %d, says %q and %q", r.code, r.stdout, r.stderr)
	}
	by, _ = diagnosis(t, db)
	has(t, by, "schema", fine, "version 1, as this pgbell's", "")
	has(t, by, "feed public.tasks", note, "has no audience", "")
	if got := mustRun(t, db, "migrate"); !strings.Contains(got, "nothing to do") {
		t.Errorf("again it says %q", got)
	}
	mustRun(t, db, "migrate", "down", "--yes")
}

func TestNewerSchemaIsLeftAlone(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create or replace function pgbell.schema_version() returns integer language sql immutable return 2`)
	by, code := diagnosis(t, db)
	has(t, by, "schema", problem, "version 2, and this pgbell reads no later one than 1", "@latest")
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	for _, step := range []string{"up", "down"} {
		wantError(t, runOn(t, db, "migrate", step), 1, "schema pgbell is of version 2, and this pgbell makes version 1: upgrade pgbell")
	}
}
