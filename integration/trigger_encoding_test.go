package integration

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/listener"
)

// encodings are those of databases, each with a text that it has, and the bytes of one that
// UTF8 has not. In LATIN1 there are none.
var encodings = []struct{ name, good, bad string }{
	{"WIN1252", "é€ž", `\x4181`},
	{"LATIN1", "éÿ", ""},
	{"SQL_ASCII", "é日", `\x41ff`},
	{"EUC_JP", "日本ー", `\xa3fe`},
}

// eachEncoding runs a test in a database of each encoding. bad is SQL for the text that
// UTF8 has not.
func eachEncoding(t *testing.T, f func(d *triggerDB, good, bad string)) {
	for _, e := range encodings {
		t.Run(e.name, func(t *testing.T) {
			d := newTriggerDBWith(t, `locale 'C' encoding '`+e.name+`'`, 0)
			d.exec(`set client_encoding = 'UTF8'`)
			bad := ""
			if e.bad != "" {
				bad = `convert_from('` + e.bad + `'::bytea, getdatabaseencoding())`
			}
			f(d, e.good, bad)
		})
	}
}

// as has e hear what a user does.
func (e *ear) as(user string, scopes ...string) *ear {
	e.sub.Close()
	e.sub = e.bus.Subscribe(append(scopes, "end"), bus.Options{Connection: &bus.Connection{UserID: user}})
	e.d.Cleanup(e.sub.Close)
	return e
}

// What UTF8 has too arrives in it: values, names, scopes, origins, by both ways.
func TestTriggerEventsOfAnyEncodingAreInUTF8(t *testing.T) {
	eachEncoding(t, func(d *triggerDB, v, _ string) {
		d.exec(strings.ReplaceAll(`create table "t$" ("k$" text primary key, "p$" text, "o$" text, "u$" text[], "v$" text, "j$" json);
			create table "w$" ("k$" text primary key, "p$" text, "o$" text, "u$" text[]);
			select pgbell.attach('"t$"', array['t', 'p$:{p$}'], audience => array['o$', 'u$'], payload => array['v$', 'j$']);
			select pgbell.attach('"w$"', array['w', 'q$:{p$}'], audience => array['o$', 'u$'], durable => false)`, "$", v))
		name := func(literal string) string { return scope.Canonical(literal + v + ":" + v) }
		e := d.listen("", listener.Config{}).as(v, "t", "w", name("p"), name("q"), scope.Canonical("own:"+v)).ready()
		said := func(template string) string { return strings.ReplaceAll(template, "$", v) }
		var want []string
		for _, s := range []string{"t", name("p")} {
			want = append(want, said(`insert `+s+` public."t$" {"k$":"$"} for u$,$ data {"v$":"$","j$":{"x":"$"}} origin $`))
		}
		e.hears(d.writer, said(`set pgbell.origin = '$'; insert into "t$" values ('$', '$', '$', array['u$'], '$', '{"x":"$"}')`), want...)
		want = nil
		for _, s := range []string{"w", name("q")} {
			want = append(want, said(`insert `+s+` public."w$" {"k$":"$"} for u$,$ origin $`))
		}
		e.hears(d.writer, said(`insert into "w$" values ('$', '$', '$', array['u$'])`), want...)
		e.hears(d.writer, said(`set pgbell.origin = ''; select pgbell.publish('own:$', '"$"', array['$'])`),
			said(`publish `+scope.Canonical("own:"+v)+` for $ data "$"`))
		d.exec(said(`alter table "t$" rename to "T$"; alter table "w$" rename to "W$"`))
		e.events() // the volatile feed's is another now
		e.hears(d.writer, said(`update "T$" set "v$" = ''`),
			said(`update t public."T$" {"k$":"$"} for u$,$ changed v$ data {"v$":"","j$":{"x":"$"}}`),
			said(`update `+name("p")+` public."T$" {"k$":"$"} for u$,$ changed v$ data {"v$":"","j$":{"x":"$"}}`))
		if again := d.listen("", listener.Config{}).ready(); again.l.Stats().Connections != 1 {
			t.Error("the next listener connected more than once")
		}
	})
}

// A character that UTF8 has not, wherever it is: the write is done, nobody gets the change,
// its table's scopes get a reset, others hear nothing of it, and what comes later is told.
func TestTriggerChangeThatUTF8CannotSayIsAReset(t *testing.T) {
	eachEncoding(t, func(d *triggerDB, _, bad string) {
		if bad == "" {
			return
		}
		const columns = `(id text primary key, p text, owner text, users text[], v text, j json)`
		d.exec(`create table t `+columns+`; create table w `+columns+`; create table other (id int primary key)`,
			`select pgbell.attach('t', array['t', 'p:{p}'], audience => array['owner', 'users'], payload => array['v', 'j']);
			select pgbell.attach('w', array['w', 'q:{p}'], audience => array['owner', 'users'], durable => false);
			select pgbell.attach('other', array['other'])`)
		begin := d.since()
		e := d.listen("", listener.Config{}).as("o", "t", "p:x", "w", "q:x", "other", "s").ready()
		hears := func(statement string, want ...string) {
			t.Helper()
			d.exec(`insert into other values (1)`, strings.ReplaceAll(statement, "BAD", bad), `delete from other`)
			got := e.heard()
			slices.Sort(got)
			d.same(slices.Compact(got), append([]string{`delete other public.other {"id":1}`, `insert other public.other {"id":1}`}, want...)...)
		}
		durable := func(statement string) {
			t.Helper()
			hears(statement, "reset p:x public.t "+journal.ReasonUnreadable, "reset t public.t "+journal.ReasonUnreadable)
		}
		volatile := func(statement string) {
			t.Helper()
			hears(statement, "reset q:x public.w not in UTF8", "reset w public.w not in UTF8")
		}
		for _, values := range []string{`BAD, 'x', 'o', '{u}'`, `'1', BAD, 'o', '{u}'`, `'1', 'x', BAD, '{u}'`, `'1', 'x', 'o', array['u', BAD]`} {
			durable(`insert into t values (` + values + `)`)
			volatile(`insert into w values (` + values + `)`)
			durable(`update t set users = users || array['o']`)
			volatile(`update w set users = users || array['o']`)
			durable(`update t set (id, p, owner, users) = row('1', 'x', 'o', '{u}'::text[])`)
			volatile(`update w set (id, p, owner, users) = row('1', 'x', 'o', '{u}'::text[])`)
			d.exec(`delete from t`, `delete from w`)
			e.events()
		}
		durable(`insert into t values ('1', 'x', 'o', '{u}', BAD)`)
		durable(`update t set v = null, j = to_json(BAD)`)
		durable(`delete from t`)
		durable(`insert into t select i, 'x', BAD from generate_series(1, 3) i`)
		volatile(`insert into w select i, 'x', BAD from generate_series(1, 3) i`)
		d.exec(`delete from t`, `delete from w`)
		e.events()

		// An origin that can't be said is nobody's.
		origin := `do $$ begin perform set_config('pgbell.origin', BAD, true); end $$; `
		hears(origin+`insert into t values ('1', 'x', 'o')`,
			`insert p:x public.t {"id":"1"} for o data {"v":null,"j":null}`, `insert t public.t {"id":"1"} for o data {"v":null,"j":null}`)
		volatile(origin + `insert into w values ('1', 'x', 'o')`)
		hears(`do $$ begin perform pgbell.publish('s', '"a"', array[BAD]); end $$`, `reset s not in UTF8`)
		hears(`do $$ begin perform pgbell.publish('s', to_jsonb(BAD)); end $$`, `reset s not in UTF8`)
		d.refuses(`select pgbell.disconnect(`+bad+`)`, "not in UTF8")

		// Nor a table's name. Attach refuses it, but a table may get one later.
		rename := func(from, to string) string {
			return `do $$ begin execute format('alter table %I rename to %I', ` + from + `, ` + to + `); end $$`
		}
		d.exec(rename(`'t'`, bad))
		hears(`do $$ begin execute format('delete from %I', BAD); end $$`, "reset p:x "+journal.ReasonUnreadable, "reset t "+journal.ReasonUnreadable)
		d.exec(rename(bad, `'t'`), rename(`'w'`, bad))
		const write = `do $$ begin execute format('update %I set p = p || ''x''', BAD); end $$`
		d.exec(strings.ReplaceAll(write, "BAD", bad))
		e.until("the feed is known by its new name", func() bool { return slices.Contains(e.heard(), "reset w attached or renamed") })
		hears(write, "reset q:x not in UTF8", "reset w not in UTF8")
		d.exec(rename(bad, `'w'`), `create table named (id int primary key)`, `do $$ begin execute format('alter table named add %I int', `+bad+`); end $$`)
		d.refuses(`select pgbell.attach('named', array['n'], payload => array[`+bad+`])`, "a character that UTF8 has not", "another name")

		next := d.listen("", listener.Config{}, "t").ready()
		for _, l := range []*ear{e, next} {
			if n := l.l.Stats().Connections; n != 1 {
				t.Errorf("a listener connected %d times", n)
			}
		}
		if replay, err := next.l.Replay(t.Context(), begin); err != nil || replay.Reset != "" {
			t.Errorf("a client that comes back: %v, %v", replay, err)
		}
		for range 4 {
			d.exec(`select pgbell.rotate('0')`)
		}
	})
}

// Anybody may send a notification with such a character.
func TestTriggerForgedNotificationOfAnyEncodingEndsNoConnection(t *testing.T) {
	eachEncoding(t, func(d *triggerDB, good, bad string) {
		if bad == "" {
			return
		}
		d.exec(`create table w (id int primary key); select pgbell.attach('w', array['w'], durable => false)`)
		e := d.listen("", listener.Config{Tick: time.Hour}, "w").ready()
		for _, format := range []string{`%s`, `{"v":1,"table":"public.w","op":"reset","scopes":null,"reason":"%s"}`, `{"v":1,"table":"%s"}`, `{"v":1,"utf8":"%s"}`, `{"v":1,"utf8":"4181"}`, `{"v":1,"utf8":""}`} {
			if _, err := d.writer.Exec(t.Context(), `select pg_notify('pgbell', format($1, `+bad+`))`, pgx.QueryExecModeExec, format); err != nil {
				t.Fatal(err)
			}
		}
		d.exec(`insert into w values (1)`)
		got := e.heard()
		d.same(got[len(got)-1:], `insert w public.w {"id":1}`)
		if n := e.l.Stats().Connections; n != 1 {
			t.Errorf("the listener connected %d times", n)
		}
	})
}
