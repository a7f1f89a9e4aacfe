package integration

import (
	"fmt"
	"strings"
	"testing"
)

// What runs with the rights of its owner looks names up in the system's schemas
// alone; what doesn't pin its search_path is called by such functions only, for
// nobody else may call it.
func TestTriggerFunctionsPinTheirSearchPath(t *testing.T) {
	o := newOwned(t)
	const ours = ` from pg_proc p where p.pronamespace = 'pgbell'::regnamespace and `
	if got := o.ask(`select count(*) filter (where proname ~ '^feed_') >= 3 and count(*) > 5 ` + ours + `p.prosecdef`); got != "true" {
		t.Error("hardly any SECURITY DEFINER")
	}
	const pinned = `'search_path=pg_catalog, pg_temp' = any (coalesce(p.proconfig, '{}'))`
	// Those of single statements pin each name instead: see TestTriggerLooksNothingUpByTheWritersPath.
	if got := o.column(`select p.oid::regprocedure::text` + ours + `p.prosecdef and p.proname !~ '^feed_\d+_(insert|update|delete)$' and not ` + pinned); len(got) > 0 {
		t.Errorf("with its owner's rights, by the caller's names: %s", got)
	}
	if got := o.column(`select p.oid::regprocedure::text` + ours + `not ` + pinned + ` and p.proname !~ '^feed_' and exists (
		select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee <> p.proowner)`); len(got) > 0 {
		t.Errorf("by the caller's names, and others may call it: %s", got)
	}
	if got := o.column(`select p.oid::regprocedure::text` + ours + `p.prolang not in (select oid from pg_language where lanname in ('sql', 'plpgsql'))`); len(got) > 0 {
		t.Errorf("in another language: %s", got)
	}
}

// Whoever calls cursor, publish, rotate and the rest may have any search_path.
func TestTriggerFunctionsRunNothingOfTheirCallers(t *testing.T) {
	o := newOwned(t)
	o.exec(fmt.Sprintf(`grant execute on function pgbell.publish(text, jsonb, text[]), pgbell.state(pgbell.feed) to %s`, o.ear))
	o.exec(fmt.Sprintf(`create schema evil authorization %s; grant usage on schema evil to public`, o.stranger))
	o.execOn(o.connectAs(o.stranger), fmt.Sprintf(hostile, "evil"))
	for _, schema := range []string{"evil", "pg_temp"} {
		for _, role := range []string{o.ear, o.app} {
			conn := o.connectAs(role)
			if schema == "pg_temp" {
				o.execOn(conn, fmt.Sprintf(hostile, schema))
			}
			o.execOn(conn, `set search_path = `+schema+`, pg_catalog, app, public`, `select pgbell.cursor()`, `select pgbell.mark_incarnation()`, `select pgbell.arm('x', '1 s')`,
				`select pgbell.rotate('0'::interval)`, `select pgbell.rotate('0'::interval)`, `select * from pgbell.feeds`)
			o.expectOn(conn, `select pgbell.publish('a b'::pg_catalog.text, '1'::pg_catalog.jsonb)`, `publish a%20b data 1`)
			if role == o.app {
				o.execOn(conn, `select pgbell.attach('app.t', array['t'::pg_catalog.text])`, `select pgbell.detach('app.t')`)
			}
		}
	}
}

// The table is its owner's: what is in its types, defaults, checks, indexes and
// policies runs as it would without pgbell, with the writer's rights or the owner's,
// and never with those of pgbell's owner or of who attached it.
func TestTriggerHostileTableOwner(t *testing.T) {
	o := newOwned(t)
	eve := o.role("eve")
	o.exec(fmt.Sprintf(`create schema eve authorization %s; grant usage on schema eve to public`, eve))
	conn := o.connectAs(eve)
	o.execOn(conn, `set search_path = eve`,
		`create table caught (who text); grant insert on caught to public;
		create function evil() returns boolean language plpgsql as $$ begin insert into eve.caught values (current_user); return true; end $$;
		create function evil(text) returns boolean language plpgsql immutable as $$ begin perform eve.evil(); return true; end $$;
		create function evil_text(text) returns text language plpgsql immutable as $$ begin perform eve.evil(); return 'g' || $1; end $$;
		create function evil_diff(float8, float8) returns float8 language plpgsql immutable as $$ begin perform eve.evil(); return $1 - $2; end $$;
		create function evil_default() returns text language plpgsql as $$ begin perform eve.evil(); return 'd'; end $$;
		create domain checked as text check (eve.evil(value));
		create domain numbers as int[] check (eve.evil(value::text));
		create type pair as (a checked, b int);
		create type spread as range (subtype = float8, subtype_diff = evil_diff);
		create type mood as enum ('sad', 'glad')`)
	const columns = `(id int primary key, p checked, ns numbers, c pair, r spread, m mood, owner text default evil_default(), g text generated always as (evil_text(id::text)) stored, check (evil(owner)))`
	for _, table := range []string{"t " + columns, "q " + columns + " partition by list (id)"} {
		o.execOn(conn, `create table `+table)
	}
	o.execOn(conn, `create table q1 partition of q default;
		create index on t (evil_text(owner)); create index on t using gist (r);
		alter table t enable row level security, force row level security; create policy x on t using (evil()) with check (evil(owner));
		grant select, insert, update, delete on t, q to `+o.clerk)
	for _, table := range []string{"t", "q"} { // by the superuser
		o.exec(fmt.Sprintf(`select pgbell.attach('eve.%s', array['%[1]s:{p}', 'm:{m}', 'c:{c}', 'r:{r}', 'g:{g}'], audience => array['owner', 'ns'], payload => array['p', 'ns', 'c', 'r', 'm', 'g'])`, table))
	}
	clerk := o.connectAs(o.clerk)
	for _, table := range []string{"t", "q"} {
		got := o.hearOn(clerk, `insert into eve.`+table+` (id, p, ns, c, r, m) values (1, 'x', '{5}', row('y', 2), '[1,2]', 'sad')`)
		var want []string
		for _, scope := range []string{table + ":x", "m:sad", "c:%28y%2C2%29", "r:%5B1%2C2%5D", "g:g1"} {
			want = append(want, fmt.Sprintf(`insert %s eve.%s {"id":1} for 5,d data {"p":"x","ns":[5],"c":"(y,2)","r":"[1,2]","m":"sad","g":"g1"}`, scope, table))
		}
		o.same(got, want...)
		o.execOn(clerk, `update eve.`+table+` set p = 'z', owner = 'bob', ns = '{6}'`, `delete from eve.`+table+` where id = 1`)
	}
	// Later changes of the definition.
	o.execOn(conn, `alter table t alter m type checked, alter p type mood using 'sad', alter ns type pair using row('a', 1), drop column r cascade, add column r checked default 'x'`,
		`insert into t (id, p) values (2, 'glad')`, `update t set p = 'sad'`, `delete from t`)
	if got := o.ask(`select string_agg(distinct who, ' ' order by who) from eve.caught`); got != o.clerk+" "+eve {
		t.Errorf("ran as %s", got)
	}
	if got := o.ask(`select string_agg(state, ' ') from pgbell.feeds where table_name = 'eve.t'`); got == "ok" {
		t.Errorf("the state is %s", got)
	}
}

// Any session may set the custom settings that the triggers read.
func TestTriggerForgedSettingsAreHarmless(t *testing.T) {
	o := newOwned(t)
	clerk := o.connectAs(o.clerk)
	id := 0
	for _, value := range []string{"on", "off", "", "evil'); drop table app.t; --"} {
		for _, feed := range o.column(`select id::text from pgbell.feed`) {
			o.execOn(clerk, fmt.Sprintf(`select set_config('pgbell.nested_%s', $$%s$$, false)`, feed, value))
		}
		id++
		o.expectOn(clerk, fmt.Sprintf(`begin; insert into app.t values (%d); insert into app.q values (%[1]d); insert into app.v values (%[1]d); commit`, id),
			fmt.Sprintf(`insert t app.t {"id":%d} data {"p":null}`, id), fmt.Sprintf(`insert q app.q {"id":%d}`, id))
	}
}

// evilTwins creates a function for each of the system's in a schema, by the same name
// and for the same types, and one for each operator, that raise an exception. In a
// search_path the schema stands before the system's.
const evilTwins = `do $$
declare
    r record;
    n int := 0;
begin
    create function %[1]s.raise() returns void language plpgsql as 'begin raise exception ''evil''; end';
    for r in
        select format('create function %[1]s.%%I(%%s) returns %%s language plpgsql as $f$ begin raise exception %%L; end $f$',
            p.proname, pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid), 'evil ' || p.proname) as ddl
        from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and p.prorettype <> 'internal'::regtype
        union all
        select format('create function %[1]s.%%I(%%s) returns text language plpgsql as $f$ begin raise exception %%L; end $f$', v.v, array_to_string(array_fill(t.t, array[i]), ', '), 'evil ' || v.v)
        from unnest('{concat,concat_ws,num_nulls,format,string_agg,count,max,sum}'::text[]) v (v), unnest('{text,int}'::text[]) t (t), generate_series(1, 12) i
        union all
        select format('create function %[1]s.evil_op_%%s(%%s) returns %%s language plpgsql as $f$ begin raise exception %%L; end $f$; create operator %[1]s.%%s (%%s rightarg = %%7$s, function = %[1]s.evil_op_%%1$s)',
            o.oid, concat_ws(', ', nullif(o.oprleft::regtype::text, '-'), o.oprright::regtype), o.oprresult::regtype, 'evil ' || o.oprname, o.oprname,
            case when o.oprleft <> 0 then 'leftarg = ' || o.oprleft::regtype || ',' end, o.oprright::regtype)
        from pg_operator o where o.oprnamespace = 'pg_catalog'::regnamespace and o.oprright <> 0
    loop
        begin
            execute r.ddl;
            n := n + 1;
        exception when others then -- such as have pseudo-types
        end;
    end loop;
    raise notice '%%', n;
end $$`

// Triggers of single statements don't pin their search_path, which would cost more than
// what they do. So the writer's is no danger only if they name the schema of all that
// they use.
func TestTriggerLooksNothingUpByTheWritersPath(t *testing.T) {
	o := newOwned(t)
	o.exec(fmt.Sprintf(`create schema evil authorization %s; grant usage on schema evil to public; create type app.mood as enum ('sad', 'glad')`, o.clerk))
	for table, feed := range map[string]string{
		"plain":   `array['all', 'p:{p}', 'u:{u}-{name}', 'long:{name}{name}'], audience => array['owner', 'owners']`,
		"payload": `array['all', 'm:{m}', '{p}'], audience => array['owner'], columns => array['name', 'at', 'm', 'done'], payload => array['name', 'at', 'doc', 'num', 'm', 'owners', 'bin', 'done']`,
		"public":  `array['id:{id}', 'd:{done}', 'c:{code}']`,
	} {
		o.exec(fmt.Sprintf(`create table app.%[1]s (id int primary key, p bigint, u uuid, name text, owner varchar(40), owners text[], done boolean, at timestamptz, doc jsonb, num numeric, m app.mood, bin bytea, code char(8));
			select pgbell.attach('app.%[1]s', %[2]s); grant select, insert, update, delete on app.%[1]s to %[3]s`, table, feed, o.clerk))
	}
	o.exec(`select pgbell.arm('a server', '1 min')`) // so that they ring
	conn := o.connectAs(o.clerk)
	o.execOn(conn, fmt.Sprintf(evilTwins, "evil"), fmt.Sprintf(hostile, "pg_temp"))
	if got := o.ask(`select concat_ws(' ', count(*), count(*) filter (where proname ~ 'evil_op_')) from pg_proc where pronamespace = 'evil'::regnamespace`); got < "2" {
		t.Fatal("evil twins:", got)
	}
	o.execOn(conn, `set search_path = evil, pg_catalog`)
	for _, call := range []string{`select 'a' || 'b'`, `select 1 = 1`, `select length('a')`, `select concat(1, 2)`} {
		if err := tryExec(t.Context(), conn, call); err == nil || !strings.Contains(err.Error(), "evil") {
			t.Fatalf("%s: the evil twin is not found: %v", call, err)
		}
	}
	for _, table := range []string{"plain", "payload", "public"} {
		row := func(id string) string {
			return `(` + id + `, 7, 'c0ffee00-0000-4000-8000-000000000001', 'a b/é', 'ann', '{bob,"c d"}', true, '2026-01-02', '{"a":1}', 1.50, 'sad', 'x', 'ab')`
		}
		for i, statement := range []string{
			`insert into app.%[1]s values ` + row("1"),
			`update app.%[1]s set done = false, name = 'c', at = '2026-02-03', m = 'glad', doc = '[]', num = 2`,
			`update app.%[1]s set done = false`, // nothing
			`update app.%[1]s set p = 8, owner = 'eve', done = true, name = null, code = 'x'`,
			`update app.%[1]s set id = 2`,
			`delete from app.%[1]s`,
			`delete from app.%[1]s`, // none
			`insert into app.%[1]s values ` + row("1") + `, ` + row("2"),
			`update app.%[1]s set p = 9, at = '2026-03-04'`,
			`insert into app.%[1]s select g, 7, 'c0ffee00-0000-4000-8000-000000000001', 'a', 'ann', '{bob}', true, '2026-01-02', '{"a":1}', 1.50, 'sad', 'x', 'ab' from pg_catalog.generate_series(3, 700) g`,
			`update app.%[1]s set done = false, name = 'd'`,
			`update app.%[1]s set p = 3, owner = 'bob'`,
			`delete from app.%[1]s`,
		} {
			statement = strings.ReplaceAll(statement, "%[1]s", table)
			if got := o.hearOn(conn, statement); len(got) == 0 && i != 2 && i != 6 && !(table == "public" && strings.Contains(statement, "set p = 9")) {
				t.Errorf("nothing was told of %s", statement)
			}
		}
		if got := o.ask(`select state from pgbell.feeds where table_name = 'app.` + table + `'`); got != "ok" {
			t.Error(got)
		}
	}
	// The session's settings are as they were.
	for name, want := range map[string]string{"search_path": "evil, pg_catalog", "enable_nestloop": "on", "plan_cache_mode": "auto", "timezone": ""} {
		var got string
		if err := conn.QueryRow(t.Context(), `select pg_catalog.current_setting($1)`, name).Scan(&got); err != nil || want != "" && got != want {
			t.Errorf("%s is %q: %v", name, got, err)
		}
	}
}
