package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

//go:embed testdata/twins.sql
var twins string

// words are all words and operators of the SQL that pgbell runs, and of the program
// around it.
func words(t *testing.T) []string {
	t.Helper()
	var text strings.Builder
	for _, dir := range []string{".", "../../migrations", "../../triggers", "../../journal", "../../listener", "../../sse"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == "testdata" {
				return fs.SkipDir
			}
			if name := d.Name(); strings.HasSuffix(name, ".sql") || strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
				b, err := os.ReadFile(path)
				text.Write(b)
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return regexp.MustCompile(`\w+\(?|[-+*/<>=~!@#%^&|?]+`).FindAllString(text.String(), -1)
}

// makeTwins has a stranger put twins into schema public of a database.
func makeTwins(t *testing.T, db string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `create temp table words (w text)`); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `insert into words select distinct w from unnest($1::text[]) w`, words(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), twins); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `call pg_temp.make_all()`); err != nil {
		t.Fatal(err)
	}
}

// Where everybody may create in schema public, as in all databases up to PostgreSQL 14, a
// stranger's functions and operators wait there for whoever calls the system's by their
// names alone. They take what the system's take only by a cast or as any type, so that
// Postgres prefers them to the system's even where that schema comes first.
func TestNoStrangersCodeIsRun(t *testing.T) {
	twinned := database(t)
	exec1(t, twinned, `create role mallory login password 'x'; create role twins_listener login password 'x';
		grant create on schema public to public; create schema app;
		create table app.tasks (id int primary key, name varchar(40), owner text, project int);
		insert into app.tasks select g, 'n' || g, 'ann', g % 3 from generate_series(1, 2000) g;
		create function app.may(user_id text, scope text) returns boolean language sql as 'select true';
		create table app.teams (id int primary key); insert into app.teams values (7);
		create table app.members (team_id int references app.teams, user_id text, primary key (team_id, user_id));
		create table app.cards (id int primary key, team_id int references app.teams, owner text); insert into app.cards values (1, 7);
		create function app.groups_of(user_id text) returns text[] language sql as $$ select array['team:7'] $$`)
	makeTwins(t, as(t, twinned, "mallory", "x"))
	for name, path := range map[string]string{"the usual path": "", "his schema first": "public, pg_catalog"} {
		t.Run(name, func(t *testing.T) {
			super := copyOf(t, twinned)
			usual := super
			if path != "" {
				usual = with(t, super, func(u *url.URL) { u.RawQuery += "&" + url.Values{"search_path": {path}}.Encode() })
			}
			var called string
			quiet := func(what string) {
				t.Helper()
				for line := range strings.Lines(postgres.Log()) {
					if strings.Contains(line, "LOG:  TWIN") && strings.Contains(line, " in "+databaseOf(t, super)+"\n") && line > called {
						t.Errorf("%s: %s", what, line)
						called = line
					}
				}
			}
			run := func(code int, args ...string) {
				t.Helper()
				if r := runOn(t, usual, args...); r.code != code {
					t.Errorf("%q: exit %d, %s%s", args, r.code, r.stdout, r.stderr)
				}
				quiet(strings.Join(args, " "))
			}
			run(0, "migrate", "status")
			run(0, "migrate")
			run(0, "migrate")
			run(0, "migrate", "status")
			run(2, "attach", "app.tasks")
			run(0, "attach", "app.tasks", "--print")
			run(0, "attach", "app.tasks", "--scope", "tasks", "--scope", "project:{project}", "--audience", "owner", "--payload", "name")
			run(0, "attach", "app.tasks", "--scope", "tasks", "--scope", "project:{project}", "--audience", "owner", "--payload", "name", "--print")
			run(0, "attach", "app.tasks", "--scope", "tasks", "--scope", "project:{project}", "--audience", "owner", "--payload", "name")
			run(1, "attach", "app.task", "--scope", "tasks")
			run(0, "feeds")
			run(0, "explain", "app.tasks", "1", "--as", "ann")
			run(0, "explain", "app.tasks", `{"name":"n7"}`)
			run(2, "attach", "app.cards")
			run(0, "attach", "app.cards", "--scope", "cards", "--audience", "owner,team:{team_id}")
			run(0, "attach", "app.members", "--scope", "members", "--audience", "user_id", "--regroup", "user_id")
			run(0, "explain", "app.cards", "1", "--as", "ann", "--groups-sql", "app.groups_of")
			run(0, "doctor", "--groups-sql", "app.groups_of")
			run(0, "doctor")
			run(0, "attach", "--generate-shell-completion")
			run(0, "detach", "--generate-shell-completion")

			exec1(t, super, `select pgbell.grant_listener('twins_listener'); grant usage on schema app to twins_listener`)
			listener := as(t, usual, "twins_listener", "x")
			run(0, "doctor")
			p := begin(t, listener, "tail", "--as", "ann", "--groups-sql", "app.groups_of")
			p.waitLog(t, "listening")
			exec1(t, super, `insert into app.members values (7, 'ann')`)
			exec1(t, super, `update app.tasks set project = 7 where id = 1`)
			p.line(t)
			p.end(t, syscall.SIGTERM)
			quiet("tail")
			p, server := beginServe(t, listener, "--auth", "header", "--authorize-sql", "app.may", "--groups-sql", "app.groups_of", "--drain", "0s")
			ann := open(t, server, "ann", "tasks")
			exec1(t, super, `update app.tasks set name = 'x' where id = 2`)
			if event, data := ann.next(); event != "tasks" || !strings.Contains(data, `"name":"x"`) {
				t.Errorf("got %s %s", event, data)
			}
			for _, page := range []string{"/", "/metrics", "/readyz", "/presence?scope=tasks", "/events?scope=tasks&since=1-1:1:"} {
				resp := send(t, http.DefaultClient, http.MethodGet, server+page, "X-Forwarded-User", "ann")
				if !strings.HasPrefix(page, "/events") {
					io.Copy(io.Discard, resp.Body)
				}
				if resp.StatusCode != http.StatusOK && page[:7] != "/events" {
					t.Errorf("%s: %s", page, resp.Status)
				}
			}
			p.end(t, syscall.SIGTERM)
			quiet("serve")

			run(0, "detach", "app.tasks")
			run(0, "migrate", "down", "--yes")

			// And the twins are what they are taken for.
			conn, err := pgx.Connect(t.Context(), usual)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			for _, call := range []string{`select 'a' || pg_current_snapshot()`, `select pg_sequence_last_value('x')`, `select 0::oid = 'pg_class'::regclass`, `select concat('a'::text, 1)`} {
				if _, err := conn.Exec(t.Context(), call); err == nil || !strings.Contains(err.Error(), "TWIN") {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

// copyOf makes a copy of a database that nobody uses.
func copyOf(t *testing.T, db string) string {
	t.Helper()
	name := fmt.Sprintf("cli%d", databases.Add(1))
	exec1(t, postgres.URL(), "create database "+name+" template "+databaseOf(t, db))
	return with(t, postgres.URL(), func(u *url.URL) { u.Path = "/" + name })
}

func databaseOf(t *testing.T, conn string) string {
	t.Helper()
	u, err := url.Parse(conn)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}
