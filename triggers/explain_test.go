package triggers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/internal/pgtest"
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
func recorded(t *testing.T, db *pgx.Conn) (op, changes string) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `select op, changes from pgbell.journal order by seq desc, part desc limit 1`).Scan(&op, &changes); err != nil {
		t.Fatal(err)
	}
	return op, changes
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

// keyOf returns the row's key as the journal has it.
func keyOf(t *testing.T, change string) string {
	t.Helper()
	var c struct {
		Key    json.RawMessage
		Scopes []string
	}
	if err := json.Unmarshal([]byte(change), &c); err != nil {
		t.Fatal(err)
	}
	if c.Key != nil {
		return string(c.Key)
	}
	return "b=" + strings.TrimPrefix(c.Scopes[len(c.Scopes)-1], "b:") // of keyless
}

// What explain says is what the trigger records, to the byte. The change is one of a
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
				_, changes := recorded(t, db)
				x := explain(t, db, table, keyOf(t, changes[1:len(changes)-1]))
				exec(t, db, `delete from `+table)
				op, changes := recorded(t, db)
				if diff := cmp.Diff(changes[1:len(changes)-1], string(x.Change)); diff != "" || op != "delete" {
					t.Errorf("op %s, change (-recorded +explained):\n%s", op, diff)
				}
				checkParts(t, x)
				n++
			})
		}
	}
	if n < 60 {
		t.Errorf("only %d rows were compared", n)
	}
}

// checkParts compares the explanation's words with its change.
func checkParts(t *testing.T, x triggers.Explanation) {
	t.Helper()
	var change struct {
		Scopes   []string
		Audience *[]string
	}
	if err := json.Unmarshal(x.Change, &change); err != nil {
		t.Fatal(err)
	}
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
	if change.Audience == nil {
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
	recorded := slices.DeleteFunc(*change.Audience, func(u string) bool { return u == "" })
	if !slices.Equal(users, recorded) {
		t.Errorf("users %q, recorded %q", users, recorded)
	}
}

// The notification is that of an update of the column that is named.
func TestExplainedNotificationIsTheOneThatComes(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	db, ear := connect(t, url), connect(t, url)
	exec(t, ear, `listen pgbell; select pgbell.arm('a test', '1 minute')`)
	exec(t, db, `create table tasks (id int primary key, p int, owner text, title text)`)
	for name, f := range map[string]triggers.Feed{
		"durable":         {Scopes: []string{"z:{id}", "p:{p}", "Z:{p}", "a:{p}"}, Audience: []string{"owner"}},
		"one scope":       {Scopes: []string{"it's:{id}"}, Columns: []string{"title"}},
		"durable, long":   {Scopes: slices.Repeat([]string{strings.Repeat("x", 200) + ":{id}", strings.Repeat("y", 200) + ":{id}"}, 1), Columns: []string{"title"}},
		"not durable":     {Scopes: []string{"z:{id}", "p:{p}"}, Audience: []string{"owner"}, Volatile: true},
		"without journal": {Scopes: []string{"z"}, Volatile: true, Columns: []string{"title"}},
	} {
		t.Run(name, func(t *testing.T) {
			f.Table = "tasks"
			exec(t, db, `truncate tasks; insert into tasks values (1, 7, E'al"ice\n', 'a')`)
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
				if !strings.Contains(n.Payload, `"op":"update"`) {
					continue // attach's
				}
				if diff := cmp.Diff(withoutTime(n.Payload), withoutTime(x.Notification)); diff != "" {
					t.Errorf("notification (-sent +explained):\n%s", diff)
				}
				return
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
					if !marked || !strings.Contains(n.Payload, `"op":"`+test.op+`"`) {
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

func withoutTime(payload string) string {
	before, rest, ok := strings.Cut(payload, `"at":"`)
	if !ok {
		return payload
	}
	_, after, _ := strings.Cut(rest, `"`)
	return before + after
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
	if x := explain(t, db, "tasks", "99"); x.Exists || x.Change != nil {
		t.Errorf("row 99: %+v", x)
	}
	exec(t, db, `create table unheard (id int primary key, p text); insert into unheard values (1, null); select pgbell.attach('unheard', array['p:{p}', '{p}'])`)
	if x := explain(t, db, "unheard", "1"); x.Change != nil || x.Notification != "" || len(x.Scopes) != 2 || x.Drifted {
		t.Errorf("a row without a scope: %+v", x)
	}
	exec(t, db, `alter table tasks disable trigger pgbell_update_1`)
	if x := explain(t, db, "tasks", "1"); !slices.Equal(x.Silent, []string{"update"}) || !strings.Contains(x.Feed.State, "disabled") {
		t.Errorf("with a trigger disabled: %+v", x)
	}
	for _, ddl := range []string{"alter table tasks alter p type varchar", "alter table tasks rename p to q"} {
		exec(t, db, ddl)
		x := explain(t, db, "tasks", "1")
		exec(t, db, `delete from tasks where id = 3; insert into tasks values (3, 'y', 'bob', 'x')`)
		if op, changes := recorded(t, db); (op == "reset") != x.Drifted || x.Drifted && x.Change != nil {
			t.Errorf("after %s: drifted %v, change %s; recorded %s %s", ddl, x.Drifted, x.Change, op, changes)
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
	if x := explain(t, db, "tasks", "1"); !x.Exists || x.Change == nil {
		t.Errorf("a row that may be seen: %+v", x)
	}
	if x := explain(t, db, "tasks", "2"); x.Exists || x.Change != nil || x.Owners != nil || x.Scopes != nil {
		t.Errorf("a row that may not be seen: %+v", x)
	}
	if _, err := triggers.Explain(t.Context(), db, "secret", "1"); err == nil || !strings.Contains(err.Error(), "permission denied for table secret") {
		t.Errorf("a table that may not be read: %v", err)
	}
	exec(t, db, `reset role`)
	exec(t, other, `rollback`)
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
