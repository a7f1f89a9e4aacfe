package triggers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/triggers"
)

func explain(t *testing.T, db *pgx.Conn, table, key string) triggers.Explanation {
	t.Helper()
	x, err := triggers.Explain(t.Context(), db, table, key)
	if err != nil {
		t.Fatalf("Explain(%s, %s): %v", table, key, err)
	}
	return x
}

// recorded is what the journal says of the last statement.
func recorded(t *testing.T, db *pgx.Conn) (op string, facts []*string) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `select op, facts from pgbell.journal order by lsn desc, part desc limit 1`).Scan(&op, &facts); err != nil {
		t.Fatal(err)
	}
	return op, facts
}

// meaning is what facts of a delete tell, under the definition of a table's feed.
func meaning(t *testing.T, db *pgx.Conn, table string, facts []*string) journal.Change {
	t.Helper()
	var definition []byte
	if err := db.QueryRow(t.Context(), `select d.spec::text from pgbell.definition d join pgbell.feed f on f.definition = d.id
		where f.target = $1::text::regclass or f.target = (select i.inhparent from pg_inherits i where i.inhrelid = $1::text::regclass)`, table).Scan(&definition); err != nil {
		t.Fatal(err)
	}
	changes, err := journal.Meaning(definition, bus.OpDelete, facts)
	if err != nil || len(changes) != 1 {
		t.Fatalf("facts mean %+v, %v; want one change", changes, err)
	}
	return changes[0]
}

const oddTables = `
	create table plain (id int primary key, p int, owner text, note text);
	create table "Odd ""one"", it's" ("a b" text, "c,d" timestamptz, "old" uuid, "n" text[], "select" citextish, "feed" boolean, "x" bytea, "alive" numeric, primary key ("a b", "c,d"));
	create table parts (day date, id bigint, who bigint[], kind char(5), primary key (day, id)) partition by range (day);
	create table parts_a partition of parts for values from ('2026-01-01') to ('2026-07-01');
	create table parts_b (kind char(5), who bigint[], gone int, id bigint not null, day date not null);
	alter table parts_b drop column gone;
	alter table parts attach partition parts_b for values from ('2026-07-01') to ('2027-01-01');
	create table family (id int primary key, who text);
	create table child (more text) inherits (family);
	create table keyless (a text, b text)`

var oddFeeds = []triggers.Feed{
	{Table: "plain", Scopes: []string{"plain", "p:{p}", "own:{owner}", "{note}", "{{x}}:{id}"}, Audience: []string{"owner"}, Payload: []string{"note", "p"}, Columns: []string{"note"}},
	{
		Table: `"Odd ""one"", it's"`, Scopes: []string{"ä {a b}:{c,d}", "{old}{select}", "x:{x}:{alive}:{feed}", "{n}", "static scope"},
		Audience: []string{"old", "n", "select"}, Payload: []string{"c,d", "x", "alive", "n"},
	},
	{Table: "parts", Scopes: []string{"day:{day}", "part:{id}", "kind:{kind}"}, Audience: []string{"who"}},
	{Table: "family", Scopes: []string{"family", "f:{id}"}, Audience: []string{"who"}, Volatile: false},
	{Table: "keyless", Scopes: []string{"a:{a}", "b:{b}"}},
}

// values are rows of each table: odd ones, NULLs, arrays, long ones.
func oddRows() map[string][]string {
	rows := map[string][]string{}
	texts := []string{"null", "''", "'bob'", "E'\\n\\t\\x01'", `'"\'`, "'ünïcode ✓'", "repeat('x', 256)", "repeat('x', 257)", "repeat('ä', 1025)", "repeat('y', 5000)", "'ready'", "'a b%2F'"}
	for i, a := range texts {
		b := texts[(i*5+3)%len(texts)]
		rows["plain"] = append(rows["plain"], fmt.Sprintf("(%d, nullif(%d, 3), %s, %s)", i, i, a, b))
		if a != "null" {
			rows[`"Odd ""one"", it's"`] = append(rows[`"Odd ""one"", it's"`], fmt.Sprintf(
				`(%s, '2026-11-22 10:00:%02d+02', nullif('00000000-0000-0000-0000-0000000000%02d', '00000000-0000-0000-0000-000000000005')::uuid, array[%s, null, '', %[4]s, 'x'], %s, nullif(%[2]d %% 3, 0) = 1, convert_to(%[1]s, 'UTF8'), 'NaN')`,
				a, i, i, b, texts[(i+1)%len(texts)]))
		}
		rows["keyless"] = append(rows["keyless"], fmt.Sprintf("(%s, '%d')", a, i))
		rows["family"] = append(rows["family"], fmt.Sprintf("(%d, %s)", i, a))
		rows["child"] = append(rows["child"], fmt.Sprintf("(%d, %s, 'more')", 100+i, b))
		rows["parts"] = append(rows["parts"], fmt.Sprintf("('2026-%02d-01', %d, %s, %s)", i+1, i*7-3,
			[]string{"null", "'{}'", "'{1,2,null}'", "'[5:6]={7,8}'"}[i%4], []string{"'ab'", "null"}[i%2]))
	}
	return rows
}

// keyOf returns the row's key as events carry it.
func keyOf(c journal.Change) string {
	if c.Key != nil {
		return string(c.Key)
	}
	return "b=" + strings.TrimPrefix(c.Scopes[len(c.Scopes)-1], "b:") // of keyless
}

// What explain says is what the trigger records, to the byte. The facts are those of a
// row that is there already: whether a value is too long may depend on whether it is
// stored compressed.
func TestExplanationIsWhatTheTriggerRecords(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create domain citextish as varchar; `+oddTables)
	for _, f := range oddFeeds {
		if err := triggers.Attach(t.Context(), db, f); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, db, `set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set bytea_output = 'escape'; set intervalstyle = 'sql_standard'`)
	n := 0
	for table, rows := range oddRows() {
		for _, row := range rows {
			t.Run(fmt.Sprintf("%s%.40s", table, row), func(t *testing.T) {
				exec(t, db, `insert into `+table+` values `+row)
				_, facts := recorded(t, db)
				x := explain(t, db, table, keyOf(meaning(t, db, table, facts)))
				exec(t, db, `delete from `+table)
				op, facts := recorded(t, db)
				if diff := cmp.Diff(facts, x.Facts); diff != "" || op != "delete" {
					t.Errorf("op %s, facts (-recorded +explained):\n%s", op, diff)
				}
				change := meaning(t, db, table, facts)
				explained, err := journal.Meaning(x.Definition, bus.OpDelete, x.Facts)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]journal.Change{change}, explained, cmp.Comparer(bus.Audience.Equal)); diff != "" {
					t.Errorf("change (-recorded +explained):\n%s", diff)
				}
				checkParts(t, x, change)
				n++
			})
		}
	}
	if n < 60 {
		t.Errorf("only %d rows were compared", n)
	}
}

// checkParts compares the explanation's words with what the journal says.
func checkParts(t *testing.T, x triggers.Explanation, change journal.Change) {
	t.Helper()
	var scopes []string
	for _, s := range x.Scopes {
		if (s.Scope == "") == (s.Why == "") {
			t.Errorf("scope %+v: want a scope or a reason", s)
		}
		if s.Scope != "" {
			scopes = append(scopes, s.Scope)
		}
	}
	if !slices.Equal(scopes, change.Scopes) {
		t.Errorf("scopes %q, recorded %q", scopes, change.Scopes)
	}
	if change.Audience.Everyone() {
		if len(x.Owners) > 0 {
			t.Errorf("owners %+v of a feed for everyone", x.Owners)
		}
		return
	}
	var users []string
	for _, o := range x.Owners {
		users = append(users, o.Users...)
		if (len(o.Users) == 0) != (o.Why != "") {
			t.Errorf("owner %+v: want users or a reason", o)
		}
	}
	slices.Sort(users)
	if users = slices.Compact(users); !slices.Equal(users, change.Audience.Users()) {
		t.Errorf("users %q, recorded %q", users, change.Audience.Users())
	}
}

// The notification is that of an update of the column that is named.
func TestExplainedNotificationIsTheOneThatComes(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	db, ear := connect(t, url), connect(t, url)
	exec(t, ear, `listen pgbell; select pgbell.arm('a test', '1 minute')`)
	exec(t, db, `create table tasks (id int primary key, title text, p int, owner text, nothing text)`)
	var long []string // more than fits in a notification
	for i := range 40 {
		long = append(long, fmt.Sprintf("{p}:%d:%s", i, strings.Repeat("x", 240)))
	}
	for name, f := range map[string]triggers.Feed{
		"durable":         {Scopes: []string{"z:{id}", "p:{p}", "Z:{p}", "a:{p}"}, Audience: []string{"owner"}},
		"one scope":       {Scopes: []string{"it's:{id}"}, Columns: []string{"title"}},
		"durable, long":   {Scopes: long, Columns: []string{"title"}},
		"not durable":     {Scopes: []string{"z:{id}", "p:{p}"}, Audience: []string{"owner"}, Volatile: true},
		"without journal": {Scopes: []string{"z"}, Volatile: true, Columns: []string{"title"}},
		"not dur., long":  {Scopes: long, Volatile: true},
	} {
		t.Run(name, func(t *testing.T) {
			f.Table = "tasks"
			exec(t, db, `truncate tasks; insert into tasks values (1, 'a', 7, E'al"ice\n')`)
			if err := triggers.Attach(t.Context(), db, f); err != nil {
				t.Fatal(err)
			}
			x := explain(t, db, "tasks", "1")
			if x.Changed != "title" {
				t.Fatalf("the example is %q, want title", x.Changed)
			}
			exec(t, db, `notify mark; update tasks set title = title || 'x' where id = 1`)
			for {
				n, err := ear.WaitForNotification(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if opOf(n.Payload) != "update" {
					continue // attach's
				}
				if diff := cmp.Diff(withoutTime(n.Payload), withoutTime(x.Notification)); diff != "" {
					t.Errorf("notification (-sent +explained):\n%s", diff)
				}
				break
			}
			if op, facts := recorded(t, db); !f.Volatile && (op != "update" || !cmp.Equal(facts, x.Recorded)) {
				t.Errorf("facts of the %s (-recorded +explained):\n%s", op, cmp.Diff(facts, x.Recorded))
			}
		})
	}
}

// A feed that is not durable doesn't notify of a row that no scope hears of.
func TestNothingIsExplainedToNotifyOfARowWithoutAScope(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	db, ear := connect(t, url), connect(t, url)
	exec(t, db, `create table tasks (id int primary key, p int, title text); insert into tasks values (1, null, 'a')`)
	for _, durable := range []bool{true, false} {
		exec(t, db, fmt.Sprintf(`select pgbell.attach('tasks', array['p:{p}', '{p}'], durable => %v)`, durable))
		exec(t, ear, `listen pgbell; select pgbell.arm('a test', '1 minute')`)
		if x := explain(t, db, "tasks", "1"); x.Notification != "" || x.Op != "update" || x.Facts == nil {
			t.Errorf("durable %v, explained: %+v", durable, x)
		}
		exec(t, db, `update tasks set title = title || 'b'`)
		exec(t, db, `notify pgbell, 'mark'`)
		if n, err := ear.WaitForNotification(t.Context()); err != nil || n.Payload != "mark" {
			t.Errorf("durable %v, notified: %v, %v", durable, n, err)
		}
		exec(t, ear, `select pgbell.arm('a test', '0')`)
	}
}

// A column that the feed doesn't name may be another than it was. No change of it is
// known then, and a durable feed does not say which scopes it rings for.
func TestExplainedNotificationOfATableThatLostAColumn(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	db, ear := connect(t, url), connect(t, url)
	exec(t, ear, `listen pgbell; select pgbell.arm('a test', '1 minute')`)
	for _, durable := range []bool{true, false} {
		t.Run(fmt.Sprintf("durable %v", durable), func(t *testing.T) {
			exec(t, db, fmt.Sprintf(`drop table if exists tasks; create table tasks (id int primary key, a text, b text, c text); insert into tasks values (1, 'a', 'b', 'c');
				select pgbell.attach('tasks', array['t:{id}', 'c:{c}'], durable => %v); alter table tasks drop column a`, durable))
			exec(t, db, `alter table tasks add z int`)
			x := explain(t, db, "tasks", "1")
			if x.Drifted || x.Changed != "b" {
				t.Errorf("explained: %+v", x)
			}
			exec(t, db, `notify pgbell, 'mark'; update tasks set b = 'd'`)
			for marked := false; ; {
				n, err := ear.WaitForNotification(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if marked = marked || n.Payload == "mark"; !marked || n.Payload == "mark" {
					continue
				}
				if diff := cmp.Diff(withoutTime(n.Payload), withoutTime(x.Notification)); diff != "" {
					t.Errorf("notification (-sent +explained):\n%s", diff)
				}
				break
			}
			if op, facts := recorded(t, db); durable && (op != "update" || !cmp.Equal(facts, x.Recorded)) {
				t.Errorf("facts of the %s (-recorded +explained):\n%s", op, cmp.Diff(facts, x.Recorded))
			}
		})
	}
}

// Where no update is heard, the example is one of what is.
func TestExplainedNotificationIsOfAnOpThatFires(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	db, ear := connect(t, url), connect(t, url)
	exec(t, ear, `listen pgbell; select pgbell.arm('a test', '1 minute')`)
	exec(t, db, `create table tasks (id int primary key, owner text)`)
	for _, volatile := range []bool{false, true} {
		for _, test := range []struct{ silent, op, sql string }{
			{"update", "insert", "delete from tasks; insert into tasks values (1, 'alice')"},
			{"update insert", "delete", "delete from tasks"},
		} {
			t.Run(fmt.Sprintf("%s, volatile %v", test.op, volatile), func(t *testing.T) {
				exec(t, db, `insert into tasks values (1, 'alice') on conflict do nothing`)
				if err := triggers.Attach(t.Context(), db, triggers.Feed{Table: "tasks", Scopes: []string{"z:{id}"}, Audience: []string{"owner"}, Volatile: volatile}); err != nil {
					t.Fatal(err)
				}
				defer exec(t, db, `select pgbell.detach('tasks')`)
				for _, op := range strings.Fields(test.silent) {
					exec(t, db, fmt.Sprintf(`do $$ begin execute (select format('alter table tasks disable trigger %%I', tgname) from pg_trigger where tgrelid = 'tasks'::regclass and tgname ~ '^pgbell_%s_'); end $$`, op))
				}
				x := explain(t, db, "tasks", "1")
				if x.Op != test.op || x.Changed != "" {
					t.Errorf("the example is %q of %q, want %s", x.Op, x.Changed, test.op)
				}
				exec(t, db, "notify pgbell, 'mark'; "+test.sql)
				for marked := false; ; {
					n, err := ear.WaitForNotification(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					marked = marked || n.Payload == "mark"
					if !marked || opOf(n.Payload) != test.op {
						continue
					}
					if diff := cmp.Diff(withoutTime(n.Payload), withoutTime(x.Notification)); diff != "" {
						t.Errorf("notification (-sent +explained):\n%s", diff)
					}
					return
				}
			})
		}
	}
}

func opOf(payload string) string {
	var n struct{ Op string }
	_ = json.Unmarshal([]byte(payload), &n) // a mark is no JSON
	return n.Op
}

// withoutTime leaves out of a notification what is another at each call. The scopes of a
// feed that is not durable are in no certain order.
func withoutTime(payload string) string {
	payload = regexp.MustCompile(`"(at|xid)" : ("[^"]*"|null)`).ReplaceAllString(payload, `"$1" : …`)
	return regexp.MustCompile(`"scopes" : \[[^]]*`).ReplaceAllStringFunc(payload, func(list string) string {
		names := strings.Split(strings.TrimPrefix(list, `"scopes" : [`), ",")
		slices.Sort(names)
		return `"scopes" : [` + strings.Join(names, ",")
	})
}

func TestExplainSaysWhatKeepsAChangeFromBeingHeard(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create table tasks (id int primary key, p text, owner text, title text); insert into tasks values (1, null, null, 'x'), (2, repeat('x', 257), '', 'x'), (3, repeat('x', 255), 'bob', 'x');
		select pgbell.attach('tasks', array['p:{p}', 't:{id}'], audience => array['owner'])`)
	for id, want := range map[string][2]string{
		"1": {"p is NULL", "owner is NULL"}, "2": {"p is too long for a scope", "owner is empty"}, "3": {"it would have 257 bytes, and a scope has at most 256", ""},
	} {
		x := explain(t, db, "tasks", id)
		if x.Scopes[0].Why != want[0] || x.Owners[0].Why != want[1] || !x.Exists || x.Drifted || len(x.Silent) > 0 {
			t.Errorf("row %s: %+v", id, x)
		}
	}
	if x := explain(t, db, "tasks", "99"); x.Exists || x.Facts != nil {
		t.Errorf("row 99: %+v", x)
	}
	exec(t, db, `create table unheard (id int primary key, p text); insert into unheard values (1, null); select pgbell.attach('unheard', array['p:{p}', '{p}'])`)
	if x := explain(t, db, "unheard", "1"); len(x.Scopes) != 2 || x.Scopes[0].Why != "p is NULL" || x.Scopes[1].Why != "p is NULL" || x.Drifted {
		t.Errorf("a row without a scope: %+v", x)
	}
	exec(t, db, `create table crowds (id int primary key, who int[], also text); insert into crowds values (1, array_fill(1, array[1000000]), 'bob'), (2, '{null}', ''), (3, null, repeat('x', 1025));
		select pgbell.attach('crowds', array['crowd:{id}'], audience => array['who', 'also'])`)
	for id, want := range map[string][2]string{
		"1": {"who holds too many ids to look at", ""}, "2": {"who holds nobody's id: it is empty, or longer than 1024 bytes", "also is empty"},
		"3": {"who is NULL", "also holds nobody's id: it is empty, or longer than 1024 bytes"},
	} {
		x := explain(t, db, "crowds", id)
		if x.Owners[0].Why != want[0] || x.Owners[1].Why != want[1] || x.TooMany != (id == "1") || x.Drifted || x.Scopes[0].Scope != "crowd:"+id {
			t.Errorf("crowd %s: too many %v, %q, %q, %q", id, x.TooMany, x.Owners[0].Why, x.Owners[1].Why, x.Scopes)
		}
	}
	exec(t, db, `create table named (id int primary key, p text); insert into named values (1, 'ready'), (2, repeat('ü', 50)); select pgbell.attach('named', array['{p}'])`)
	for id, want := range map[string]string{"1": "it would be a name that is reserved", "2": "p is too long for a scope"} {
		if x := explain(t, db, "named", id); x.Scopes[0].Why != want {
			t.Errorf("name %s: %+v", id, x)
		}
	}
	exec(t, db, `alter table tasks disable trigger pgbell_update_1`)
	if x := explain(t, db, "tasks", "1"); !slices.Equal(x.Silent, []string{"update"}) || !strings.Contains(x.Feed.State, "disabled") {
		t.Errorf("with a trigger disabled: %+v", x)
	}
	for _, ddl := range []string{"alter table tasks alter p type varchar", "alter table tasks rename p to q"} {
		exec(t, db, ddl)
		x := explain(t, db, "tasks", "1")
		exec(t, db, `delete from tasks where id = 3; insert into tasks values (3, 'y', 'bob', 'x')`)
		if op, facts := recorded(t, db); (op == "reset") != x.Drifted || x.Drifted && (x.Facts != nil || x.Notification != "") {
			t.Errorf("after %s: %+v; recorded %s %v", ddl, x, op, facts)
		}
	}
	exec(t, db, `create table other (id int)`)
	if _, err := triggers.Explain(t.Context(), db, "other", "1"); !errors.Is(err, triggers.ErrNoFeed) {
		t.Errorf("a table without a feed: %v", err)
	}
}

func TestExplainFindsTheRowByItsKey(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create table one (k text primary key, x int); create table two (a int, b text, primary key (a, b)); create table none (a int, b text);
		insert into one values ('v', 1), ('k=v', 2), ('{"k":1}', 3); insert into two values (1, 'x'), (1, 'y'); insert into none values (1, 'x'), (1, 'y'), (2, null);
		select pgbell.attach(t, array['t']) from unnest('{one,two,none}'::regclass[]) t`)
	for _, test := range []struct{ table, key, error string }{
		{"one", "v", ""}, {"one", "k=v", ""}, {"one", `{"k":"k=v"}`, ""}, {"one", `{"k":"{\"k\":1}"}`, ""}, {"one", `{"x":2}`, ""},
		{"two", "a=1,b=x", ""}, {"two", `{"a":1,"b":"y"}`, ""}, {"two", "1", "a=...,b=..."}, {"two", "a=1", "more than one row"},
		{"none", "b=x", ""}, {"none", "a=1", "more than one row"}, {"none", `{"a":2,"b":null}`, ""}, {"none", "1", "a=..."},
		{"none", "c=1", `no column "c"`}, {"two", "a=one,b=x", "invalid input syntax"}, {"one", "{", "no JSON"}, {"one", "{}", "no column"},
	} {
		x, err := triggers.Explain(t.Context(), db, test.table, test.key)
		if test.error == "" && (err != nil || !x.Exists) || test.error != "" && (err == nil || !strings.Contains(err.Error(), test.error)) {
			t.Errorf("Explain(%s, %s) = exists %v, %v, want %q", test.table, test.key, x.Exists, err, test.error)
		}
	}
}

// readerOf makes a role that may ask for an explanation, and read the table tasks.
func readerOf(t *testing.T, db *pgx.Conn) string {
	t.Helper()
	role := fmt.Sprintf("explain_%d", db.PgConn().PID())
	exec(t, db, fmt.Sprintf(`create role %[1]s; grant usage on schema pgbell to %[1]s; grant select on all tables in schema pgbell to %[1]s;
		grant execute on all functions in schema pgbell to %[1]s; grant all on tasks to %[1]s`, role))
	url := db.Config().ConnString()
	t.Cleanup(func() {
		db, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close(context.Background())
		if _, err := db.Exec(context.Background(), fmt.Sprintf(`drop owned by %[1]s cascade; drop role %[1]s`, role)); err != nil {
			t.Error(err)
		}
	})
	return role
}

// Row-level security and rights are those of whoever asks; nothing is written, no
// row locked, no trigger fired.
func TestExplainReadsWithTheCallersRights(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	db := connect(t, url)
	exec(t, db, `create table tasks (id int primary key, owner text); insert into tasks values (1, 'alice'), (2, 'bob');
		alter table tasks enable row level security; create policy own on tasks using (owner = 'alice');
		create table secret (id int primary key); insert into secret values (1);
		select pgbell.attach('tasks', array['t']), pgbell.attach('secret', array['s']);
		create function boom() returns trigger language plpgsql as $$ begin raise 'boom'; end $$;
		create trigger boom before insert or update or delete on tasks for each row execute function boom()`)
	role := readerOf(t, db)
	other := connect(t, url)
	exec(t, other, `begin; lock table tasks in row exclusive mode; select from tasks for update`)
	exec(t, db, `set role `+role)
	if x := explain(t, db, "tasks", "1"); !x.Exists || x.Facts == nil {
		t.Errorf("a row that may be seen: %+v", x)
	}
	if x := explain(t, db, "tasks", "2"); x.Exists || x.Facts != nil || x.Owners != nil || x.Scopes != nil {
		t.Errorf("a row that may not be seen: %+v", x)
	}
	if _, err := triggers.Explain(t.Context(), db, "secret", "1"); err == nil || !strings.Contains(err.Error(), "permission denied for table secret") {
		t.Errorf("a table that may not be read: %v", err)
	}
	exec(t, db, `reset role`)
	exec(t, other, `rollback`)
}

// The row is read under the session's settings, which its policies rely on; what is
// recorded of it is made under those of the trigger.
func TestExplainReadsTheRowUnderTheSessionsSettings(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create table members (name text, zone text); insert into members values ('alice', 'Asia/Tokyo');
		create table tasks (id int primary key, at timestamptz, tbl regclass, owner text); insert into tasks values (1, '2026-11-22 10:00Z', 'members', 'alice');
		create function member(who text) returns boolean language sql stable as 'select exists (select from members where name = who and zone = current_setting(''timezone''))';
		alter table tasks enable row level security; alter table tasks force row level security; create policy members on tasks using (member(owner));
		select pgbell.attach('tasks', array['at:{at}', 'tbl:{tbl}'])`)
	role := readerOf(t, db)
	exec(t, db, `grant select on members to `+role+`; set timezone = 'Asia/Tokyo'; set role `+role)
	x := explain(t, db, "tasks", "1")
	if !x.Exists || x.Scopes[0].Scope != "at:2026-11-22%2010:00:00+00" || x.Scopes[1].Scope != "tbl:public.members" {
		t.Errorf("explained: %+v", x)
	}
	exec(t, db, `delete from tasks; reset role`)
	if op, facts := recorded(t, db); op != "delete" || !cmp.Equal(facts, x.Facts) {
		t.Errorf("facts of the %s (-recorded +explained):\n%s", op, cmp.Diff(facts, x.Facts))
	}
	var zone, path string
	if err := db.QueryRow(t.Context(), `select current_setting('timezone'), current_setting('search_path')`).Scan(&zone, &path); err != nil || zone != "Asia/Tokyo" || path == "pg_catalog, pg_temp" {
		t.Errorf("the session was left with %s, %s, %v", zone, path, err)
	}
}

// Not even a policy of the user's can write while a row is explained.
func TestExplainOnlyReads(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create table tasks (id int primary key); insert into tasks values (1); create table seen (at timestamptz);
		create function note() returns boolean language sql volatile as 'insert into seen values (now()) returning true';
		alter table tasks enable row level security; alter table tasks force row level security; create policy noted on tasks using (note());
		select pgbell.attach('tasks', array['t'])`)
	// Of a table's owner, whom its policies bind only by force, and who is no superuser.
	role := readerOf(t, db)
	exec(t, db, `alter table tasks owner to `+role+`; set role `+role)
	_, err := triggers.Explain(t.Context(), db, "tasks", "1")
	if err == nil || !strings.Contains(err.Error(), "read-only transaction") {
		t.Errorf("Explain = %v, want the policy's INSERT refused", err)
	}
	exec(t, db, `reset role`)
}

// Which groups a row names, and why none, is what its audience is made of.
func TestExplanationNamesGroups(t *testing.T) {
	db := connect(t, pgtest.Migrated.Database(t))
	exec(t, db, `create table cards (id int primary key, team int, area text, teams int[], owner text, note text)`)
	f := triggers.Feed{Table: "cards", Scopes: []string{"cards"}, Audience: []string{"owner", "team:{team}", "{area}/{team}", "any:{teams}", "{area}"}}
	if err := triggers.Attach(t.Context(), db, f); err != nil {
		t.Fatal(err)
	}
	const taken = "no group may have the name"
	for i, test := range []struct {
		row    string // without the id and the note
		groups [][]string
		why    []string // parts
	}{
		{`7, 'north', '{1,2,null}', 'alice'`, [][]string{nil, {"team:7"}, {"north/7"}, {"any:1", "any:2"}, {"north"}}, []string{"", "", "", "", ""}},
		{`null, null, null, null`, make([][]string, 5), []string{"owner is NULL", "team is NULL", "area is NULL", "teams is NULL", "area is NULL"}},
		{`7, 'a/b', '{}', ''`, [][]string{nil, {"team:7"}, nil, nil, {"a/b"}}, []string{"owner is empty", "", taken, "teams is empty", ""}},
		{`7, ':x', '{{1},{2}}', 'a'`, [][]string{nil, {"team:7"}, nil, {"any:1", "any:2"}, nil}, []string{"", "", taken, "", taken}},
		{`7, repeat('x', 1023), '{3}', 'a'`, [][]string{nil, {"team:7"}, nil, {"any:3"}, {strings.Repeat("x", 1023)}}, []string{"", "", taken, "", ""}},
		{`7, repeat('x', 3000), '{3}', 'a'`, [][]string{nil, {"team:7"}, nil, {"any:3"}, nil}, []string{"", "", "area is longer than 1024 bytes", "", "area is longer than 1024 bytes"}},
	} {
		exec(t, db, fmt.Sprintf(`insert into cards values (%d, %s)`, i, test.row))
		x := explain(t, db, "cards", fmt.Sprint(i))
		if x.Changed != "note" { // the others say who hears
			t.Errorf("the example is an update of %s", x.Changed)
		}
		var groups, users []string
		for n, o := range x.Owners {
			if o.Column != f.Audience[n] || !cmp.Equal(o.Groups, test.groups[n]) || !strings.Contains(o.Why, test.why[n]) || (o.Why == "") != (test.why[n] == "") {
				t.Errorf("%s: %s names %+v; want groups %q, because %q", test.row, f.Audience[n], o, test.groups[n], test.why[n])
			}
			groups, users = append(groups, o.Groups...), append(users, o.Users...)
		}
		if a := meaning(t, db, "cards", x.Facts).Audience; !a.Equal(bus.Named(users, groups)) {
			t.Errorf("%s: the audience is %q %q, explained are %q %q", test.row, a.Users(), a.Groups(), users, groups)
		}
	}
}
