package integration

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/listener"
)

// A role with just the grants of the manual is enough to listen, to rotate the
// journal, and to answer those who come back.
func TestTriggerListenerRoleNeedsOnlyItsGrants(t *testing.T) {
	o := newOwned(t)
	clerk := o.connectAs(o.clerk)
	since := o.since()
	o.execOn(clerk, `insert into app.t values (0, 'early', 'ann')`)
	e := o.listen(o.ear, listener.Config{}, "t", "p:x%20y", "q", "v", "v:1", "late").ready()

	e.hears(clerk, `insert into app.t values (1, 'x y', 'ann')`, `insert t app.t {"id":1} data {"p":"x y"}`, `insert p:x%20y app.t {"id":1} data {"p":"x y"}`)
	e.hears(clerk, `delete from app.t`, `delete t app.t {"id":0} data {"p":"early"}`, `delete t app.t {"id":1} data {"p":"x y"}`, `delete p:x%20y app.t {"id":1} data {"p":"x y"}`)
	e.hears(clerk, `insert into app.q values (1, 'x')`, `insert q app.q {"id":1}`)
	e.hears(clerk, `insert into app.v values (1)`, `insert v app.v {"id":1}`, `insert v:1 app.v {"id":1}`)
	app := o.connectAs(o.app)
	e.hears(app, `create table app.late (id int primary key); select pgbell.attach('app.late', array['late'], durable => false)`)
	e.hears(app, `insert into app.late values (1)`, `insert late app.late {"id":1}`)

	replay, err := e.l.Replay(t.Context(), since)
	if err != nil || replay.Reset != "" {
		t.Fatalf("a replay: %v, %+v", err, replay)
	}
	var first string
	for event := range replay.Events([]string{"t"}, func(bus.Audience) bool { return true }) {
		first = cmp.Or(first, line(event))
	}
	if want := `insert t app.t {"id":0} data {"p":"early"}`; first != want {
		t.Errorf("replayed first %q, want %q", first, want)
	}
	// Postgres empties the unlogged table in a crash: there is a new mark.
	o.exec(`truncate pgbell.incarnation`, `select pg_terminate_backend(pid) from pg_stat_activity where usename = '`+o.ear+`'`)
	e.until("a new mark", func() bool { return o.ask(`select count(*) from pgbell.incarnation`) == "1" })
	e.ready()
	if got := strings.Join(e.heard(), "\n"); !strings.Contains(got, `reset t `+string(journal.GapIncarnation)) {
		t.Errorf("after a crash: %s", got)
	}
	if log := e.log.String(); strings.Contains(log, "permission denied") {
		t.Error(log)
	}
}

func TestTriggerListenerRoleRotates(t *testing.T) {
	o := newOwned(t)
	clerk := o.connectAs(o.clerk)
	e := o.listen(o.ear, listener.Config{Retention: time.Microsecond, Tick: time.Millisecond}, "t").ready()
	before := o.ask(`select floor from pgbell.journal_state`)
	id := 0
	e.until("truncated", func() bool {
		id++
		o.execOn(clerk, fmt.Sprintf(`insert into app.t values (%d)`, id))
		return o.ask(`select floor from pgbell.journal_state`) != before
	})
	if log := e.log.String(); strings.Contains(log, "not rotated") {
		t.Error(log)
	}
}

// Without one of them it says which it needs.
func TestTriggerListenerSaysWhichGrantIsMissing(t *testing.T) {
	o := newOwned(t)
	// A mark that is there needs no other, but one that can't be made is known at once.
	for _, missing := range []struct{ right, object, says string }{
		{"select", "pgbell.journal", "permission denied for table journal"},
		{"select", "pgbell.journal_state", "permission denied for table journal_state"},
		{"select", "pgbell.feeds", "permission denied for view feeds"},
		{"select", "pgbell.definition", "permission denied for table definition"},
		{"execute", "function pgbell.mark_incarnation()", "permission denied for function mark_incarnation"},
		{"execute", "function pgbell.arm(text, interval)", "permission denied for function arm"},
		{"execute", "function pgbell.listed()", "permission denied for function listed"},
	} {
		t.Run(missing.object, func(t *testing.T) {
			o := owned{triggerDB: o.on(t), ear: o.ear}
			o.exec(fmt.Sprintf("revoke %s on %s from %s", missing.right, missing.object, o.ear))
			e := o.listen(o.ear, listener.Config{}, "t")
			e.unready(missing.says, "pgbell.grant_listener(", "the role that pgbell connects as")
			o.exec(fmt.Sprintf("grant %s on %s to %s", missing.right, missing.object, o.ear))
			e.ready()
		})
	}
	t.Run("rotate", func(t *testing.T) { // others may do that
		o := owned{triggerDB: o.on(t), ear: o.ear}
		o.exec(`revoke execute on function pgbell.rotate(interval) from ` + o.ear)
		e := o.listen(o.ear, listener.Config{Retention: time.Microsecond}, "t").ready()
		e.until("a warning", func() bool {
			return containsAll(e.log.String(), []string{"level=WARN", "not rotated", "permission denied for function rotate", "pgbell.grant_listener("})
		})
	})
}

// All that the grants give, by the catalogs: to read the journal and the feeds.
func TestTriggerListenerRoleMayDoNothingElse(t *testing.T) {
	o := newOwned(t)
	want := "arm catalog_mark cursor definition SELECT feeds SELECT found_live gate SELECT journal SELECT journal_0 SELECT journal_1 SELECT journal_state SELECT listed live_function live_mark lives SELECT look_at_parts mark_incarnation rotate rotation SELECT schema_version state table_name utf8 utf8"
	if got := o.ask(rights(o.ear)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	conn := o.connectAs(o.ear)
	for _, statement := range []string{
		`insert into pgbell.journal_0 (op, facts) values ('reset', '{}')`, `update pgbell.journal set op = op`,
		`delete from pgbell.journal`, `truncate pgbell.journal_0`, `select * from pgbell.journal_state for update`,
		`insert into pgbell.incarnation default values`, `select * from pgbell.feed`,
		`select pgbell.attach('app.t', array['x'])`, `select pgbell.detach('app.t')`, `select pgbell.publish('x')`,
		`select * from app.t`, `table app.q`, `insert into app.t values (1)`,
		`create trigger x after insert on app.t for each row execute function pgbell.feed_1_insert()`,
		`create table pgbell.x ()`,
	} {
		o.denies(conn, statement)
	}
	// Publishing is one grant more.
	o.exec(`grant execute on function pgbell.publish(text, jsonb, text[]) to ` + o.ear)
	o.expectOn(conn, `select pgbell.publish('x', '1', '{ann}')`, `publish x for ann data 1`)
}

// denies fails the test unless Postgres says that the role lacks a right.
func (d *triggerDB) denies(conn *pgx.Conn, statement string) {
	d.Helper()
	var pgErr *pgconn.PgError
	if err := tryExec(d.Context(), conn, statement); !errors.As(err, &pgErr) || pgErr.Code != "42501" {
		d.Errorf("%s as %s: got %v", statement, conn.Config().User, err)
	}
}

// rights asks for all that a role may do with what is in schema pgbell.
func rights(role string) string {
	return fmt.Sprintf(`select string_agg(what, ' ' order by what collate "C") from (
		select p.proname::text from pg_proc p where p.pronamespace = 'pgbell'::regnamespace and has_function_privilege('%[1]s', p.oid, 'execute')
		union all
		select c.relname || ' ' || r from pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) r
		where c.relnamespace = 'pgbell'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
			and (has_table_privilege('%[1]s', c.oid, r) or r in ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') and has_any_column_privilege('%[1]s', c.oid, r))
		union all
		select c.relname || ' ' || r from pg_class c, unnest('{SELECT,USAGE,UPDATE}'::text[]) r
		where c.relnamespace = 'pgbell'::regnamespace and c.relkind = 'S' and has_sequence_privilege('%[1]s', c.oid, r)
		union all
		select 'CREATE' where has_schema_privilege('%[1]s', 'pgbell', 'create')
	) x (what)`, role)
}
