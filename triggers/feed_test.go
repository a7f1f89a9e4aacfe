package triggers_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/triggers"
)

var (
	_ triggers.Querier = (*pgx.Conn)(nil)
	_ triggers.Querier = (pgx.Tx)(nil)
)

func TestAttachedFeedIsListedAndDetached(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create table tasks (id int primary key, owner text, title text);
		create schema app; create table app."Odd ""Name""" (id int primary key)`)

	full := triggers.Feed{
		Table: "tasks", Scopes: []string{"tasks", "task:{id}"},
		Audience: []string{"owner"}, Columns: []string{"title"}, Payload: []string{"title"},
	}
	plain := triggers.Feed{Table: `app."Odd ""Name"""`, Scopes: []string{"odd"}, Volatile: true}
	members := triggers.Feed{Table: "app.members", Scopes: []string{"members"}, Audience: []string{"team:{team_id}"}, Regroup: "user_id"}
	exec(t, db, `create table app.members (team_id int, user_id text)`)
	for _, f := range []triggers.Feed{full, plain, members} {
		if err := triggers.Attach(t.Context(), db, f); err != nil {
			t.Fatal(err)
		}
	}
	full.Table, full.State, plain.State, members.State = "public.tasks", "ok", "ok", "ok"
	list, err := triggers.List(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]triggers.Feed{plain, members, full}, list); diff != "" {
		t.Errorf("feeds (-want +got):\n%s", diff)
	}
	got, ok, err := triggers.Get(t.Context(), db, "tasks")
	if diff := cmp.Diff(full, got); diff != "" || !ok || err != nil {
		t.Errorf("Get: %v, %v, feed (-want +got):\n%s", ok, err, diff)
	}

	for _, want := range []bool{true, false} {
		if was, err := triggers.Detach(t.Context(), db, "tasks"); was != want || err != nil {
			t.Errorf("Detach = %v, %v, want %v", was, err, want)
		}
	}
	if _, ok, err := triggers.Get(t.Context(), db, "tasks"); ok || err != nil {
		t.Errorf("Get of a detached table = %v, %v, want none", ok, err)
	}
}

func TestAttachAgainReplacesTheFeed(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create table tasks (id int primary key, owner text)`)
	for _, f := range []triggers.Feed{
		{Table: "tasks", Scopes: []string{"tasks"}, Audience: []string{"owner"}},
		{Table: "public.tasks", Scopes: []string{"task:{id}"}},
	} {
		if err := triggers.Attach(t.Context(), db, f); err != nil {
			t.Fatal(err)
		}
	}
	list, err := triggers.List(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	want := []triggers.Feed{{Table: "public.tasks", Scopes: []string{"task:{id}"}, State: "ok"}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("feeds (-want +got):\n%s", diff)
	}
}

func TestMissingTableNamesTheNearOnes(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create table tasks (id int); create table "Tasks" (id int); create table notes (id int);
		create schema app; create table app.orders (id int); create table app."Order" (id int); create view task as select 1;
		create table parts (id int) partition by list (id); create table parts1 partition of parts for values in (1)`)
	for _, test := range []struct {
		table string
		near  []string
	}{
		{"taks", []string{`public."Tasks"`, "public.tasks"}},
		{"TAKS", []string{`public."Tasks"`, "public.tasks"}},
		{`"TASKS"`, []string{`public."Tasks"`, "public.tasks"}},
		{"app.tasks", []string{`public."Tasks"`, "public.tasks"}},
		{"nowhere.orders", []string{"app.orders", `app."Order"`}},
		{"orders", []string{"app.orders", `app."Order"`}},
		{"note", []string{"public.notes"}},
		{"part1", []string{"public.parts"}},
		{"zzz", nil},
		{"feed", nil}, // pgbell's own
		{"pg_clas", nil},
	} {
		t.Run(test.table, func(t *testing.T) {
			// In a transaction, which has to stay usable.
			tx, err := db.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(t.Context())
			err = triggers.Attach(t.Context(), tx, triggers.Feed{Table: test.table, Scopes: []string{"a"}})
			var missing *triggers.MissingTableError
			if !errors.As(err, &missing) {
				t.Fatalf("Attach = %v, want a MissingTableError", err)
			}
			if diff := cmp.Diff(test.near, missing.Near); diff != "" {
				t.Errorf("near tables (-want +got):\n%s", diff)
			}
			if _, err := tx.Exec(t.Context(), "select 1"); err != nil {
				t.Errorf("the transaction is over: %v", err)
			}
		})
	}
}

func TestAttachKeepsTheServersError(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create table tasks (id int primary key, title text)`)
	err := triggers.Attach(t.Context(), db, triggers.Feed{Table: "tasks", Scopes: []string{"a:{nope}"}})
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "42703" || !strings.Contains(pgErr.Hint, "title") {
		t.Errorf("Attach with an unknown column = %v, want undefined_column with the columns in its hint", err)
	}
	if triggers.NotMigrated(err) {
		t.Errorf("an unknown column is taken for a missing schema: %v", err)
	}
}

func TestDatabaseWithoutPgbellIsTold(t *testing.T) {
	db := connect(t, pgtest.Database(t))
	exec(t, db, `create table tasks (id int primary key)`)
	feed := triggers.Feed{Table: "tasks", Scopes: []string{"a"}}
	check := func(t *testing.T, what string, err error) {
		t.Helper()
		if !triggers.NotMigrated(err) || !strings.Contains(err.Error(), "pgbell migrate") {
			t.Errorf("%s = %v, want to be told to run pgbell migrate", what, err)
		}
	}
	for _, schema := range []string{"", "create schema pgbell"} { // without it, and with an empty one
		exec(t, db, schema)
		check(t, "Attach", triggers.Attach(t.Context(), db, feed))
		_, err := triggers.Detach(t.Context(), db, "tasks")
		check(t, "Detach", err)
		_, err = triggers.List(t.Context(), db)
		check(t, "List", err)
		_, _, err = triggers.Get(t.Context(), db, "tasks")
		check(t, "Get", err)
	}
}

func TestDroppedTableIsDetachedByItsOid(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create table tasks (id int primary key)`)
	if err := triggers.Attach(t.Context(), db, triggers.Feed{Table: "tasks", Scopes: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	var oid string
	if err := db.QueryRow(t.Context(), `select 'tasks'::regclass::oid::text`).Scan(&oid); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `drop table tasks`)
	if was, err := triggers.Detach(t.Context(), db, oid); !was || err != nil {
		t.Errorf("Detach(%s) = %v, %v, want true", oid, was, err)
	}
}
