package integration

import (
	"fmt"
	"strings"
	"testing"
)

// All that a hostile role could put in the way of names that pgbell uses.
const hostile = `
create function %[1]s.evil() returns text language plpgsql as $$ begin raise exception 'evil'; end $$;
create function %[1]s.concat(text) returns text language sql as 'select %[1]s.evil()';
create function %[1]s.concat(int) returns text language sql as 'select %[1]s.evil()';
create function %[1]s.to_json(anyelement) returns json language sql as 'select %[1]s.evil()::json';
create function %[1]s.octet_length(text) returns int language sql as 'select %[1]s.evil()::int';
create function %[1]s.pg_notify(text, text) returns void language sql as 'select %[1]s.evil()';
create function %[1]s.lower(text) returns text language sql as 'select %[1]s.evil()';
create function %[1]s.nextval(text) returns bigint language sql as 'select %[1]s.evil()::bigint';
create function %[1]s.quote_ident(text) returns text language sql as 'select %[1]s.evil()';
create function %[1]s.evil_op(text, text) returns text language sql as 'select %[1]s.evil()';
create function %[1]s.evil_op(text, int) returns boolean language sql as 'select %[1]s.evil()::boolean';
create operator %[1]s.|| (leftarg = text, rightarg = text, function = %[1]s.evil_op);
create operator %[1]s.<> (leftarg = text, rightarg = int, function = %[1]s.evil_op);
create table %[1]s.old_rows (id int); create table %[1]s.new_rows (id int); create table %[1]s.journal (id int);
create table %[1]s.feed (id int); create table %[1]s.pg_trigger (id int); create table %[1]s.pg_class (id int);
create domain %[1]s.text as int; create domain %[1]s.bigint as int; create domain %[1]s.jsonb as int;`

func TestTriggerWriterNeedsNoRightsAndCannotHarm(t *testing.T) {
	d := newTriggerDB(t)
	d.exec(`create table t (id int primary key, p text, owner text, n int);
		create table q (id int primary key, p text) partition by list (id); create table q1 partition of q default;
		select pgbell.attach('t', array['p:{p}'], audience => array['owner'], payload => array['n', 'p']),
			pgbell.attach('q', array['p:{p}'], durable => false)`)
	writer := d.role("writer")
	d.exec(fmt.Sprintf(`revoke all on schema pgbell from public; grant select, insert, update, delete, truncate on t, q to %[1]s;
		create schema %[1]s authorization %[1]s`, writer))
	conn := d.connectAs(writer)
	statements := func() {
		t.Helper()
		d.expectOn(conn, `insert into public.t values (1, 'x y', 'ann', 0)`, `insert p:x%20y public.t {"id":1} for ann data {"n":0,"p":"x y"}`)
		d.expectOn(conn, `update public.t set p = 'z'`,
			`update moved out p:x%20y public.t {"id":1} for ann`, `update moved in p:z public.t {"id":1} for ann changed p data {"n":0,"p":"z"}`)
		d.expectOn(conn, `delete from public.t`, `delete p:z public.t {"id":1} for ann data {"n":0,"p":"z"}`)
		d.expectOn(conn, `truncate public.t`, `reset public.t truncate`)
		d.execOn(conn, `insert into public.q values (1, 'a b'); update public.q set p = 'c'; delete from public.q; truncate public.q`)
	}
	statements()
	d.execOn(conn, fmt.Sprintf(hostile, writer), fmt.Sprintf(`set search_path = %s, pg_catalog, pg_temp`, writer))
	statements()
	d.execOn(conn, fmt.Sprintf(hostile, "pg_temp"), `set search_path = pg_temp, pg_catalog`)
	statements()
}

// What the owner of a type says of it must not run with the rights of pgbell's owner.
func TestTriggerRunsNoCastOfATypesOwner(t *testing.T) {
	d := newTriggerDB(t)
	owner := d.role("owner")
	d.exec(fmt.Sprintf(`create schema %[1]s authorization %[1]s`, owner))
	conn := d.connectAs(owner)
	d.execOn(conn, fmt.Sprintf(`set search_path = %s;
		create table caught (who text); grant insert on caught to public;
		create type mood as enum ('sad', 'glad'); create type pair as (a mood);
		create table t (id int primary key, kind mood, m mood, ms mood[], c pair);
		create table q (id int, kind mood, m mood, ms mood[], c pair) partition by list (id); create table q1 partition of q default`, owner))
	for _, table := range []string{"t", "q"} {
		d.exec(fmt.Sprintf(`select pgbell.attach('%s.%s', array['%[2]s:{kind}', 'm:{ms}'], audience => array['m', 'ms'], columns => array['m', 'c', 'kind'], payload => array['m', 'ms', 'c'])`, owner, table))
	}
	for _, from := range []string{"mood", "pair", "mood[]"} {
		for _, to := range []string{"text", "json", "jsonb", "varchar", "text[]"} {
			name := strings.NewReplacer("[]", "s").Replace("evil_" + from + "_" + to)
			d.execOn(conn, fmt.Sprintf(`create function %s(%s) returns %s language plpgsql as $$ begin insert into %[4]s.caught values (current_user); return null; end $$`, name, from, to, owner))
			if from != "mood[]" { // a cast from an array needs the right of its element's owner, too
				_ = tryExec(t.Context(), conn, fmt.Sprintf(`create cast (%s as %s) with function %s(%[1]s) as implicit`, from, to, name))
			}
		}
	}
	if got := d.ask(`select count(*) from pg_cast where castsource::regtype::text ~ 'mood|pair'`); got != "10" {
		t.Fatalf("there are %s casts, want 10", got)
	}
	fresh := d.connectAs(owner)
	d.execOn(fresh, `set search_path = `+owner)
	for _, table := range []string{"t", "q"} {
		d.expectOn(fresh, `insert into `+table+` values (1, 'sad', 'sad', '{glad}', row('sad'))`,
			`insert `+table+`:sad `+owner+`.`+table+map[string]string{"t": ` {"id":1}`}[table]+` for glad,sad data {"m":"sad","ms":["glad"],"c":"(sad)"}`,
			`insert m:%7Bglad%7D `+owner+`.`+table+map[string]string{"t": ` {"id":1}`}[table]+` for glad,sad data {"m":"sad","ms":["glad"],"c":"(sad)"}`)
		d.execOn(fresh, `update `+table+` set m = 'glad'`, `delete from `+table)
	}
	// Nor once the owner turns a column into such a type.
	d.execOn(fresh, `alter table t alter id type mood using 'sad'`, `insert into t (id) values ('glad')`, `update t set m = 'sad'`, `delete from t`)
	if got := d.ask(fmt.Sprintf(`select string_agg(distinct who, ',') from %s.caught`, owner)); got != "<null>" {
		t.Errorf("a cast ran as %s", got)
	}
}

// Row security of a table hides no change from pgbell, and no row security of
// the reader's is needed: the audience decides.
func TestTriggerRowSecurityDoesNotMatter(t *testing.T) {
	d := newTriggerDB(t)
	writer := d.role("writer")
	d.exec(fmt.Sprintf(`create table t (id int primary key, owner text, n int); alter table t enable row level security, force row level security;
		create policy p on t to %s using (owner = 'ann');
		grant all on t to %[1]s; select pgbell.attach('t', array['t'], audience => array['owner'])`, writer))
	d.exec(`insert into t values (1, 'eve')`)
	conn := d.connectAs(writer)
	d.expectOn(conn, `insert into t values (2, 'ann')`, `insert t public.t {"id":2} for ann`)
	d.expectOn(conn, `update t set n = 1`, `update t public.t {"id":2} for ann changed n`)
	d.expectOn(conn, `delete from t`, `delete t public.t {"id":2} for ann`)
}

// A role that owns a table, and may act for the owner of schema pgbell, attaches;
// others are told who can.
func TestTriggerAttachAsksForTheOwnersRights(t *testing.T) {
	d := newTriggerDB(t)
	owner := d.role("owner")
	d.exec(`create table t (id int primary key)`, fmt.Sprintf(`create table theirs (id int primary key); alter table theirs owner to %[1]s;
		grant usage on schema pgbell to %[1]s; grant execute on all functions in schema pgbell to %[1]s; grant all on all tables in schema pgbell to %[1]s`, owner))
	conn := d.connectAs(owner)
	for call, want := range map[string]string{
		`attach('t', array['t'])`:           "must be owner of table public.t",
		`attach('theirs', array['t'])`:      "the owner of schema pgbell",
		`attach('nosuch', array['t'])`:      `relation "nosuch" does not exist`,
		`attach('pg_authid', array['oid'])`: "system table",
	} {
		err := tryExec(t.Context(), conn, `select pgbell.`+call)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", call, err, want)
		}
	}
}
