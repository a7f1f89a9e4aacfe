package main

import (
	"os"
	"testing"
)

func TestTypesOfLiveQueries(t *testing.T) {
	db := migrated(t)
	const none = "// By pgbell types.\nimport 'pgbell'\n\ndeclare module 'pgbell' {\n  interface Lives {\n  }\n}\n"
	if got := mustRun(t, db, "types"); got != none {
		t.Errorf("got\n%s\nwant\n%s", got, none)
	}
	exec1(t, db, `create schema crm;
		create type mood as enum ('fine', 'so "so"');
		create domain moods as mood[];
		create table tasks (id bigint primary key, gone int, done boolean, tags text[], mood mood, moods moods, at timestamptz, "due on" date, info jsonb, price numeric, self point);
		alter table tasks drop column gone;
		create function board(p int, m mood, user_id text, groups text[], all_of int[], big int8, d boolean, info jsonb) returns setof tasks stable begin atomic select * from tasks; end;
		create function crm.counts() returns table (n bigint, t tasks) stable begin atomic select count(*), null::tasks from tasks; end;
		create function total(word text) returns int stable begin atomic select 1; end;
		select pgbell.live('board'), pgbell.live('crm.counts'), pgbell.live('total');`)
	const want = `// By pgbell types.
import 'pgbell'

declare module 'pgbell' {
  interface Lives {
    board: {
      args: {p: number; m: "fine" | "so \"so\""; all_of: string; big: number | bigint | string; d: boolean; info: string}
      row: {id: number | string | null; done: boolean | null; tags: (string | null)[] | null; mood: "fine" | "so \"so\"" | null; moods: ("fine" | "so \"so\"" | null)[] | null; at: string | null; "due on": string | null; info: unknown; price: number | string | null; self: string | null}
    }
    "crm.counts": {
      args: {}
      row: {n: number | string | null; t: unknown}
    }
    total: {
      args: {word: string}
      row: {total: number | null}
    }
  }
}
`
	if got := mustRun(t, db, "types"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What the React example has is what it says, and npm run build checks that the module takes it.
func TestTypesOfTheReactExample(t *testing.T) {
	db := migrated(t)
	schema, err := os.ReadFile("../../examples/react/server/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, db, string(schema))
	want, err := os.ReadFile("../../examples/react/src/lives.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	if got := mustRun(t, db, "types"); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
