package triggers_test

import (
	"database/sql"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/triggers"
)

const oddTable = `app."It's \ odd"`

// oddFeed is one whose every word needs quoting.
var oddFeed = triggers.Feed{
	Table: oddTable, Scopes: []string{"tasks", "a:{a,b}:{c'd}", `back\slash`},
	Audience: []string{"c'd"}, Columns: []string{"a,b", "e"}, Payload: []string{"e"}, State: "ok",
}

// The text is run by goose and by Postgres: up, down, up.
func TestMigrationDownRestoresWhatWasBefore(t *testing.T) {
	former := triggers.Feed{Table: oddTable, Scopes: []string{"it's"}, Audience: []string{"e", "c'd"}, Volatile: true, State: "ok"}
	for _, test := range []struct {
		name   string
		before *triggers.Feed
		after  []triggers.Feed // Down
	}{
		{"no feed", nil, nil},
		{"another feed", &former, []triggers.Feed{former}},
		{"the same feed", &oddFeed, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := pgtest.Migrated.Database(t)
			db := connect(t, url)
			exec(t, db, `create schema app; create table app."It's \ odd" (id int primary key, "a,b" text, "c'd" text, e text)`)
			if test.before != nil {
				if err := triggers.Attach(t.Context(), db, *test.before); err != nil {
					t.Fatal(err)
				}
			}
			text, err := triggers.Migration(oddFeed, test.before)
			if err != nil {
				t.Fatal(err)
			}
			std, err := sql.Open("pgx", url)
			if err != nil {
				t.Fatal(err)
			}
			defer std.Close()
			p, err := goose.NewProvider(goose.DialectPostgres, std, fstest.MapFS{"00001_feed.sql": {Data: []byte(text)}})
			if err != nil {
				t.Fatal(err)
			}
			up := func() (err error) { _, err = p.Up(t.Context()); return err }
			down := func() (err error) { _, err = p.Down(t.Context()); return err }
			for _, step := range []struct {
				name string
				do   func() error
				want []triggers.Feed
			}{{"Up", up, []triggers.Feed{oddFeed}}, {"Down", down, test.after}, {"Up again", up, []triggers.Feed{oddFeed}}} {
				if err := step.do(); err != nil {
					t.Fatalf("%s: %v:\n%s", step.name, err, text)
				}
				list, err := triggers.List(t.Context(), db)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(step.want, list); diff != "" && len(step.want)+len(list) > 0 {
					t.Errorf("feeds after %s (-want +got):\n%s", step.name, diff)
				}
			}
		})
	}
}

func TestSQLAttachesAndUndoes(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create schema app; create table app."It's \ odd" (id int primary key, "a,b" text, "c'd" text, e text)`)
	former := triggers.Feed{Table: oddTable, Scopes: []string{"it's", "two\nlines"}, State: "ok"}
	do, undo, err := triggers.SQL(oddFeed, &former)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		sql  string
		want triggers.Feed
	}{{do, oddFeed}, {undo, former}} {
		exec(t, db, step.sql)
		list, err := triggers.List(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]triggers.Feed{step.want}, list); diff != "" {
			t.Errorf("feeds after %s (-want +got):\n%s", step.sql, diff)
		}
	}
}
