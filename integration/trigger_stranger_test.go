package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Whoever may connect may ask for the cursor, and nothing else, whatever ALTER
// DEFAULT PRIVILEGES says. What there is comes from the catalogs, so that new
// objects are covered.
func TestTriggerStrangerMayOnlyAskForTheCursor(t *testing.T) {
	o := newOwned(t, `alter default privileges for role BELL grant all on tables to STRANGER, public; alter default privileges for role BELL grant all on sequences to STRANGER;
		alter default privileges for role BELL grant execute on functions to STRANGER`)
	o.exec(fmt.Sprintf(`alter default privileges for role %s grant execute on functions to %s`, o.app, o.stranger))
	o.execOn(o.connectAs(o.app), `create table app.u (id int primary key); select pgbell.attach('app.u', array['u'])`)
	for _, role := range []string{o.stranger, o.clerk} {
		if got := o.ask(rights(role)); got != "cursor" {
			t.Errorf("%s may use %s", role, got)
		}
	}
	conn := o.connectAs(o.stranger)
	o.execOn(conn, `select pgbell.cursor()`)
	calls := o.column(`select case when p.prorettype = 'trigger'::regtype then format('create trigger x after insert on pg_temp.mine execute function %s', p.oid::regprocedure)
			else format('select %s(%s)', p.oid::regproc, (select string_agg(format(case when p.provariadic <> 0 then 'variadic ' else '' end || '(select null::%s)', case a.t when 'anyelement'::regtype then 'int' else a.t::regtype::text end), ', ' order by i)
				from unnest(p.proargtypes::oid[]) with ordinality a (t, i))) end
		from pg_proc p where p.pronamespace = 'pgbell'::regnamespace and p.proname <> 'cursor'`)
	for _, r := range o.column(`select c.oid::regclass::text from pg_class c where c.relnamespace = 'pgbell'::regnamespace and c.relkind in ('r', 'p', 'v')`) {
		calls = append(calls, "select from "+r, "table "+r, "do 'begin lock "+r+" in access share mode; end'")
		if r != "pgbell.feeds" && r != "pgbell.lives" { // which nobody can write
			calls = append(calls, "insert into "+r+" default values", "delete from "+r, "truncate "+r, "create trigger x after insert on "+r+" execute function pgbell.feed_1_insert()")
		}
	}
	for _, s := range o.column(`select c.oid::regclass::text from pg_class c where c.relnamespace = 'pgbell'::regnamespace and c.relkind = 'S'`) {
		calls = append(calls, "table "+s, "select nextval('"+s+"')", "select setval('"+s+"', 1)", "select last_value from "+s)
	}
	calls = append(calls, `select pgbell.attach('app.t', array['x'])`, `select pgbell.detach('app.t')`, `select pgbell.publish('x')`, `select pgbell.rotate()`,
		`create function pgbell.evil() returns int language sql as 'select 1'`, `create table pgbell.evil ()`)
	if len(calls) < 100 {
		t.Errorf("only %d attempts", len(calls))
	}
	o.execOn(conn, `create temp table mine (id int)`)
	for _, call := range calls {
		o.denies(conn, call)
	}
}

// column returns a query's one column.
func (d *triggerDB) column(query string) []string {
	d.Helper()
	rows, err := d.writer.Query(d.Context(), query)
	if err != nil {
		d.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		d.Fatalf("%s: %v", query, err)
	}
	return all
}

// Anybody may hold any advisory lock: what takes one, anybody could stop.
func TestTriggerNothingTakesAnAdvisoryLock(t *testing.T) {
	o := newOwned(t)
	o.exec(`insert into app.t values (1)`)
	for _, statement := range []string{`select pgbell.rotate()`, `select pgbell.rotate('0')`, `select pgbell.publish('x')`, `select pgbell.mark_incarnation()`, `select pgbell.arm('x', '1 s')`,
		`insert into app.t values (2)`, `insert into app.v values (2)`, `truncate app.t`, `select pgbell.attach('app.t', array['t'])`, `select pgbell.detach('app.t')`} {
		o.exec(`begin`, statement)
		if got := o.ask(`select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`); got != "0" {
			t.Errorf("%s takes %s advisory locks", statement, got)
		}
		o.exec(`commit`)
	}
}

// attach and detach want the rights of the table's owner and of pgbell's.
func TestTriggerAttachAndDetachAsMember(t *testing.T) {
	o := newOwned(t)
	both := o.role("both")
	o.exec(fmt.Sprintf(`grant %s, %s to %s`, o.app, o.bell, both), `create table app.other (id int primary key)`)
	detach, attach := `select pgbell.detach('app.t')`, `select pgbell.attach('app.t', array['t', 'p:{p}'])`
	// The owner of schema pgbell has no right to the table.
	bell := o.connectAs(o.bell)
	for _, statement := range []string{detach, attach} {
		o.denies(bell, statement)
		if err := tryExec(t.Context(), bell, statement); !strings.Contains(err.Error(), "must be owner of table app.t") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	for _, role := range []string{both, o.app} {
		conn := o.connectAs(role)
		o.execOn(conn, detach, attach)
		if err := tryExec(t.Context(), conn, `select pgbell.attach('app.other', array['t'])`); err == nil || !strings.Contains(err.Error(), "must be owner") {
			t.Errorf("%s attaches another's table: %v", role, err)
		}
	}
	// SET ROLE gives up what the session's user has, and takes what the role has.
	conn := o.connectAs(both)
	o.execOn(conn, `set role `+o.bell)
	o.denies(conn, detach)
	o.denies(conn, attach)
	o.execOn(conn, `set role `+o.app, detach, attach, `reset role`)
	o.execOn(o.writer, `set role `+o.clerk)
	o.denies(o.writer, detach)
	o.denies(o.writer, attach)
	o.exec(`reset role`)
	// All that's generated is the schema's owner's.
	if got := o.ask(`select string_agg(distinct proowner::regrole::text, ',') from pg_proc where pronamespace = 'pgbell'::regnamespace`); got != o.bell {
		t.Errorf("functions belong to %s", got)
	}
	clerk := o.connectAs(o.clerk)
	o.expectOn(clerk, `insert into app.t values (5, 'x')`, `insert t app.t {"id":5}`, `insert p:x app.t {"id":5}`)
}
