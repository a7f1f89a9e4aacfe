package deps_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/triggers/deps"
)

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func exec(t testing.TB, db *pgx.Conn, sql string) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

const board = `
create type mood as enum ('open', 'shut');
create domain user_name as text;
create table users (id int primary key, team int, name user_name);
create table projects (id uuid primary key, team int, title varchar(20));
create table tasks (id bigint primary key, project_id uuid, owner text, state mood, done boolean, due date, size numeric, body char(3), seen timestamptz, weight float8, small smallint);
create view open_tasks as select t.*, p.team from tasks t join projects p on p.id = t.project_id where not t.done;
create view wide as select *, (select max(u.name) from users u where u.team = o.team) as boss from open_tasks o;`

// shown writes dependencies as table(columns) where column = value, and so on.
func shown(d deps.Dependencies) string {
	var parts []string
	for _, s := range d.Scans {
		text := strings.TrimPrefix(s.Table, "public.") + "(" + strings.Join(s.Columns, " ") + ")"
		for i, e := range s.Equals {
			text += []string{" where ", " and "}[min(i, 1)] + e.Column + " = " + e.Value.String()
		}
		for _, m := range s.Among {
			text += " among " + m.Column + ": " + strings.TrimPrefix(m.Of.String(), "public.")
		}
		parts = append(parts, text)
	}
	for _, name := range d.Opaque {
		parts = append(parts, "opaque "+name)
	}
	for _, name := range d.Time {
		parts = append(parts, "time "+name)
	}
	return strings.Join(parts, "; ")
}

func TestEachRule(t *testing.T) {
	db := connect(t, pgtest.Database(t))
	exec(t, db, board)
	for query, want := range map[string]string{
		"select id from tasks where owner = $1": "tasks(id owner) where owner = $1",
		"table users":                           "users(id team name)",
		"values (1, 2)":                         "",
		"select 1":                              "",
		"select count(*) from users":            "users()",
		"select 1 from users where id = 3;  -- and that's it":             "users(id) where id = 3",
		"select id from tasks where owner = $1 or id = 7":                 "tasks(id owner)",
		"select id from tasks where not (owner = $1)":                     "tasks(id owner)",
		"select id from tasks where coalesce(owner, 'x') = $1":            "tasks(id owner)",
		"select id from tasks where (owner, id) = ($2, $1)":               "tasks(id owner) where id = $1 and owner = $2",
		"select id from tasks where owner = (case when true then $1 end)": "tasks(id owner)",

		// Equal text.
		"select from tasks where state = 'open' and done and project_id = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'": "tasks(project_id state done) where project_id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' and state = 'open' and done = true",
		"select from tasks where not done and due = '2024-02-29' and small = 3":                                   "tasks(done due small) where done = false and due = '2024-02-29' and small = 3",
		"select from tasks where id = -5 and owner = 'it''s'":                                                     "tasks(id owner) where id = -5 and owner = 'it''s'",
		"select from tasks where id = 9223372036854775807 and due = '0044-03-15 BC'":                              "tasks(id due) where id = 9223372036854775807",
		"select from tasks where due = 'infinity'":                                                                "tasks(due)",
		"select from tasks where size = 1 and body = 'x' and seen = '2024-01-01' and weight = 1":                  "tasks(size body seen weight)",
		"select from tasks where due = '2024-01-01'::timestamp":                                                   "tasks(due)",
		"select from tasks where owner = 'Ä' and id = 3::smallint":                                                "tasks(id owner) where owner = 'Ä'", // the cast is a function
		"select from users where name = $1 and id = $2::bigint":                                                   "users(id name) where id = $2 and name = $1",
		"select from tasks where owner = $1::name":                                                                "tasks(owner)",
		"select from projects where title = $1":                                                                   "projects(title) where title = $1",
		"select from tasks where done is true and owner like 'a' and id between 1 and 1":                          "tasks(id owner done)",

		// Joins.
		"select t.id from tasks t join projects p on p.id = t.project_id where p.id = $1":                        "tasks(id project_id) where project_id = $1; projects(id) where id = $1",
		"select t.id from tasks t, projects p where p.id = t.project_id and t.project_id = $1":                   "tasks(id project_id) where project_id = $1; projects(id) where id = $1",
		"select t.id from tasks t left join projects p on p.id = t.project_id and t.owner = $1":                  "tasks(id project_id owner); projects(id)",
		"select t.id from tasks t left join projects p on p.id = t.project_id where t.project_id = $1":           "tasks(id project_id) where project_id = $1; projects(id) where id = $1",
		"select t.id from tasks t left join projects p on p.id = $1":                                             "tasks(id); projects(id) where id = $1",
		"select t.id from projects p right join tasks t on p.id = t.project_id and p.team = 3":                   "tasks(id project_id); projects(id team) where team = 3",
		"select t.id from tasks t full join projects p on p.id = t.project_id where p.team = $1":                 "tasks(id project_id); projects(id team) where team = $1",
		"select id from tasks join (values (1::bigint), (2)) v (id) using (id)":                                  "tasks(id)",
		"select u.id from users u join (select id, team as t from projects) p on p.t = u.team where u.team = $1": "users(id team) where team = $1; projects(team) where team = $1",
		"select id from projects join users using (team, id) where team = $1":                                    "",

		// Subqueries.
		"with p as (select * from projects where id = $1) select t.id from tasks t join p on p.id = t.project_id":                                       "tasks(id project_id) where project_id = $1; projects(id) where id = $1",
		"select z.id from (select * from tasks order by seen limit 3) z where z.owner = $1":                                                             "tasks(id owner seen)",
		"select z.id from (select * from tasks where owner = $1 limit 3) z":                                                                             "tasks(id owner) where owner = $1",
		"select z.id from (select distinct owner, id from tasks) z where z.owner = $1":                                                                  "tasks(id owner) where owner = $1",
		"select z.owner from (select owner, count(*) as n from tasks group by owner) z where z.owner = $1 and n = 3":                                    "tasks(owner) where owner = $1",
		"select id from (select id, owner from tasks union all select id, name from users) z where z.owner = $1":                                        "tasks(id owner); users(id name)",
		"select u.id, (select count(*) from tasks t where t.owner = u.name) from users u where u.name = $1":                                             "users(id name) where name = $1; tasks(owner) where owner = $1",
		"select u.id from users u where u.name = $1 and u.name in (select t.owner from tasks t)":                                                        "users(id name) where name = $1; tasks(owner) where owner = $1",
		"select u.id from users u where u.name = $1 and u.name not in (select t.owner from tasks t)":                                                    "users(id name) where name = $1; tasks(owner)",
		"select u.id from users u where exists (select 1 from tasks t where t.owner = u.name and t.state = 'open') and u.name = $1":                     "users(id name) where name = $1; tasks(owner state) where owner = $1 and state = 'open'",
		"select p.id, x.id from projects p, lateral (select id from tasks t where t.project_id = p.id limit 1) x where p.id = $1":                       "projects(id) where id = $1; tasks(id project_id) where project_id = $1",
		"with recursive r as (select id, team from users where id = $1 union select u.id, u.team from users u join r on u.team = r.id) select * from r": "users(id team) where id = $1; users(id team)",

		// Views, and what is used of them.
		"select id, due from open_tasks where project_id = $1": "tasks(id project_id done due) where project_id = $1 and done = false; projects(id) where id = $1",
		"select id from wide where team = $1":                  "tasks(id project_id done) where done = false among project_id: projects.id; projects(id team) where team = $1",
		"select boss from wide where team = $1":                "tasks(project_id done) where done = false among project_id: projects.id; projects(id team) where team = $1; users(team name) where team = $1",
		"select w from wide w":                                 "tasks(id project_id owner state done due size body seen weight small) where done = false; projects(id team) among id: tasks.project_id; users(team name) among team: projects.team",
		"select t from tasks t":                                "tasks(id project_id owner state done due size body seen weight small)",

		// What no trigger tells of.
		"select relname from pg_class":                                            "opaque pg_catalog.pg_class",
		"select ctid, id from tasks":                                              "tasks(id); opaque public.tasks.ctid",
		"select tableoid from users":                                              "users(); opaque public.users.tableoid",
		"select query_to_xml('select 1', true, true, '') from users":              "users(); opaque query_to_xml(text,boolean,boolean,text)",
		"select id from tasks where seen > now() - interval '1 day'":              "tasks(id seen); time now()",
		"select id from tasks where due = current_date and seen < localtimestamp": "tasks(id due seen); time current_date; time localtimestamp",
		"select id from tasks where due = 'today'":                                "tasks(id due); time 'now', 'today' or the like",
		"select id from tasks tablesample system (50)":                            "tasks(id); time tablesample",
		"select random(), id from users order by 1":                               "users(id); time random()",
		"select to_char(seen, 'YYYY'), current_user, current_setting('a.b', true), jsonb_agg(t), seen::text from tasks t group by 1, 5": "tasks(id project_id owner state done due size body seen weight small)",
		"select age(seen) from tasks": "tasks(seen); time current_date",
	} {
		d, err := deps.Of(t.Context(), db, query)
		if want == "" && strings.Contains(query, "using (team, id)") { // uuid and int don't compare
			if q := (*deps.QueryError)(nil); !errors.As(err, &q) {
				t.Errorf("%s: %v", query, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", query, err)
		} else if got := shown(d); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
	var left int
	if err := db.QueryRow(t.Context(), "select count(*) from pg_proc where proname = 'pgbell_query'").Scan(&left); err != nil || left > 0 {
		t.Errorf("%d functions are left (%v)", left, err)
	}
}

// A column that is equal to one of a bound scan is among the values of that one's rows.
func TestColumnIsAmongThoseOfABoundScan(t *testing.T) {
	db := connect(t, pgtest.Database(t))
	exec(t, db, board+`
		create domain feeling as mood;
		create table cards (id int primary key, board int, owner int, due date, tag text, done boolean, felt feeling);
		create table people (id int primary key, team int, born date, gone boolean, now mood);
		create table teams (id int primary key, firm int, name text);
		create table firms (id int primary key, land int);
		create table lands (id int primary key);
		create table hidden (id int primary key, owner int);
		alter table hidden enable row level security;
		create view all_cards as select c.id, c.board, c.owner, h.owner as second from cards c left join hidden h on h.id = c.id;
		create table "Odd }{ table" (" a" int, "b""c" text);`)
	for query, want := range map[string]string{
		"select c.id from cards c join people p on p.id = c.owner where c.board = $1":                     "cards(id board owner) where board = $1; people(id) among id: cards.owner",
		"select c.id from cards c left join people p on p.id = c.owner where c.board = 7":                 "cards(id board owner) where board = 7; people(id) among id: cards.owner",
		"select c.id from cards c right join people p on p.id = c.owner where c.board = $1":               "people(id) among id: cards.owner; cards(id board owner) where board = $1", // no row is made up that passes
		"select c.id from cards c right join people p on p.id = c.owner and c.board = $1":                 "people(id); cards(id board owner) where board = $1",
		"select c.id from cards c full join people p on p.id = c.owner where c.board = $1":                "cards(id board owner) where board = $1; people(id)",
		"select c.id from cards c join people p on p.id = c.owner or p.team = c.id where c.board = $1":    "cards(id board owner) where board = $1; people(id team)",
		"select c.id from cards c join people p on p.born = c.due where c.board = $1":                     "cards(id board due) where board = $1; people(born)",
		"select c.id from cards c join people p on p.id = c.owner and not p.gone where c.board = $1":      "cards(id board owner) where board = $1; people(id gone) where gone = false among id: cards.owner",
		"select c.id from cards c join people p on p.id = c.owner where c.tag = 'x'":                      "cards(id owner tag) where tag = 'x'; people(id) among id: cards.owner",
		"select c.id from cards c join people p on p.id = c.owner where p.team = $1 and c.board = $2":     "cards(id board owner) where board = $2; people(id team) where team = $1",
		"select c.id from cards c join cards d on d.id = c.owner where c.board = $1":                      "cards(id board owner) where board = $1; cards(id) among id: cards.owner",
		"select id from cards where board = $1 and owner in (select p.id from people p where p.team > 3)": "cards(id board owner) where board = $1; people(id team) among id: cards.owner",
		"select id from cards where board = $1 and owner not in (select p.id from people p)":              "cards(id board owner) where board = $1; people(id)",
		"select id, (select p.team from people p where p.id = c.owner) from cards c where c.board = $1":   "cards(id board owner) where board = $1; people(id team) among id: cards.owner",

		"select t.id from cards c join people p on p.id = c.owner left join teams t on t.id = p.team where c.board = $1 and not p.gone":                                      "cards(board owner) where board = $1; people(id team gone) where gone = false among id: cards.owner; teams(id) among id: people.team",
		"select 1 from cards c join people p on p.id = c.owner join teams t on t.id = p.team join firms f on f.id = t.firm join lands l on l.id = f.land where c.board = $1": "cards(board owner) where board = $1; people(id team) among id: cards.owner; teams(id firm) among id: people.team; firms(id land) among id: teams.firm; lands(id)",

		"select c.id from cards c join people p on p.now = c.felt::mood where c.board = $1": "cards(id board felt) where board = $1; people(now)",
		"select c.id from cards c join people p on p.id = c.owner where c.felt::mood = $1":  "cards(id owner felt) where felt = $1; people(id)",

		// Through limits, and row security.
		"select p.id from (select owner from cards where board = $1 order by id limit 3) z join people p on p.id = z.owner":  "cards(id board owner) where board = $1; people(id) among id: cards.owner",
		"select z.id from (select id from people order by team limit 3) z join cards c on c.owner = z.id where c.board = $1": "people(id team); cards(board owner) where board = $1",
		"select z.id from cards c, lateral (select id from people p where p.id = c.owner limit 3) z where c.board = $1":      "cards(board owner) where board = $1; people(id) among id: cards.owner",
		"select p.team from all_cards c join people p on p.id = c.owner where c.board = $1":                                  "cards(id board owner) where board = $1; hidden(id) among id: cards.id; people(id team) among id: cards.owner",
		"select p.team from hidden h join people p on p.id = h.owner where h.id = $1":                                        "hidden(id owner) where id = $1; people(id team)",
		"select p.team from all_cards c join people p on p.id = c.second where c.board = $1":                                 "cards(id board) where board = $1; hidden(id owner) among id: cards.id; people(id team)",
	} {
		d, err := deps.Of(t.Context(), db, query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
		} else if got := shown(d); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
	param := func(n int) string { return fmt.Sprintf("u.a%d::int", n) }
	for query, want := range map[string]string{
		"select c.id from cards c join people p on p.id = c.owner and not p.gone join teams t on t.id = p.team where c.board = $1": `array(select distinct x."team"::pg_catalog.text from public.people x where x."team" is not null and x."gone" operator(pg_catalog.=) false and ` +
			`x."id" operator(pg_catalog.=) any (select x."owner" from public.cards x where x."owner" is not null and x."board" operator(pg_catalog.=) u.a1::int) limit 9)`,
		`select p.id from only "Odd }{ table" o join people p on p.id = o." a" where o."b""c" = 'x\''y'`:    `array(select distinct x." a"::pg_catalog.text from only public."Odd }{ table" x where x." a" is not null and x."b""c" operator(pg_catalog.=) E'x\\''y' limit 9)`,
		"select p.id from cards c join people p on p.id = c.owner where c.id = -5 and c.due = '2024-02-29'": `array(select distinct x."owner"::pg_catalog.text from public.cards x where x."owner" is not null and x."id" operator(pg_catalog.=) '-5'::pg_catalog.int8 and x."due" operator(pg_catalog.=) E'2024-02-29' limit 9)`,
	} {
		d, err := deps.Of(t.Context(), db, query)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		s := d.Scans[len(d.Scans)-1]
		if len(s.Among) != 1 || s.Among[0].Of.SQL(param, 9) != want {
			t.Errorf("%s: %s\n got %s\nwant %s", query, shown(d), s.Among[0].Of.SQL(param, 9), want)
		}
		if !strings.Contains(query, "$1") {
			exec(t, db, "set standard_conforming_strings = off; select "+s.Among[0].Of.SQL(param, 9)+"; reset standard_conforming_strings")
		}
	}
}

func TestFunctionsAreReadWhereTheyAreCalled(t *testing.T) {
	db := connect(t, pgtest.Database(t))
	exec(t, db, board+`
		create function of_project(p uuid, mine text default null) returns setof tasks stable begin atomic select * from tasks where project_id = p and owner = mine; end;
		create function name_of(int) returns text stable return (select name from users where id = $1);
		create function twice(u int) returns text stable begin atomic select id from projects; select name_of(u); end;
		create function words(text) returns bigint stable language sql as 'select count(*) from tasks where owner = $1';
		create function plain(int) returns int immutable language plpgsql as 'begin return $1; end';
		create function hidden(int) returns int stable language plpgsql as 'begin return (select count(*) from users); end';
		create function told(int) returns int stable language plpgsql as 'begin return (select count(*) from users); end';
		comment on function told is E'Counts.\npgbell: reads public.users, public.projects';
		create function pure(int) returns int language plpgsql as 'begin return 1; end';
		comment on function pure is 'pgbell: reads nothing';
		create function wrong(int) returns int language plpgsql as 'begin return 1; end';
		comment on function wrong is 'pgbell: reads public.nothing_like_it';
		create function many(variadic ids int[]) returns setof users stable begin atomic select * from users where id = any (ids); end;
		create function writes() returns void begin atomic insert into users values (1); end;
		create operator @@@ (leftarg = int, rightarg = int, function = int4mi);
		create function same(a int, b int) returns boolean stable begin atomic select exists (select from users where id = a and team = b); end;
		create operator === (leftarg = int, rightarg = int, function = same);
		create function loud(u int) returns text begin atomic select name from users where id = u; end;
		create function again(n int) returns int stable begin atomic select 1; end;
		create or replace function again(n int) returns int stable begin atomic select case when n > 0 then again(n - 1) end; end;`)
	for query, want := range map[string]string{
		"select id from of_project($1, $2)":              "tasks(id project_id owner state done due size body seen weight small) where project_id = $1 and owner = $2",
		"select id from of_project($1)":                  "tasks(id project_id owner state done due size body seen weight small) where project_id = $1",
		"select id from of_project(mine => $1, p => $2)": "tasks(id project_id owner state done due size body seen weight small) where project_id = $2 and owner = $1",
		"of_project":             "tasks(id project_id owner state done due size body seen weight small) where project_id = $1 and owner = $2",
		"public.name_of(int)":    "users(id name) where id = $1",
		`"name_of" ( integer ) `: "users(id name) where id = $1",
		"select name_of(team) from users where team = $1": "users(team) where team = $1; users(id name) where id = $1",
		"twice":                        "projects(id); users(id name) where id = $1",
		"many":                         "users(id team name)",
		"loud":                         "users(id name) where id = $1",
		"words":                        "opaque words(text)",
		"hidden":                       "opaque hidden(integer)",
		"select hidden(id) from users": "users(id); opaque public.hidden(integer)",
		"select plain(id) from users where id = plain(3)": "users(id)",
		"select told(1)": "users(id team name); projects(id team title)",
		"select pure(1)": "",
		"select 1 @@@ 2": "",
		"select id from projects where team === 3": "projects(id team); users(id team) where team = 3",
		"writes": "opaque public.writes()",
		"again":  "opaque public.again(integer)",
	} {
		d, err := deps.Of(t.Context(), db, query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
		} else if got := shown(d); got != want && got != strings.ReplaceAll(want, "opaque ", "opaque public.") {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
	if _, err := deps.Of(t.Context(), db, "wrong"); err == nil || !strings.Contains(err.Error(), "public.wrong(integer) says that it reads public.nothing_like_it: there is no such table") {
		t.Errorf("a comment that names nothing: %v", err)
	}
}

func TestTablesOfOtherKinds(t *testing.T) {
	db := connect(t, pgtest.Database(t))
	exec(t, db, board+`
		create table parts (team int, "Odd }{ name" text, gone int) partition by list (team);
		create table parts_1 partition of parts for values in (1) partition by list ("Odd }{ name");
		create table parts_1_x ("Odd }{ name" text, team int);
		alter table parts drop column gone;
		alter table parts_1 attach partition parts_1_x default;
		create table base (id int, tag text);
		create table heir (more int) inherits (base);
		create table grandchild () inherits (heir);
		create materialized view counted as select count(*) from users;
		create table "Odd "" table" ("a b" int);
		create sequence numbers;
		create temp table mine (id int);
		create table notes (id int, owner text, body text);
		alter table notes enable row level security;
		create policy a on notes for select using (owner = current_setting('app.user', true));
		create policy b on notes as restrictive using (exists (select from users u where u.name = notes.owner and u.team in (select team from projects)));
		create policy c on notes for update using (body = (select max(body) from tasks));`)
	for query, want := range map[string]string{
		"select team from parts where team = $1":              `parts(team) where team = $1`,
		"select team from parts_1 where team = $1":            `parts(team) where team = $1`,
		`select team from parts_1_x where "Odd }{ name" = $1`: `parts(Odd }{ name team) where Odd }{ name = $1`,
		"select id from base where id = $1":                   "base(id) where id = $1; heir(id) where id = $1; grandchild(id) where id = $1",
		"select id from only base where id = $1":              "base(id) where id = $1",
		"select more, tag from heir":                          "heir(tag more); grandchild(tag more)",
		"select * from counted":                               "opaque public.counted",
		`select "a b" from "Odd "" table" where "a b" = 3`:    `"Odd "" table"(a b) where a b = 3`,
		"select last_value from numbers":                      "opaque public.numbers",
		"select nextval('numbers')":                           "time nextval(regclass)",
		"select body from notes where id = $1":                "notes(id owner body) where id = $1; users(team name); projects(team)",
		"select body from notes where owner = $1":             "notes(owner body) where owner = $1; users(team name) where name = $1; projects(team) among team: users.team",
	} {
		d, err := deps.Of(t.Context(), db, query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
		} else if got := shown(d); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
	d, err := deps.Of(t.Context(), db, "select id from mine")
	if err != nil || len(d.Opaque) != 1 || !strings.HasSuffix(d.Opaque[0], ".mine") || len(d.Scans) > 0 {
		t.Errorf("a temporary table: %s, %v", shown(d), err)
	}
}

// What is computed when it is read has no value in a trigger.
func TestVirtualColumnIsWhatItIsMadeOf(t *testing.T) {
	db := connect(t, pgtest.Database(t))
	var version int
	if err := db.QueryRow(t.Context(), "select current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	kind, want := "stored", "lines(sum) where sum = $1"
	if version >= 180000 {
		kind, want = "virtual", "lines(n price)"
	}
	exec(t, db, "create table lines (id int, n int, price int, sum int generated always as (n * price) "+kind+")")
	d, err := deps.Of(t.Context(), db, "select sum from lines where sum = $1")
	if got := shown(d); err != nil || got != want {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
}

func TestWhatIsNoSingleSelectIsRefused(t *testing.T) {
	db := connect(t, pgtest.Database(t))
	exec(t, db, board)
	for query, want := range map[string]string{
		"":                               "no single SELECT",
		"select 1; select 2":             "multiple commands",
		"insert into users values (1)":   "no single SELECT",
		"delete from users returning id": "no single SELECT",
		"with x as (delete from users returning id) select * from x": "",
		"select * from users for update":                             "no single SELECT",
		"select * into other from users":                             "",
		"create table x (a int)":                                     "",
		"explain select 1":                                           "",
		"select 1; end; create table evil (a int); select 1 where (": "",
		"select 1\n;\nend; $$":                                       "",
		"select * from nobody":                                       `relation "nobody" does not exist`,
		"select $1":                                                  "",
		"select * from users where id = $2":                          "write its type, as in $1::int",
		"selekt":                                                     "selekt is no query, and no function",
		"lower(int)":                                                 "lower(int) is no query, and no function",
		"abs":                                                        "write the types too",
		"count":                                                      "is no query, and no function",
		"vacuum":                                                     "is no query, and no function",
	} {
		_, err := deps.Of(t.Context(), db, query)
		if query == "select $1" { // text
			if err != nil {
				t.Errorf("%s: %v", query, err)
			}
			continue
		}
		if q := (*deps.QueryError)(nil); !errors.As(err, &q) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", query, err, want)
		}
	}
	var evil *uint32
	if err := db.QueryRow(t.Context(), "select to_regclass('evil')::oid").Scan(&evil); err != nil || evil != nil {
		t.Errorf("a query made a table: %v, %v", evil, err)
	}
}

// With queries that use each other twice double at each step.
func TestQueryOfTooManyPartsIsRefused(t *testing.T) {
	db := connect(t, pgtest.Database(t))
	exec(t, db, board)
	doubled := func(steps int) string {
		with := "with w0 as (select id, team from users)"
		for i := range steps {
			with += fmt.Sprintf(", w%d as (select a.id, b.team from w%d a join w%[2]d b on a.id = b.id)", i+1, i)
		}
		return with + fmt.Sprintf(" select team from w%d where id = $1", steps)
	}
	if d, err := deps.Of(t.Context(), db, doubled(6)); err != nil || shown(d) != "users(id team) where id = $1" {
		t.Errorf("%s, %v", shown(d), err)
	}
	if _, err := deps.Of(t.Context(), db, doubled(30)); err == nil || !strings.Contains(err.Error(), "too many parts") {
		t.Errorf("a query of a billion parts: %v", err)
	}
}

// Names mean what they mean to who asks, and what is asked of the catalog is the system's.
func TestNamesAreTheCallers(t *testing.T) {
	url := pgtest.Database(t)
	db := connect(t, url)
	exec(t, db, board+`
		create schema evil;
		create table evil.users (id int);
		create table evil.pg_class (oid oid);
		create function evil.quote_ident(text) returns text language plpgsql as 'begin raise exception $x$called$x$; end';
		create function evil.eq(oid, oid) returns boolean language plpgsql as 'begin raise exception $x$called$x$; end';
		create operator evil.= (leftarg = oid, rightarg = oid, function = evil.eq);
		create function evil.eq(int, int) returns boolean immutable language sql return true;
		create operator evil.= (leftarg = int, rightarg = int, function = evil.eq);
		set search_path to evil, pg_catalog, public`)
	for query, want := range map[string]string{
		"select id from users":                     "evil.users(id)",
		"select id from users where id = 3":        "evil.users(id)", // by an operator of that name
		"select title from projects where id = $1": "projects(id title) where id = $1",
		"select oid from pg_class":                 "evil.pg_class(oid)",
	} {
		d, err := deps.Of(t.Context(), db, query)
		if got := shown(d); err != nil || got != want {
			t.Errorf("%s\n got %s (%v)\nwant %s", query, got, err, want)
		}
	}
	var path string
	if err := db.QueryRow(t.Context(), "show search_path").Scan(&path); err != nil || path != "evil, pg_catalog, public" {
		t.Errorf("the path is %q afterwards (%v)", path, err)
	}
}

// It is rolled back, within a transaction of the caller's too, and takes few rights.
func TestAnalysisLeavesNothingBehind(t *testing.T) {
	url := pgtest.Database(t)
	db := connect(t, url)
	exec(t, db, board)
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"select id from users where id = $1", "selekt 1", "select id from users where id = $1"} {
		if _, err := deps.Of(t.Context(), tx, query); (err == nil) != (query != "selekt 1") {
			t.Errorf("%s: %v", query, err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	role := fmt.Sprintf("reader_%d", db.PgConn().PID())
	exec(t, db, "create role "+role+"; grant "+role+" to current_user")
	t.Cleanup(func() {
		if _, err := db.Exec(context.Background(), "reset role; drop owned by "+role+"; drop role "+role); err != nil {
			t.Error(err)
		}
	})
	exec(t, db, "set role "+role)
	// Whoever may not read a table may still ask what a query of it depends on.
	if d, err := deps.Of(t.Context(), db, "select id from users where id = $1"); err != nil || shown(d) != "users(id) where id = $1" {
		t.Errorf("with no rights: %s, %v", shown(d), err)
	}
	exec(t, db, "reset role; revoke temporary on database "+pgx.Identifier{db.Config().Database}.Sanitize()+" from public; set role "+role)
	if _, err := deps.Of(t.Context(), db, "select 1"); err == nil || !strings.Contains(err.Error(), "the right to make temporary tables") {
		t.Errorf("without that right: %v", err)
	}
	exec(t, db, "reset role; set default_transaction_read_only = on")
	if _, err := deps.Of(t.Context(), db, "select 1"); err == nil || !strings.Contains(err.Error(), "can be written to") {
		t.Errorf("read only: %v", err)
	}
	exec(t, db, "set default_transaction_read_only = off")
}

func TestParametersHaveTheirTypes(t *testing.T) {
	db := connect(t, pgtest.Database(t))
	exec(t, db, board)
	d, err := deps.Of(t.Context(), db, "select from tasks where id = $2 and owner = $1 and state = $4 and project_id = $3")
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Params) != 4 || !slices.Equal(d.Params[:3], []uint32{25, 20, 2950}) {
		t.Errorf("types %v", d.Params)
	}
	for _, test := range []struct {
		args []any
		want string
	}{
		{[]any{"a/b c", 7, "A0EEBC999C0B4EF8BB6D6BB9BD380A11", "open"}, "7 a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 a/b c open"},
		{[]any{"x", int16(-7), [16]byte{15: 1}, "shut"}, "-7 00000000-0000-0000-0000-000000000001 x shut"},
		{[]any{"x", "007", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "open"}, "7 a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 x open"},
		{[]any{nil, (*int)(nil), nil, nil}, "null null null null"},
		{[]any{"x", "seven", nil, nil}, `$2: "seven" is no integer`},
		{[]any{"x\x00", 1, nil, nil}, "is no text of Postgres"},
		{[]any{"x", 1, "y", nil}, "is no uuid"},
		{[]any{"x"}, "there is no argument for $2"},
		{[]any{func() {}, 1, nil, nil}, "$1: "},
	} {
		var texts []string
		var failed error
		for _, e := range d.Scans[0].Equals {
			text, null, err := e.Value.Of(d.Params, test.args)
			failed = errors.Join(failed, err)
			if null {
				text = "null"
			}
			texts = append(texts, text)
		}
		got := strings.Join(texts, " ")
		if failed != nil {
			got = failed.Error()
		}
		if got != test.want && (failed == nil || !strings.Contains(got, test.want)) {
			t.Errorf("%v: %s, want %s", test.args, got, test.want)
		}
	}
}
