package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/listener"
)

// at is the time that notifications of feeds that aren't durable carry.
const at = `"at":"2026-11-22T10:00:00"`

func (d *triggerDB) forge(conn *pgx.Conn, payloads ...string) {
	d.Helper()
	for _, p := range payloads {
		if _, err := conn.Exec(d.Context(), `select pg_notify('pgbell', $1)`, p); err != nil {
			d.Fatalf("notify %.60q: %v", p, err)
		}
	}
}

// Whoever may connect may notify. To a durable feed that does nothing: no event, no
// reset, and the listener goes on.
func TestTriggerForgedNotificationsDoNotTouchDurableFeeds(t *testing.T) {
	o := newOwned(t)
	e := o.listen(o.ear, listener.Config{Tick: time.Hour}, "t", "p:x", "q", "x", "v:1", "").ready()
	stranger := o.connectAs(o.stranger)
	pad := func(format string) string { // to the longest that there can be
		return fmt.Sprintf(format, strings.Repeat("y", 7999-len(fmt.Sprintf(format, ""))))
	}
	ignored := []string{
		"", " ", "\x7f", "null", "true", "1", `"x"`, "[]", "{", "}", `{"v":1`, `{"v":1}x`, `{"v":"1"}`, `{"v":1.5}`, `{"v":1e999}`, `{"v":99999999999999999999}`, `{"v":-1}`, `{"v":2}`,
		strings.Repeat("[", 7999), strings.Repeat(`{"v":`, 1300) + "1" + strings.Repeat("}", 1300), strings.Repeat(`{"a":[`, 1333),
		pad("%s"), pad(`{"v":1,"table":"%s`), pad(`{"v":1,"table":"%s","op":"insert",` + at + `,"scopes":["t"],"audience":null}`),
		`{"v":1,"table":"\u`, `{"v":1,"table":"\x"}`, "{\"v\":1,\"table\":\"\n\"}",
		`{"v":1,"table":["app.t"],"op":"insert"}`, `{"v":1,"table":"app.v","op":"insert",` + at + `,"scopes":"v","audience":null}`,
		`{"v":1,"table":"app.v","op":"insert",` + at + `,"scopes":["v"],"audience":"everyone"}`,
		`{"v":1,"table":"app.v","op":"insert",` + at + `,"scopes":[1e400],"audience":null}`,
		`{"v":1,"table":"app.v","op":"merge",` + at + `,"scopes":["v"],"audience":null}`,
		`{"v":1,"table":"app.v","op":"insert","at":"99999999-01-01T00:00:00","scopes":["v"],"audience":null}`,
		// As a feed's that isn't durable, of a durable one, of none, of a table that isn't attached.
		`{"v":1,"table":"app.t","op":"insert",` + at + `,"scopes":["t","p:x"],"audience":null,"key":{"id":1}}`,
		`{"v":1,"table":"app.t","op":"reset","scopes":null,"reason":"truncate","templates":["t","p:{p}"]}`,
		`{"v":1,"table":null,"op":"reset","scopes":null,"reason":"truncate","templates":["t"]}`,
		`{"v":1,"table":null,"op":"publish",` + at + `,"scopes":["x","t"],"audience":null,"data":1}`,
		`{"v":1,"table":"","op":"insert",` + at + `,"scopes":[""],"audience":null}`,
		`{"v":1,"table":"\ud800","op":"insert",` + at + `,"scopes":["\udc00"],"audience":null}`,
		`{"v":1,"table":"app.nosuch","op":"insert",` + at + `,"scopes":["x"],"audience":null}`,
		`{"v":1,"table":"APP.V","op":"insert",` + at + `,"scopes":["v"],"audience":null}`,
	}
	bells := []string{`{"v":1}`, `{"v":1,"table":"app.t","op":"insert","scopes":["t"]}`, `{"v":1,"table":"app.t","op":"disconnect","scopes":["t"],"user":"ann"}`,
		`{"v":1,"table":null,"op":"detach","scopes":null}`, `{"v":1,"hello":"x"}`, `{"v":1,"scopes":null,"data":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`}
	for i, p := range ignored {
		o.forge(stranger, p)
		e.until(fmt.Sprintf("%.100q was ignored", p), func() bool { return e.l.Stats().Ignored == uint64(i+1) })
	}
	o.forge(stranger, bells...)
	if got := e.heard(); len(got) > 0 {
		t.Errorf("heard %q", got)
	}
	if got := e.l.Stats().Ignored; got != uint64(len(ignored)) {
		t.Errorf("%d were ignored, want %d", got, len(ignored))
	}
	e.hears(o.connectAs(o.clerk), `insert into app.t values (1, 'x')`, `insert t app.t {"id":1} data {"p":"x"}`, `insert p:x app.t {"id":1} data {"p":"x"}`)
	if s := e.l.Stats(); s.Connections != 1 || !s.Connected {
		t.Errorf("%+v", s)
	}
	if strings.Contains(e.log.String(), "yyyy") {
		t.Error("a payload was logged")
	}
}

// Ten thousand forged ones, each another: changes go on arriving, and the journal is
// read about once for each transaction that rang.
func TestTriggerFloodOfForgedNotificationsDelaysNothing(t *testing.T) {
	o := newOwned(t)
	const tick = 100 * time.Millisecond
	e := o.listen(o.ear, listener.Config{Tick: tick}, "t").ready()
	stranger, clerk := o.connectAs(o.stranger), o.connectAs(o.clerk)
	began := time.Now()
	reads, feeds := e.queries.count("from pgbell.journal\n"), e.queries.count("pgbell.feeds")
	const rounds = 100
	for i := range rounds {
		o.execOn(stranger, fmt.Sprintf(`select pg_notify('pgbell', format(case i %% 4
			when 0 then 'nonsense %%s'
			when 1 then '{"v":1,"table":"t%%s","op":"insert",%s,"scopes":["t"],"audience":null}'
			when 2 then '{"v":1,"table":"app.t","op":"insert","scopes":["t%%s"]}'
			else '{"v":1,"table":"app.t","op":"reset","scopes":null,"reason":"%%s","templates":["t"]}' end, i + %d)) from generate_series(1, 100) i`, at, 100*i))
		o.execOn(clerk, fmt.Sprintf(`insert into app.t values (%d)`, i))
	}
	got := e.heard()
	for i := range rounds {
		if want := fmt.Sprintf(`insert t app.t {"id":%d} data {"p":null}`, i); i >= len(got) || got[i] != want {
			t.Fatalf("event %d of %d is not %s", i, len(got), want)
		}
	}
	e.until("all were looked at", func() bool { return e.l.Stats().Ignored >= rounds*75 })
	reads, feeds = e.queries.count("from pgbell.journal\n")-reads, e.queries.count("pgbell.feeds")-feeds
	ticks := int(time.Since(began)/tick) + 1
	t.Logf("%d notifications: %d reads of the journal, %d of the feeds, in %v", rounds*100, reads, feeds, time.Since(began))
	if len(got) != rounds || reads > 2*(2*rounds)+ticks+10 || feeds > ticks+1 {
		t.Errorf("%d events, %d reads of the journal, %d of the feeds in %d ticks", len(got), reads, feeds, ticks)
	}
	if s := e.l.Stats(); s.Connections != 1 || s.Ignored != rounds*75 {
		t.Errorf("%+v", s)
	}
}

// Of a feed that isn't durable the notification is all there is, so that it is
// believed: events and resets in scopes that its templates can produce, of any key,
// for any audience; nothing beyond those, and no data.
func TestTriggerWhatAForgerCanDoToAVolatileFeed(t *testing.T) {
	o := newOwned(t)
	o.execOn(o.connectAs(o.app), `create table app.w (id int primary key, p text); select pgbell.attach('app.w', array['w', 'p:{p}'], durable => false)`)
	e := o.listen(o.ear, listener.Config{}, "t", "p:x", "q", "w", "v", "v:1", "v:2", "x").ready()
	e.heard()
	stranger := o.connectAs(o.stranger)
	facts := func(table, more string) string { // under another table's definition, perhaps
		return fmt.Sprintf(`"definition":%s,"xid":"9",%s,%s}`, o.ask(`select definition from pgbell.feed where tbl = '`+table+`'`), at, more)
	}
	for _, test := range []struct {
		payload string
		want    []string
	}{
		{`{"v":1,"table":"app.v","op":"insert","scopes":["t","q","x","p:x"],"audience":null,"key":{"id":7},"data":{"secret":1},` + facts("app.v", `"facts":["1"]`),
			[]string{`insert v app.v {"id":1}`, `insert v:1 app.v {"id":1}`}},
		{`{"v":1,"table":"app.v","op":"insert",` + facts("app.t", `"facts":["1","x","x",null]`), nil}, // all of another feed's scopes
		{`{"v":1,"table":"app.v","op":"insert",` + facts("app.v", `"facts":["1","2","3",null]`), []string{`insert v app.v {"id":1}`, `insert v app.v {"id":2}`, `insert v app.v {"id":3}`,
			`insert v:1 app.v {"id":1}`, `insert v:2 app.v {"id":2}`, `insert v app.v {"id":null}`}},
		{`{"v":1,"table":"app.v","op":"update",` + facts("app.v", `"facts":["1","2","id",null],"origin":"o"`), []string{
			`update moved out v app.v {"id":1} origin o`, `update moved out v:1 app.v {"id":1} origin o`,
			`update moved in v app.v {"id":2} changed id origin o`, `update moved in v:2 app.v {"id":2} changed id origin o`}},
		{`{"v":1,"table":"app.v","op":"update",` + facts("app.v", `"facts":["1","2"]`), nil}, // not what an update's facts are
		{`{"v":1,"table":"app.v","op":"reset","scopes":null,"reason":"no reason","templates":["t","{p}"]}`,
			[]string{`reset v no reason`, `reset v:1 no reason`, `reset v:2 no reason`}},
		// A scope that a feed which isn't durable shares with a durable one is open to both.
		{`{"v":1,"table":"app.w","op":"insert",` + facts("app.w", `"facts":["1","x"]`), []string{`insert p:x app.w {"id":1}`, `insert w app.w {"id":1}`}},
	} {
		o.forge(stranger, test.payload)
		got := e.heard()
		for i := range got {
			got[i] = strings.Replace(got[i], "reset "+strings.Fields(got[i])[1]+" app.v", "reset "+strings.Fields(got[i])[1], 1)
		}
		slices.Sort(got)
		slices.Sort(test.want)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.payload, diff)
		}
	}
}
