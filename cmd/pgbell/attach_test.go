package main

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/triggers"
)

const proposalTables = `
	create table projects (id int primary key);
	create table tasks (id int primary key, project_id int references projects, title text, owner text);
	create table news (line text)`

const tasksProposal = `public.tasks

  key       id
  scopes    tasks                 any change of the table
            task:{id}             one row, by the primary key
            project:{project_id}  foreign key to public.projects
  audience  owner                 by its name

warning: owner may be null: of a row without an owner nobody hears

select pgbell.attach(
  'public.tasks'::regclass,
  scopes => array['tasks', 'task:{id}', 'project:{project_id}'],
  audience => array['owner']
);

`

const question = "Attach it? [y/N] "

func TestAttachOnATerminalProposesAndAsks(t *testing.T) {
	db := migrated(t)
	exec1(t, db, proposalTables)
	attached := "attached public.tasks: scopes tasks, task:{id}, project:{project_id}, heard by the users in owner\n"
	for _, test := range []struct {
		name, keys, shows string
		code, feeds       int
	}{
		{"no", "n\r", "n\nnothing was attached\n", 0, 0},
		{"enter", "\r", "\nnothing was attached\n", 0, 0},
		{"something else", "yeah\r", "yeah\nnothing was attached\n", 0, 0},
		{"end of input", "\x04", "\nnothing was attached\n", 0, 0},
		{"interrupt", "\x03", "^C\npgbell: interrupted\n", 1, 0},
		{"yes", "Y\r", "Y\n" + attached, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := onTerminal(t, db, []string{"NO_COLOR=1"}, "attach", "tasks")
			x.see(t, question)
			x.write(t, test.keys)
			if code := x.exit(t); code != test.code {
				t.Errorf("exit %d, want %d", code, test.code)
			}
			if diff := cmp.Diff(tasksProposal+question+test.shows, x.out); diff != "" {
				t.Errorf("the terminal (-want +got):\n%s", diff)
			}
			if got := decode[[]feedJSON](t, mustRun(t, db, "feeds", "--json")); len(got) != test.feeds {
				t.Errorf("%d feeds, want %d", len(got), test.feeds)
			}
		})
	}
	t.Run("again, with options", func(t *testing.T) {
		x := onTerminal(t, db, nil, "attach", "tasks", "--audience", "title", "--durable=false")
		x.see(t, question)
		for _, want := range []string{
			"title", "as you say", "durable => false", "\x1b[1mpublic.tasks\x1b[0m\n",
			"\x1b[33mwarning:\x1b[0m it has a feed already, which this replaces: scopes tasks, task:{id}, project:{project_id}, heard by the users in owner\n",
		} {
			if !strings.Contains(x.out, want) {
				t.Errorf("the terminal shows %q, want %q", x.out, want)
			}
		}
		x.write(t, "yes\r")
		x.see(t, "heard by the users in title")
		if code := x.exit(t); code != 0 {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("nobody owns it", func(t *testing.T) {
		x := onTerminal(t, db, []string{"NO_COLOR=1"}, "attach", "news")
		x.see(t, question)
		for _, want := range []string{"  key       none\n", "  audience  everyone\n", "warning: no column looks like an owner: everybody may hear", "warning: there is no primary key"} {
			if !strings.Contains(x.out, want) {
				t.Errorf("the terminal shows %q, want %q", x.out, want)
			}
		}
	})
	// That everyone may hear takes more than a yes.
	const who = "Who may hear of a row? Type the column that says whose it is, or everyone: "
	for _, test := range []struct{ keys, shows string }{
		{"\r", "nothing was attached"}, {"y\r", `no column "y"`}, {"\x04", "nothing was attached"},
		{"line\r", "heard by the users in line"}, {"everyone\r", "heard by everyone"},
	} {
		t.Run("nobody owns it: "+test.keys, func(t *testing.T) {
			x := onTerminal(t, db, []string{"NO_COLOR=1"}, "attach", "news")
			x.see(t, question)
			x.write(t, "y\r")
			x.see(t, who)
			x.write(t, test.keys)
			x.see(t, test.shows)
			x.exit(t)
		})
	}
}

// All tables of a schema, in one migration that runs, up and down.
func TestAttachPrintsASchema(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create schema crm; create table tasks (id int primary key);
		create table crm.customers (id int primary key, email text, referred_by int references crm.customers);
		create table crm.tasks (id int primary key, customer_id int references crm.customers);
		create table crm.days (day date primary key) partition by range (day); create table crm.day partition of crm.days default;
		create table crm.done (id int primary key, owner text not null); create view crm.open as select 1;
		select pgbell.attach('crm.done', '{done}', '{owner}')`)
	const want = `-- +goose Up
-- Proposed by the definition of crm.customers:
--   scope customers: any change of the table
--   scope customer:{id}: one row, by the primary key
--   scope customer:{referred_by}: foreign key to crm.customers
-- Warning: no column looks like an owner: everybody may hear of every row; name one with --audience if that is wrong
-- +goose StatementBegin
select pgbell.attach(
  'crm.customers'::regclass,
  scopes => array['customers', 'customer:{id}', 'customer:{referred_by}']
);
-- +goose StatementEnd

-- Proposed by the definition of crm.days:
--   scope days: any change of the table
--   scope day:{day}: one row, by the primary key
-- Warning: no column looks like an owner: everybody may hear of every row; name one with --audience if that is wrong
-- +goose StatementBegin
select pgbell.attach(
  'crm.days'::regclass,
  scopes => array['days', 'day:{day}']
);
-- +goose StatementEnd

-- crm.done has a feed.

-- Proposed by the definition of crm.tasks:
--   scope crm.tasks: any change of the table
--   scope crm.task:{id}: one row, by the primary key
--   audience customer_id: foreign key to crm.customers, which has email
-- Warning: customer_id may be null: of a row without an owner nobody hears
-- +goose StatementBegin
select pgbell.attach(
  'crm.tasks'::regclass,
  scopes => array['crm.tasks', 'crm.task:{id}'],
  audience => array['customer_id']
);
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
select pgbell.detach('crm.tasks'::regclass);
-- +goose StatementEnd
-- +goose StatementBegin
select pgbell.detach('crm.days'::regclass);
-- +goose StatementEnd
-- +goose StatementBegin
select pgbell.detach('crm.customers'::regclass);
-- +goose StatementEnd
`
	got := mustRun(t, db, "attach", "--schema", "crm", "--print")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	up, down, _ := strings.Cut(got, "-- +goose Down\n")
	exec1(t, db, up)
	if got := decode[[]feedJSON](t, mustRun(t, db, "feeds", "--json")); len(got) != 4 {
		t.Errorf("%d feeds", len(got))
	}
	wantError(t, runOn(t, db, "attach", "--schema", "crm", "--print"), 1, "schema crm has no table that could be attached and isn't")
	exec1(t, db, down)
	sql := mustRun(t, db, "attach", "--schema=crm", "--print=sql")
	exec1(t, db, sql)
	if got := decode[[]feedJSON](t, mustRun(t, db, "feeds", "--json")); len(got) != 4 {
		t.Errorf("%d feeds", len(got))
	}
	wantError(t, runOn(t, db, "attach", "--schema", "nowhere", "--print"), 1, "there is no schema nowhere")
	for _, args := range [][]string{{"attach", "--schema", "crm"}, {"attach", "tasks", "--schema", "crm", "--print"}, {"attach", "--schema", "crm", "--print", "--scope", "x"}} {
		wantError(t, runOn(t, db, args...), 2, "--schema goes with --print")
	}
}

// Where nobody can answer, the proposal is all there is.
func TestAttachOffATerminalSaysWhichOptionsToGive(t *testing.T) {
	db := migrated(t)
	exec1(t, db, proposalTables+`; create table "it's" ("a,b" int primary key, owner text)`)
	r := runOn(t, db, "attach", "tasks")
	const says = "pgbell: nothing was attached: to take this proposal run: pgbell attach public.tasks --scope tasks --scope 'task:{id}' --scope 'project:{project_id}' --audience owner\n"
	if diff := cmp.Diff(result{2, tasksProposal, says}, r, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("attach tasks (-want +got):\n%s", diff)
	}
	r = runOn(t, db, "attach", `"it's"`, "--columns", `"a,b"`)
	want := `run: pgbell attach 'public."it'\''s"' --scope 'it'\''s' --scope 'it'\'':{a,b}' --audience owner --columns '"a,b"'` + "\n"
	if !strings.HasSuffix(r.stderr, want) {
		t.Errorf("attach says %q, want %q", r.stderr, want)
	}

	r = runOn(t, db, "attach", "news", "--json")
	got := decode[proposalJSON](t, r.stdout)
	wanted := proposalJSON{
		Table: "public.news", Key: []string{}, Scopes: []triggers.Reason{{What: "news", Why: "any change of the table"}}, Durable: true, Warnings: got.Warnings,
		SQL: "select pgbell.attach(\n  'public.news'::regclass,\n  scopes => array['news']\n);",
	}
	if diff := cmp.Diff(wanted, got); diff != "" || r.code != 2 || len(got.Warnings) != 2 {
		t.Errorf("attach --json: exit %d, %d warnings (-want +got):\n%s", r.code, len(got.Warnings), diff)
	}
	if got := decode[[]feedJSON](t, mustRun(t, db, "feeds", "--json")); len(got) != 0 {
		t.Errorf("feeds %v, want none", got)
	}
	wantError(t, runOn(t, db, "attach", "taskss"), 1, "did you mean public.tasks?")
	wantError(t, runOn(t, "postgres://u@127.0.0.1:1/d", "attach", "tasks"), 2, "--scope tasks", "no PostgreSQL answers at 127.0.0.1:1")
}

func TestAttachPrintsWhatAttachesAndUndoes(t *testing.T) {
	db := migrated(t)
	exec1(t, db, proposalTables)
	const nowhere = "postgres://nowhere.invalid/x"
	const unasked = "-- No database was there to say whether the table has a feed already: to undo this detaches it.\n"
	const attach = `select pgbell.attach(
  'app.tasks'::regclass,
  scopes => array['it''s'],
  audience => array['owner', 'team']
);
`
	const detach = `select pgbell.detach('app.tasks'::regclass);
`
	const goose = `-- +goose Up
-- +goose StatementBegin
` + attach + `-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
` + detach + `-- +goose StatementEnd
`
	for _, test := range []struct{ name, db, flag, want string }{
		{"goose", db, "--print", goose},
		{"goose by its name", db, "--print=goose", goose},
		{"SQL", db, "--print=sql", attach + "\n-- To undo it:\n-- " + detach},
		{"no database", nowhere, "--print", unasked + goose},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := runOn(t, test.db, "attach", "app.tasks", "--scope", "it's", "--audience", "owner,team", test.flag)
			if diff := cmp.Diff(result{0, test.want, ""}, r, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("attach %s (-want +got):\n%s", test.flag, diff)
			}
		})
	}
	mustRun(t, db, "attach", "tasks", "--scope", "former")
	out := withoutPreview(t, db, mustRun(t, db, "attach", "tasks", "--scope", "next", "--print=sql"))
	if want := "-- select pgbell.attach(\n--   'tasks'::regclass,\n--   scopes => array['former']\n-- );\n"; !strings.HasSuffix(out, want) {
		t.Errorf("attach --print=sql of a table with a feed:\n%s\nwant at the end:\n%s", out, want)
	}
}

// withoutPreview checks that out shows the functions and triggers that it makes, once
// it is run, and returns what stands before that.
func withoutPreview(t *testing.T, db, out string) string {
	t.Helper()
	before, shown, found := strings.Cut(out, "\n-- It makes these functions and triggers (docs/sql.md says more of them):\n-- \n")
	if !found {
		t.Fatalf("no preview in\n%s", out)
	}
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	if _, err := tx.Exec(t.Context(), out); err != nil { // all but the statement is a comment
		t.Fatal(err)
	}
	rows, err := tx.Query(t.Context(), `select p.prosrc from pg_proc p where p.proname ~ '^feed_[0-9]+_'
		and p.proname ~ (select format('^feed_%s_', f.id) from pgbell.feed f order by definition desc limit 1)`)
	if err != nil {
		t.Fatal(err)
	}
	bodies, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(bodies) < 4 {
		t.Fatalf("%d functions, %v", len(bodies), err)
	}
	for _, body := range bodies {
		if !strings.Contains(shown, "$function$"+strings.ReplaceAll(body, "\n", "\n-- ")+"$function$;") {
			t.Errorf("it makes\n%s\nbut shows\n%s", body, shown)
		}
	}
	if !strings.Contains(shown, "-- create or replace trigger pgbell_") {
		t.Errorf("it shows no trigger:\n%s", shown)
	}
	return before
}

func TestAttachPrintsTheProposalWithItsReasons(t *testing.T) {
	db := migrated(t)
	exec1(t, db, proposalTables)
	const comment = `-- Proposed by the definition of public.tasks:
--   scope tasks: any change of the table
--   scope task:{id}: one row, by the primary key
--   scope project:{project_id}: foreign key to public.projects
--   audience owner: by its name
-- Warning: owner may be null: of a row without an owner nobody hears
`
	const sql = `select pgbell.attach(
  'public.tasks'::regclass,
  scopes => array['tasks', 'task:{id}', 'project:{project_id}'],
  audience => array['owner']
);
`
	const undo = "select pgbell.detach('public.tasks'::regclass);\n"
	for flag, want := range map[string]string{
		"--print":     comment + "-- +goose Up\n-- +goose StatementBegin\n" + sql + "-- +goose StatementEnd\n\n-- +goose Down\n-- +goose StatementBegin\n" + undo + "-- +goose StatementEnd\n",
		"--print=sql": comment + sql + "\n-- To undo it:\n-- " + undo,
	} {
		r := runOn(t, db, "attach", "tasks", flag)
		if flag == "--print=sql" {
			r.stdout = withoutPreview(t, db, r.stdout)
		}
		if diff := cmp.Diff(result{0, want, ""}, r, cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("attach tasks %s (-want +got):\n%s", flag, diff)
		}
	}
	exec1(t, db, `create table odd (id int primary key, "x
-- +goose Down
_id" int)`)
	mustRun(t, db, "attach", "odd", "--scope", "former")
	out := mustRun(t, db, "attach", "odd", "--print=sql")
	if !strings.Contains(out, "--   scope x\\n-- +goose Down\\n:{") || !strings.Contains(out, "\n-- Warning: it has a feed already") || !strings.Contains(out, "--   scopes => array['former']") {
		t.Errorf("attach odd --print=sql:\n%s", out)
	}
	exec1(t, db, out) // all but the statement is a comment
	wantError(t, runOn(t, "postgres://u@127.0.0.1:1/d", "attach", "tasks", "--print"), 2, "--scope tasks", "no PostgreSQL answers at 127.0.0.1:1")
}

// Else the lines of an order would tell everyone of orders that are not for them.
func TestProposalWarnsOfAScopeThatAnotherFeedGuards(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table orders (id int primary key, placed_by text, members text[]); create table order_lines (id int primary key, order_id int references orders, owner text);
		create table secrets (id int primary key); select pgbell.attach('secrets', array['{{order}}:{id}', 'orderly:{id}'], array[]::text[])`)
	warnings := func(args ...string) string {
		return strings.Join(decode[proposalJSON](t, runOn(t, db, append([]string{"attach", "order_lines", "--json"}, args...)...).stdout).Warnings, "\n")
	}
	exec1(t, db, `alter table order_lines drop owner; select pgbell.attach('orders', array['order:{id}'])`)
	if got := warnings(); strings.Contains(got, "guards") {
		t.Errorf("where orders are for everyone it warns: %s", got)
	}
	exec1(t, db, `select pgbell.attach('orders', array['orders', 'order:{id}'], array['placed_by', 'members'])`)
	const want = "public.orders guards order:{id} by placed_by, members; here everyone would hear of a row: copy the owner into this table, or let --authorize-sql decide who may subscribe"
	if got := warnings(); !strings.Contains(got, want) || strings.Contains(got, "secrets") {
		t.Errorf("warnings %s, want %s", got, want)
	}
	if got := warnings("--audience", "order_id"); strings.Contains(got, "guards") {
		t.Errorf("with an audience it warns: %s", got)
	}
	exec1(t, db, `select pgbell.attach('secrets', array['order:{id}'], array[]::text[])`)
	if got := warnings(); !strings.Contains(got, "public.secrets lets nobody hear of order:{id}; here everyone") {
		t.Errorf("warnings %s", got)
	}
}

func TestATableWithAnOddNameIsToBeQuoted(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create schema "Odd Schema"; create table "Odd Schema"."Größe;{x}" (id int primary key)`)
	const quoted = `"Odd Schema"."Größe;{x}"`
	for _, args := range [][]string{{"attach", "Odd Schema.Größe;{x}"}, {"attach", "Odd Schema.Größe;{x}", "--scope", "x"}, {"detach", `"Odd Schema.Größe;{x}`}} {
		wantError(t, runOn(t, db, args...), 1, "quote it as SQL does: '"+quoted+"'")
	}
	mustRun(t, db, "attach", quoted, "--scope", "x")
}
