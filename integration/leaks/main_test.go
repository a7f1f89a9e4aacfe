package leaks

import (
	"cmp"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/migrations"
)

// patience is after how long without what must come a test gives up. It is no measure of speed.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	// Enough for each change of the code: what is rare, a longer search finds.
	checks, steps := "8", "40"
	if testing.Short() {
		checks, steps = "15", "80" // of which rapid takes a fifth and a half
	}
	for name, value := range map[string]string{
		"rapid.checks": cmp.Or(os.Getenv("RAPID_CHECKS"), checks),
		"rapid.steps":  steps,
	} {
		if given[name] {
			continue
		}
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, "leaks:", err)
			os.Exit(2)
		}
	}
	pgtest.Main(m)
}

// tables are what the model writes to. Those with rows that have an audience have the same
// columns. In members and others stands who is in which team.
const tables = `
create table docs (id text primary key, project_id int, owner text, members text[], secret text, hidden text);
create table notes (like docs including all);
create table quick (like docs including all);
create table parts (id text, project_id int, owner text, members text[], secret text, hidden text,
	primary key (id, project_id)) partition by list (project_id);
create table parts_1 partition of parts for values in (1);
create table parts_2 partition of parts for values in (2, 3);
create table fence (n bigint primary key);
create table members (id int primary key, user_id text, team text);
create table others (like members including all);
create function teams_of(user_id text) returns text[] language sql stable as $$
	select array_agg(team) from (select * from members union all select * from others) m where m.user_id = $1
$$;
select pgbell.attach('fence', array['fence'], durable => false)`

var template = pgtest.Template{Make: func(ctx context.Context, url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := migrations.Up(ctx, db); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, tables)
	return err
}}

// database is a test's own, with the sessions that write to it.
type database struct {
	url          string
	writer, held *pgx.Conn
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	d := &database{url: template.Database(t)}
	for _, conn := range []**pgx.Conn{&d.writer, &d.held} {
		var err error
		if *conn, err = pgx.Connect(t.Context(), d.url); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := (*conn).Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	return d
}
