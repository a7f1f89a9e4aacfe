package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
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
	wantError(t, r, 1, "permission denied", "owns schema pgbell")
}

// A role that was granted what the error asks for can go on.
func TestMigrateAsAGrantedRole(t *testing.T) {
	db := database(t)
	role := newRole(t, db, "")
	exec1(t, db, fmt.Sprintf(`do $$ begin execute format('grant create on database %%I to %s', current_database()); end $$`, role))
	mustRun(t, as(t, db, role, password), "migrate")
}
