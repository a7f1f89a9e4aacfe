package main

import (
	"strings"
	"testing"

	"github.com/pgbell/pgbell/internal/pgtest"
)

// Each fault is made for real, and is gone once the remedy was run, if that is SQL.
func TestDoctorsRemediesMendFeeds(t *testing.T) {
	const tasks = `create table tasks (id int primary key, p int, owner text, title text);`
	const attach = `select pgbell.attach('tasks', array['tasks', 'p:{p}'], audience => array['owner']);`
	for i, test := range []struct {
		name, sql     string
		about         string
		level         level
		words, remedy string
		after         string // what is left to say of it, if not "ok"
	}{
		{"a column is gone", tasks + attach + `alter table tasks drop column p`,
			"feed public.tasks", problem, "column p is gone", `select pgbell.attach('public.tasks'::regclass, scopes => array['tasks'], audience => array['owner']);`, ""},
		{"the owner column is gone", tasks + attach + `alter table tasks rename owner to boss`,
			"feed public.tasks", problem, "nobody hears of any row", "audience => array[]::text[]", ""},
		{"all scopes are gone", tasks + `select pgbell.attach('tasks', array['p:{p}']); alter table tasks drop column p, drop column owner`,
			"feed public.tasks", problem, "column p is gone", "array['tasks']", "everyone may hear"},
		{"a column is of another type", tasks + attach + `alter table tasks alter p type bigint`,
			"feed public.tasks", problem, "column p was integer, now is bigint", "array['tasks', 'p:{p}']", ""},
		{"the key is another", tasks + attach + `alter table tasks drop constraint tasks_pkey, add primary key (title)`,
			"feed public.tasks", problem, "the primary key is another", "pgbell.attach", ""},
		{"a trigger is disabled", tasks + attach + `alter table tasks disable trigger pgbell_update_1`,
			"feed public.tasks", problem, "trigger pgbell_update_1 is disabled", "pgbell.attach", ""},
		{"a trigger is missing", tasks + attach + `drop trigger pgbell_insert_1 on tasks`,
			"feed public.tasks", problem, "trigger pgbell_insert_1 is missing", "pgbell.attach", ""},
		{"the table was dropped", tasks + attach + `create table other (id int primary key, owner text); select pgbell.attach('other', array['o'], array['owner']); drop table tasks`,
			"feed public.tasks", problem, "the table was dropped", "select pgbell.detach(", "gone"},
		{"the table is a partition", `create table root (id int primary key, p int, owner text) partition by list (id);` + tasks + attach +
			`alter table tasks drop column title; alter table root attach partition tasks for values in (1); `,
			"feed public.tasks", problem, "is now a partition", `select pgbell.detach('public.tasks'); select pgbell.attach('public.root'::regclass, scopes => array['tasks', 'p:{p}']`, "gone"},
		{"another table took its name", tasks + attach + `create table new (like tasks including all); alter table tasks rename to old; alter table new rename to tasks`,
			"feed public.old", problem, "another table is called public.tasks now", `select pgbell.detach('public.old'); select pgbell.attach('public.tasks'::regclass, scopes => array['tasks', 'p:{p}']`, "gone"},
		{"a copy with its triggers", tasks + attach + `create table new (like tasks including all); do $$ begin execute (select replace(pg_get_triggerdef(oid), ' ON public.tasks ', ' ON public.new ')
				from pg_trigger where tgrelid = 'tasks'::regclass and tgname ~ '^pgbell_insert'); end $$`,
			"feed public.new", problem, "it has triggers of another table's feed", `select pgbell.detach('public.new');`, "gone"},
		{"a feed that was not copied", tasks + attach + `delete from pgbell.feed`,
			"feed public.tasks", problem, "its feed is not in this copy of the database", "pgbell migrate", ""},
		{"a partition is new", `create table tasks (id int primary key, owner text) partition by list (id); select pgbell.attach('tasks', array['t'], array['owner']); create table tasks_1 partition of tasks for values in (1)`,
			"feed public.tasks", warning, "TRUNCATE of public.tasks_1 alone is heard late", "pgbell.attach", ""},
		{"no key", `create table tasks (id int, owner text); select pgbell.attach('tasks', array['t'], array['owner'])`,
			"feed public.tasks", note, "has no primary key", "add primary key (id); select pgbell.attach", ""},
		{"no key, but columns", `create table tasks (n int, owner text); select pgbell.attach('tasks', array['t'], array['owner'])`,
			"feed public.tasks", note, "has no primary key", "add column id bigint generated always as identity primary key; select pgbell.attach", ""},
		{"no key, but a unique index", `create table tasks (n int not null, m int unique, owner text); create unique index "U" on tasks (n); select pgbell.attach('tasks', array['t'], array['owner'])`,
			"feed public.tasks", note, "has no primary key", `add primary key using index "U"; select pgbell.attach`, ""},
		{"no audience", tasks + `select pgbell.attach('tasks', array['tasks'])`,
			"feed public.tasks", note, "everyone may hear of its rows, though owner looks like an owner", "audience => array['owner']", ""},
		{"not durable", tasks + `select pgbell.attach('tasks', array['tasks'], array['owner'], durable => false)`,
			"feed public.tasks", note, "is not durable: any role that can connect reads its keys", "pgbell.attach('public.tasks'::regclass, scopes => array['tasks'], audience => array['owner']);", ""},
		{"a scope is shared", tasks + attach + `create table news (id int primary key, owner text); select pgbell.attach('news', array['news', 'tasks'], array['owner'], durable => false)`,
			"feed public.news", warning, "shares scope tasks with public.tasks", "array['news', 'public:tasks']", "is not durable"},
		{"an index is missing", tasks + attach + `insert into tasks select i, i, 'x', repeat('x', 100) from generate_series(1, 1000) i; create index on tasks (owner, title)`,
			"feed public.tasks", note, "no index begins with p: a page of p:{p} that fetches again reads the whole table", `create index concurrently on public.tasks ("p");`, ""},
		{"an index on an owner is missing", tasks + attach + `insert into tasks select i, i, 'x', repeat('x', 100) from generate_series(1, 1000) i; create index on tasks (p, owner); create index on tasks (owner) where p > 1`,
			"feed public.tasks", note, "no index begins with owner: a page of one user's rows", `create index concurrently on public.tasks ("owner");`, ""},
		{"an index on a group's column is missing", tasks + `select pgbell.attach('tasks', array['tasks'], array['team:{p}']); insert into tasks select i, i, 'x', repeat('x', 100) from generate_series(1, 1000) i`,
			"feed public.tasks", note, "no index begins with p: a page of one group's rows", `create index concurrently on public.tasks ("p");`, ""},
		{"an index on two columns is missing, of a partitioned table", `create table tasks (id int primary key, a int, b int, owner text[]) partition by range (id); create table tasks_1 partition of tasks default;
			insert into tasks select i, i, i from generate_series(1, 5000) i; create index on tasks (a); select pgbell.attach('tasks', array['t:{b}:{a}', '{{x}}', 'a:{a}'], array['owner'])`,
			"feed public.tasks", note, "no index begins with a, b: a page of t:{b}:{a}", `create index on public.tasks ("a", "b");`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if testing.Short() && i%3 > 0 {
				t.Skip("not with -short")
			}
			db := migrated(t)
			exec1(t, db, test.sql)
			by, code := diagnosis(t, db)
			has(t, by, test.about, test.level, test.words, test.remedy)
			if (code != 0) != (test.level == problem) {
				t.Errorf("exit %d for a %s", code, test.level)
			}
			for _, sql := range strings.SplitAfter(by[test.about].Remedy, "; ") { // one may not run in a transaction
				if sql != "pgbell migrate" {
					exec1(t, db, sql)
				} else if err := pgtest.Migrate(t.Context(), db); err != nil {
					t.Fatal(err)
				}
			}
			by, _ = diagnosis(t, db)
			switch f, there := by[test.about]; {
			case test.after == "gone":
				if there {
					t.Errorf("after the remedy: %+v, want none", f)
				}
			case test.after != "":
				has(t, by, test.about, note, test.after, "")
			case f.Level != fine:
				t.Errorf("after the remedy: %+v, want ok", f)
			}
		})
	}
}

// What small tables lack needs no index.
func TestDoctorAdvisesNoIndexForASmallTable(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key, p int, owner text); insert into tasks select i, i, 'x' from generate_series(1, 100) i;
		select pgbell.attach('tasks', array['p:{p}'], array['owner'])`)
	by, _ := diagnosis(t, db)
	has(t, by, "feed public.tasks", fine, "ok", "")
}

func TestDoctorFindsAScopeThatOneFeedGuardsAndAnotherOpens(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table orders (id int primary key, placed_by text); create table order_lines (id int primary key, order_id int, placed_by text);
		select pgbell.attach('orders', array['order:{id}'], array['placed_by']); select pgbell.attach('order_lines', array['order_lines', 'order:{order_id}'])`)
	by, code := diagnosis(t, db)
	has(t, by, "feed public.order_lines", note, "everyone hears of its rows in order:{order_id}, though public.orders guards order:{id} by placed_by", "--authorize-sql")
	has(t, by, "feed public.orders", fine, "ok", "")
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	exec1(t, db, `select pgbell.attach('order_lines', array['order_lines', 'order:{order_id}'], array['placed_by'])`)
	by, _ = diagnosis(t, db)
	has(t, by, "feed public.order_lines", fine, "ok", "")
}

// The listener's role need not use the table's schema: its doctor sees what is wrong, and
// says what to do to who may.
func TestDoctorsRemedyWhereTheTablesSchemaIsClosed(t *testing.T) {
	db := migrated(t)
	role := newRole(t, db, "select pgbell.grant_listener('$role')")
	exec1(t, db, `create schema app; create table app.tasks (id int primary key, p int, owner text);
		select pgbell.attach('app.tasks', array['tasks', 'p:{p}'], audience => array['owner']); alter table app.tasks drop column p`)
	by, code := diagnosis(t, as(t, db, role, password))
	has(t, by, "feed app.tasks", problem, "column p is gone", `select pgbell.attach('app.tasks'::regclass, scopes => array['tasks'], audience => array['owner']);`)
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	exec1(t, db, by["feed app.tasks"].Remedy)
	by, _ = diagnosis(t, as(t, db, role, password))
	has(t, by, "feed app.tasks", note, "what its table lacks can't be looked at: permission denied for schema app", "as the table's owner")
}
