package listener

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/journal/scope"
)

// forge sends a notification as anybody may who can connect.
func forge(t testing.TB, conn *pgx.Conn, payload string) {
	t.Helper()
	execOn(t, conn, "select pg_notify('pgbell', $1)", payload)
}

const forgedAt = `"at":"2026-11-22T10:00:00"`

func TestForgedNotificationsOfDurableFeedsDoNothing(t *testing.T) {
	w := start(t, example.Database(t), options{Config: Config{Tick: time.Hour}})
	r := w.subscribe("tasks", "task:1", "project:1", "x", "")
	malformed := []string{
		"", "hello", "{", "null", "[1]", `{"v":2}`, `{"v":1,"table":"public.tasks","facts":"me"}`,
		strings.Repeat("x", 7999), `{"v":1,"table":"` + strings.Repeat("x", 7900), "\x01\n\r",
		`{"v":1,"table":"public.notes","op":"merge",` + forgedAt + `,"audience":null,"scopes":["tasks"]}`,
	}
	for _, payload := range malformed {
		forge(t, w.db, payload)
	}
	unknown := []string{
		`{"v":1,"table":"public.tasks","op":"insert",` + forgedAt + `,"scopes":["tasks","task:1"],"audience":null,"key":{"id":1}}`,
		`{"v":1,"table":"public.tasks","op":"reset","scopes":null,"reason":"truncate","templates":["{x}"]}`,
		`{"v":1,"table":"x","op":"insert",` + forgedAt + `,"scopes":["x"],"audience":null}`,
		`{"v":1,"table":null,"op":"reset","reason":"truncate"}`,
	}
	for _, payload := range unknown {
		forge(t, w.db, payload)
	}
	for _, payload := range []string{ // bells, at most
		`{"v":1,"table":"public.tasks","op":"insert","scopes":["tasks"]}`,
		`{"v":1,"table":"public.tasks","op":"insert","scopes":["tasks"],"data":{"n":1},"old":{"scopes":["tasks"],"audience":null}}`,
		`{"v":1,"hello":"you"}`,
		`{"v":1}`,
	} {
		forge(t, w.db, payload)
	}
	w.exec("insert into tasks (id) values (1)")
	want := []string{`insert tasks {"n":0}`, `insert project:1 {"n":0}`, `insert task:1 {"n":0}`}
	if got := briefs(r.rest()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s := w.l.Stats()
	if want := uint64(len(malformed) + len(unknown)); s.Ignored != want {
		t.Errorf("%d ignored, want %d", s.Ignored, want)
	}
	if log := w.log.with("hello"); len(log) > 0 {
		t.Errorf("a payload was logged: %q", log)
	}
}

// A notification of a feed that isn't durable is believed, but not beyond that feed.
func TestForgedNotificationStaysInItsFeed(t *testing.T) {
	w := start(t, example.Database(t), options{})
	r := w.subscribe("tasks", "task:1", "notes", "note:1", "note:2", "x")
	definition := func(table string) (id string) {
		if err := w.db.QueryRow(t.Context(), "select definition from pgbell.feed where tbl = $1", table).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	forge(t, w.db, `{"v":1,"table":"public.notes","op":"update",`+forgedAt+`,"scopes":["tasks","task:1","x"],"definition":`+definition("public.notes")+`,"xid":"9",
		"facts":["2","1",null,null,null,null]}`)
	r.restIs("change", "update note:1", "update note:2", "update notes", "update notes")
	forge(t, w.db, `{"v":1,"table":"public.notes","op":"reset","reason":"truncate","templates":["{x}","tasks"]}`)
	r.restIs("reset", "reset note:1 truncate", "reset note:2 truncate", "reset notes truncate")
	// What they mean under another feed's definition: nothing that is this feed's.
	var facts string
	if err := w.db.QueryRow(t.Context(), "select json_agg('1'::text) from pgbell.feed f, unnest(f.fields) where f.tbl = 'public.tasks'").Scan(&facts); err != nil {
		t.Fatal(err)
	}
	forge(t, w.db, `{"v":1,"table":"public.notes","op":"insert",`+forgedAt+`,"definition":`+definition("public.tasks")+`,"xid":"9","facts":`+facts+`}`)
	if rest := r.rest(); len(rest) > 0 {
		t.Errorf("without an audience: %v", briefs(rest))
	}
}

func TestWithinKeepsWhatATriggerSays(t *testing.T) {
	templates, err := scope.ParseAll([]string{"notes", "note:{id}", "{a}/{b}"})
	if err != nil {
		t.Fatal(err)
	}
	scope := rapid.SampledFrom([]string{"notes", "note:", "note:1", "note:x:y", "a/b", "/", "a/b/c"})
	rapid.Check(t, func(t *rapid.T) {
		scopes := rapid.SliceOfN(scope, 0, 4).Draw(t, "scopes")
		r := journal.Record{Op: bus.OpInsert, Changes: []journal.Change{{Side: journal.Side{Scopes: append([]string{}, scopes...)}}}}
		within(&r, templates)
		if got := r.Changes[0].Scopes; fmt.Sprint(got) != fmt.Sprint(scopes) {
			t.Errorf("got %q, want %q", got, scopes)
		}
	})
}

// Anybody can send notifications without end: those that mean nothing cost no
// query, those of tables that nobody knows one a tick.
func TestForgedNotificationsCauseFewQueries(t *testing.T) {
	flood := func(w *world) {
		for range 20 {
			w.exec(`select pg_notify('pgbell', format('{"v":1,"table":"t%s","op":"insert",` + forgedAt + `,"definition":1,"xid":"9","facts":["x"]}', random()))
				from generate_series(1, 50)`)
			w.exec("select pg_notify('pgbell', 'nonsense' || random()) from generate_series(1, 50)")
		}
		await(t, "all were looked at", func() bool { return w.l.Stats().Ignored == 2000 })
	}

	w := start(t, example.Database(t), options{Config: Config{Tick: time.Hour}})
	w.quiet()
	before := w.queries.count("")
	flood(w)
	if asked := w.queries.count("") - before; asked > 0 {
		t.Errorf("%d queries", asked)
	}

	w = start(t, example.Database(t), options{Config: Config{Tick: 100 * time.Millisecond}})
	began := time.Now()
	before = w.queries.count("pgbell.feeds")
	flood(w)
	asked, most := w.queries.count("pgbell.feeds")-before, int(time.Since(began)/(100*time.Millisecond))+1
	if asked > most {
		t.Errorf("asked %d times for the feeds, want at most %d", asked, most)
	}
}

// A change too large for a notification becomes a reset of the feed, of all its
// scopes.
func TestOversizeVolatileChangeResets(t *testing.T) {
	w := start(t, example.Database(t), options{})
	w.exec(`create table big (id text primary key); select pgbell.attach('big', array['big', 'big:{id}'], durable => false)`)
	r := w.subscribe("big", "big:1", "notes")
	w.exec("insert into big values (repeat('x', 300))")
	if got := briefs(r.rest()); fmt.Sprint(got) != "[insert big]" { // the other scope is too long to exist
		t.Errorf("got %v", got)
	}
	w.exec("insert into big values (repeat('x', 9000))")
	r.restIs("too large", "reset big too large", "reset big:1 too large")
}
