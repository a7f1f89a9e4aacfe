package integration

import (
	"maps"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// What may happen to a table after it was attached, and what its feed's state
// says then. An empty state stands for ok.
var changesOfDefinition = []struct {
	name, ddl, insert, set, state string
}{
	{"drop a template's column", `alter table t drop p`, `(id, n) values (9, 1)`, `n = 5`, "column p is gone"},
	{"drop an audience column", `alter table t drop owner`, `(id, n) values (9, 1)`, `n = 5`, "column owner is gone"},
	{"drop an array audience column", `alter table t drop members`, `(id, n) values (9, 1)`, `n = 5`, "column members is gone"},
	{"drop a payload column", `alter table t drop title`, `(id, n) values (9, 1)`, `n = 5`, "column title is gone"},
	{"drop a key column", `alter table t drop id cascade`, `(p, n) values (9, 1)`, `n = 5`, "primary key"},
	{"drop the primary key", `alter table t drop constraint t_pkey`, `(id, n) values (9, 1)`, `n = 5`, "primary key"},
	{"drop another column", `alter table t drop n`, `(id) values (9)`, `title = 'x'`, ""},
	{"drop all that is named", `alter table t drop p, drop owner, drop members, drop title`, `(id, n) values (9, 1)`, `n = 5`, "column members is gone; column owner is gone; column p is gone; column title is gone: attach"},
	{"rename a template's column", `alter table t rename p to q`, `(id, q) values (9, 1)`, `q = 5`, "column p is gone"},
	{"rename an audience column", `alter table t rename owner to boss`, `(id, boss) values (9, 'x')`, `boss = 'y'`, "column owner is gone"},
	{"rename another column", `alter table t rename n to m`, `(id, m) values (9, 1)`, `m = 5`, ""},
	{"two columns change names", `alter table t rename owner to x; alter table t rename title to owner; alter table t rename x to title`, `(id) values (9)`, `n = 5`, "column owner is another one of the same name; column title is another one of the same name"},
	{"int to text", `alter table t alter p type text`, `(id, p) values (9, 'x')`, `p = 'y'`, "column p was integer, now is text"},
	{"int to bigint", `alter table t alter p type bigint`, `(id, p) values (9, 1)`, `p = 5`, "column p was integer, now is bigint"},
	{"text to array", `alter table t alter owner type text[] using array[owner]`, `(id, owner) values (9, '{a}')`, `owner = '{b}'`, "column owner was text, now is text[]"},
	{"array to text", `alter table t alter members type text using members::text`, `(id, members) values (9, 'a')`, `members = 'not an array'`, "column members was text[], now is text"},
	{"array to json", `alter table t alter members type json using to_json(members)`, `(id, members) values (9, '[1]')`, `members = '{}'`, "column members was text[], now is json"},
	{"text to json", `alter table t alter title type json using to_json(title)`, `(id, title) values (9, '{"x":"\u0000"}')`, `title = '[]'`, "column title was text, now is json"},
	{"text to enum", `create type e as enum ('a', 'b', 'x'); alter table t alter title type e using 'a'`, `(id, title) values (9, 'a')`, `title = 'b'`, "column title was text, now is e"},
	{"text to a row", `create type r as (a int, b text); alter table t alter owner type r using null`, `(id, owner) values (9, '(1,)')`, `owner = '(2,)'`, "column owner was text, now is r"},
	{"text to point", `alter table t alter title type point using null`, `(id, title) values (9, '(1,2)')`, `title = '(3,4)'`, "column title was text, now is point"},
	{"another column to json", `alter table t alter n type json using to_json(n)`, `(id, n) values (9, '1')`, `n = '2'`, ""},
	{"key int to uuid", `alter table t alter id type uuid using gen_random_uuid()`, `(id, p) values (gen_random_uuid(), 1)`, `n = 5`, "column id was integer, now is uuid"},
	{"longer text", `alter table t alter owner type varchar(99)`, `(id) values (9)`, `n = 5`, "column owner was text, now is character varying"},
	{"drop and add the same", `alter table t drop p; alter table t add p int`, `(id, p) values (9, 1)`, `p = 5`, "column p is another one of the same name"},
	{"add a column", `alter table t add added int default 7`, `(id) values (9)`, `added = 8`, ""},
	{"add an xml column", `alter table t add added xml`, `(id) values (9)`, `added = '<a/>'`, ""},
	{"add a column of a name used inside", `alter table t add i int, add scopes int, add r int, add x int, add c1 int`, `(id) values (9)`, `i = 8`, ""},
	{"drop one, add another", `alter table t drop n; alter table t add added int`, `(id) values (9)`, `added = 8`, ""},
	{"add, drop, add", `alter table t add a1 int; alter table t drop a1; alter table t add a2 int`, `(id) values (9)`, `a2 = 8`, ""},
	{"generated column", `alter table t add g int generated always as (n + 1) stored`, `(id, n) values (9, 1)`, `n = 5`, ""},
	{"rename the table", `alter table t rename to t_`, `(id) values (9)`, `n = 5`, ""},
	{"another schema", `create schema other; alter table t set schema other`, `(id) values (9)`, `n = 5`, ""},
	{"rename a type", `alter type mood rename to feeling`, `(id) values (9)`, `n = 5`, ""},
	{"a type to another schema", `create schema types; alter type mood set schema types`, `(id) values (9)`, `n = 5`, ""},
	{"a new label", `alter type mood add value 'glad'`, `(id) values (9)`, `n = 5`, ""},
	{"row security", `alter table t enable row level security, force row level security; create policy p on t using (true)`, `(id) values (9)`, `n = 5`, ""},
	{"unlogged", `alter table t set unlogged`, `(id) values (9)`, `n = 5`, ""},
}

// A write never fails, and is always heard of, whatever was done to the table
// since it was attached, in sessions of any age. With -short each change is made to one
// of two kinds of tables.
func TestTriggerDefinitionMayChange(t *testing.T) {
	all := newTriggerDB(t)
	writers := map[string]*pgx.Conn{"old transaction": all.connect(), "other": all.connect(), "same": all.writer}
	for _, partitioned := range []bool{false, true} {
		for i, test := range changesOfDefinition {
			if testing.Short() && partitioned != (i%2 == 1) {
				continue
			}
			name := test.name
			if partitioned {
				if name == "unlogged" || strings.Contains(name, "key") || strings.Contains(name, "rename a") { // it has no key
					continue
				}
				name = "partitioned, " + name
			}
			t.Run(name, func(t *testing.T) {
				d := all.on(t)
				d.exec(`drop schema if exists other, types, public cascade; create schema public; create type mood as enum ('sad', 'glum'); create table bystander (id int);`)
				if partitioned {
					d.exec(`create table t (id int, p int, owner text, members text[], title text, mood mood, n int, part int default 0) partition by list (part);
						create table t1 partition of t default`)
				} else {
					d.exec(`create table t (id int primary key, p int, owner text, members text[], title text, mood mood, n int)`)
				}
				d.exec(`select pgbell.attach('t', array['all', 'p:{p}', '{mood}:{id}'], audience => array['owner', 'members'], payload => array['title']),
					pgbell.attach('bystander', array['b'])`)

				// Sessions that have used the trigger, a transaction whose snapshot is older than what follows.
				sessions := maps.Clone(writers)
				for _, conn := range sessions {
					d.execOn(conn, `insert into t (id) values (1), (2); update t set n = 1; delete from t`)
				}
				d.exec(`insert into t (id) values (1)`)
				d.execOn(sessions["old transaction"], `begin isolation level repeatable read`, `select * from bystander`)
				d.exec(test.ddl)
				sessions["fresh"] = d.connect()

				const state = `select state from pgbell.feeds where table_name <> 'public.bystander'`
				if got := d.ask(state); !stateIs(got, test.state) {
					t.Errorf("state: got %q, want one with %q", got, test.state)
				}
				drifted := test.state != "" && test.name != "drop the primary key"
				table := d.ask(`select table_name from pgbell.feeds where table_name <> 'public.bystander'`)
				for _, name := range []string{"old transaction", "other", "same", "fresh"} {
					since := d.since()
					d.execOn(sessions[name], `insert into `+table+test.insert, `update `+table+` set `+test.set, `delete from `+table)
					if name == "old transaction" {
						d.execOn(sessions[name], `commit`)
					}
					records := d.records(since)
					if len(records) == 0 || len(records) < 3 && !drifted {
						t.Errorf("%s session: got only %q", name, lines(records))
					}
					for _, r := range records {
						if (r.Reset != nil) != drifted {
							t.Errorf("%s session: got %q", name, lines(records))
						}
						if r.Table != table {
							t.Errorf("%s session: got table %s, want %s", name, r.Table, table)
						}
					}
				}

				d.exec(`select pgbell.attach('` + table + `', array['all'])`)
				if got := d.ask(state); got != "ok" {
					t.Errorf("attached again: state is %q", got)
				}
				for name, conn := range sessions {
					since := d.since()
					d.execOn(conn, `insert into `+table+test.insert, `update `+table+` set `+test.set, `delete from `+table)
					for _, r := range d.records(since) {
						if r.Reset != nil {
							t.Errorf("attached again, %s session: got %q", name, lines(d.records(since)))
						}
					}
				}
			})
		}
	}
}

func stateIs(got, want string) bool {
	if want == "" {
		return got == "ok"
	}
	return strings.Contains(strings.ReplaceAll(got, "public.", ""), want) && strings.Contains(got, "attach")
}
