package pgtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { Main(m) }

// execute runs one statement on a connection of its own.
func execute(url, sql string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

var made int

var withTable = Template{Make: func(ctx context.Context, url string) error {
	made++
	return execute(url, "CREATE TABLE seeded AS SELECT 42 AS answer")
}}

func ask[T any](t *testing.T, url, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var answer T
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

func TestServerHasTheSettingsThatTestsNeed(t *testing.T) {
	url := Server(t)
	for name, want := range settings {
		if got := ask[string](t, url, "SHOW "+name); got != want && !server.shared {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if ask[int](t, url, "SELECT current_setting('server_version_num')::int") < 140000 {
		t.Error("older than PostgreSQL 14, which pgbell does not support")
	}
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			url := Database(t)
			if err := execute(url, "CREATE TABLE mine ()"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTemplateIsMadeOnceAndCopied(t *testing.T) {
	for range 2 {
		url := withTable.Database(t)
		if got := ask[int](t, url, "DELETE FROM seeded RETURNING answer"); got != 42 {
			t.Errorf("got %d, want 42", got)
		}
	}
	if made != 1 {
		t.Errorf("made %d times, want once", made)
	}
}

func TestDatabasesGoWithTheirTest(t *testing.T) {
	var name string
	var held *pgx.Conn
	if !t.Run("one", func(t *testing.T) {
		url := withTable.Database(t)
		name = ask[string](t, url, "SELECT current_database()::text")
		var err error
		if held, err = pgx.Connect(t.Context(), url); err != nil { // left open: as a failing test would
			t.Fatal(err)
		}
	}) {
		return
	}
	defer held.Close(context.Background())
	if ask[bool](t, Server(t), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = '"+name+"')") {
		t.Errorf("%s is still there", name)
	}
}

func TestOwnServerIsApartFromTheShared(t *testing.T) {
	own := OwnServer(t, map[string]string{"max_connections": "17"})
	if own.URL() == Server(t) {
		t.Fatal("it is the shared one")
	}
	if got := ask[string](t, own.URL(), "SHOW max_connections"); got != "17" {
		t.Errorf("max_connections: got %s, want 17", got)
	}
	own.Kill()
	ask[string](t, Server(t), "SELECT 'still there'")
}

func TestChoiceOfSource(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		want string
	}{
		"unknown":     {map[string]string{"PGBELL_TEST_SOURCE": "cloud"}, "use docker, binaries or url"},
		"no url":      {map[string]string{"PGBELL_TEST_SOURCE": "url", "PGBELL_TEST_DATABASE_URL": ""}, "is not set"},
		"bad url":     {map[string]string{"PGBELL_TEST_SOURCE": "url", "PGBELL_TEST_DATABASE_URL": "host=here"}, "postgres://"},
		"dead url":    {map[string]string{"PGBELL_TEST_SOURCE": "url", "PGBELL_TEST_DATABASE_URL": "postgres://127.0.0.1:1/x"}, "connect"},
		"no binaries": {map[string]string{"PGBELL_TEST_SOURCE": "binaries", "PGBELL_PG_BIN": "/nowhere"}, "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range test.env {
				t.Setenv(key, value)
			}
			s, err := choose(t.Context())
			if err == nil {
				_ = s.close()
				t.Fatalf("it chose %s", s.from)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %q, want one with %q", err, test.want)
			}
		})
	}
}

func TestURLOfAnotherServerIsTaken(t *testing.T) {
	t.Setenv("PGBELL_TEST_SOURCE", "url")
	t.Setenv("PGBELL_TEST_DATABASE_URL", Server(t))
	s, err := choose(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.url != os.Getenv("PGBELL_TEST_DATABASE_URL") || !s.shared {
		t.Errorf("got %+v", s)
	}
}
