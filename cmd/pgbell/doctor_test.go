package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// diagnosis returns what doctor --json says, by subject, and its exit code.
func diagnosis(t *testing.T, db string, args ...string) (map[string]finding, int) {
	t.Helper()
	r := runOn(t, db, append([]string{"doctor", "--json"}, args...)...)
	var all []finding
	if err := json.Unmarshal([]byte(r.stdout), &all); err != nil {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	by := map[string]finding{}
	for _, f := range all {
		if worst := by[f.About]; worst.Level == "" || worst.Level == fine || f.Level == problem || worst.Level == note && f.Level == warning {
			by[f.About] = f
		}
	}
	return by, r.code
}

// has checks a finding.
func has(t *testing.T, by map[string]finding, about string, l level, words, remedy string) {
	t.Helper()
	if f := by[about]; f.Level != l || !strings.Contains(f.Words, words) || !strings.Contains(f.Remedy, remedy) {
		t.Errorf("%s: got %+v, want %s, %q, %q", about, f, l, words, remedy)
	}
}

func TestDoctorFindsNothingWrong(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key, owner text); select pgbell.attach('tasks', array['tasks'], audience => array['owner'])`)
	p, _ := beginServe(t, db)
	p.waitLog(t, `"listening"`)
	by, code := diagnosis(t, db)
	for about, words := range map[string]string{
		"server": "a primary", "schema": "version 1, as this pgbell's", "notifications": "arrive", "feed public.tasks": "ok",
		"notification queue": "0 % full", "journal": "back to", "listeners": "connected", "clock": "agrees",
	} {
		has(t, by, about, fine, words, "")
	}
	has(t, by, "role", note, "superuser", "pgbell_listener")
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	if out := mustRun(t, db, "doctor"); !strings.Contains(out, "ok       feed public.tasks: ok\n") {
		t.Errorf("got:\n%s", out)
	}
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	db := database(t)
	by, code := diagnosis(t, db)
	has(t, by, "schema", problem, "not installed", "pgbell migrate")
	if code != 1 || len(by) != 2 {
		t.Errorf("without a schema: exit %d, %v", code, by)
	}

	mustRun(t, db, "migrate")
	by, code = diagnosis(t, db)
	has(t, by, "feeds", note, "none", "pgbell attach")
	has(t, by, "listeners", note, "no server", "pgbell serve")
	if code != 0 {
		t.Errorf("without feeds: exit %d", code)
	}
}

func TestDoctorNamesTheGrantsThatARoleLacks(t *testing.T) {
	db := migrated(t)
	role := newRole(t, db, "")
	by, code := diagnosis(t, as(t, db, role, password))
	f := by["role"]
	if f.Level != problem || code != 1 {
		t.Fatalf("got %+v, exit %d", f, code)
	}
	if want := grantListener(role); f.Remedy != want {
		t.Errorf("the remedy is %s, want %s", f.Remedy, want)
	}
	has(t, by, "feeds", warning, "can't be looked at: permission denied for view feeds", f.Remedy)
	exec1(t, db, f.Remedy)
	by, code = diagnosis(t, as(t, db, role, password))
	has(t, by, "role", fine, "may do what serve does", "")
	p, _ := beginServe(t, as(t, db, role, password))
	p.waitLog(t, `"listening"`) // it may indeed
	has(t, by, "feeds", note, "there are none", "")
	if code != 0 {
		t.Errorf("exit %d", code)
	}
}

// A listener that may not read the journal's tables by themselves listens, and doctor
// says how to grant it.
func TestDoctorNamesTheGrantsForQuickReadings(t *testing.T) {
	db := migrated(t)
	role := newRole(t, db, "")
	by, _ := diagnosis(t, as(t, db, role, password))
	exec1(t, db, by["role"].Remedy)
	exec1(t, db, `revoke select on pgbell.rotation, pgbell.journal_0 from `+role)
	by, code := diagnosis(t, as(t, db, role, password))
	has(t, by, "role", warning, "but not read the journal's tables by themselves", `select pgbell.grant_listener('`+role+`');`)
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	p, _ := beginServe(t, as(t, db, role, password))
	p.waitLog(t, `"listening"`) // it may indeed
	exec1(t, db, by["role"].Remedy)
	by, _ = diagnosis(t, as(t, db, role, password))
	has(t, by, "role", fine, "may do what serve does", "")
}

// A listener without the right to see states listens, and doctor says how to grant it.
func TestDoctorNamesTheGrantForStates(t *testing.T) {
	db := migrated(t)
	role := newRole(t, db, "")
	by, _ := diagnosis(t, as(t, db, role, password))
	exec1(t, db, by["role"].Remedy)
	exec1(t, db, `revoke execute on function pgbell.state(pgbell.feed) from `+role+`;
		create table tasks (id int primary key, owner text); select pgbell.attach('tasks', array['tasks'], array['owner'])`)
	by, code := diagnosis(t, as(t, db, role, password))
	grant := grantListener(role)
	has(t, by, "role", warning, "not see the state of the feeds", grant)
	has(t, by, "feeds", warning, "permission denied for function state", grant)
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	exec1(t, db, by["feeds"].Remedy)
	by, _ = diagnosis(t, as(t, db, role, password))
	has(t, by, "role", fine, "", "")
	has(t, by, "feed public.tasks", fine, "ok", "")
}

func TestDoctorsGrantsAreThoseOfTheManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "\n" + grantListener(listenersRole); !strings.Contains(string(text), want) {
		t.Errorf("docs/operations.md does not have: %s", want)
	}
}

// What one table keeps to itself says nothing of the others.
func TestDoctorSeesFeedsBesideOneItMayNotLookAt(t *testing.T) {
	db := migrated(t)
	role := newRole(t, db, "")
	by, _ := diagnosis(t, as(t, db, role, password))
	exec1(t, db, by["role"].Remedy)
	exec1(t, db, `create schema "Odd Schema"; create table "Odd Schema".a (id int primary key, owner text); create table tasks (id int primary key, p int, owner text);
		create table "Odd Schema".b (id int primary key, gone int, owner text); select pgbell.attach('"Odd Schema".b', array['b:{gone}'], array['owner']); alter table "Odd Schema".b drop gone;
		select pgbell.attach('"Odd Schema".a', array['a'], array['owner']); select pgbell.attach('tasks', array['tasks', 'p:{p}'], array['owner']); alter table tasks drop p`)
	by, code := diagnosis(t, as(t, db, role, password))
	has(t, by, `feed "Odd Schema".a`, note, `permission denied for schema Odd Schema`, "as the table's owner")
	has(t, by, `feed "Odd Schema".b`, problem, `column gone is gone`, "pgbell.attach")
	has(t, by, "feed public.tasks", problem, "column p is gone", `scopes => array['tasks']`)
	if code != 1 {
		t.Errorf("exit %d", code)
	}
}
