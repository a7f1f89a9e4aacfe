package pglive

import (
	"net/url"
	"testing"

	"github.com/pgbell/pgbell/sse"
)

// A frame comes if the user's own result is another, and at no other change.
func TestFramesFollowTheResultAlone(t *testing.T) {
	w := newWorld(t, board)
	s := w.serve(Config{}, sse.Config{})
	ann := s.open("ann", live("board?p=7"))
	ann.expect("ready", "")
	for _, step := range []struct{ sql, want string }{
		{`insert into tasks values (1, 7, 'ann', 'a')`, "live:board?p=7 changed"},
		{`insert into tasks values (2, 7, 'bob', 'hidden')`, ""},
		{`update tasks set title = 'still hidden' where id = 2`, ""},
		{`insert into tasks values (3, 8, 'ann', 'elsewhere')`, ""},
		{`update tasks set title = title`, ""},
		{`update users set name = 'B' where id = 'bob'`, ""},
		{`update users set name = 'A' where id = 'ann'`, "live:board?p=7 changed"},
		{`update tasks set owner = 'ann' where id = 2`, "live:board?p=7 changed"},
		{`update tasks set project_id = 7 where id = 3`, "live:board?p=7 changed"},
		{`delete from tasks where id = 1; insert into tasks values (1, 7, 'ann', 'a')`, ""},
		{`truncate tasks`, "live:board?p=7 changed"},
		{`truncate tasks`, ""},
	} {
		w.exec(step.sql)
		if got := ops(s.framesOf(ann)); got != step.want {
			t.Errorf("%s: got %q, want %q", step.sql, got, step.want)
		}
	}
}

func TestResultIsThatOfTheUser(t *testing.T) {
	w := newWorld(t, board)
	w.exec(`insert into tasks values (1, 7, 'ann', 'a"b'), (2, 7, 'bob', 'ü'), (3, 8, 'ann', 'x')`)
	s := w.serve(Config{}, sse.Config{})
	for user, want := range map[string]string{
		"ann": `[{"id":1,"title":"a\"b","by":"Ann"}]`, "bob": `[{"id":2,"title":"ü","by":"Bob"}]`, "": `[]`, "' or true --": `[]`,
	} {
		a := s.get(user, "board?p=7")
		if a.status != 200 || string(a.Rows) != want || a.Live != "board?p=7" || a.Cursor == "" || a.cursor != a.Cursor {
			t.Errorf("%q got %+v", user, a)
		}
		if again := s.get(user, "board?p=7", "If-None-Match", a.etag); again.status != 304 || again.all != "" || again.cursor == "" {
			t.Errorf("%q, once more, got %+v", user, again)
		}
	}
	w.exec(`insert into tasks values (4, 7, 'ann', 'new')`)
	w.until("the new row", func() bool { return s.get("ann", "board?p=7").Rows != nil && len(s.get("ann", "board?p=7").Rows) > 60 })
	w.exec(`delete from tasks`)
	if a := s.get("ann", "board?p=7", "Cache-Control", "no-cache"); string(a.Rows) != "[]" {
		t.Errorf("asked past what is known: got %s", a.Rows)
	}
}

// Who fetched a result and then opens a stream since its cursor, or comes back, is told of
// what changed since, and costs no query if nothing did.
func TestComingBack(t *testing.T) {
	w := newWorld(t, board)
	w.exec(`insert into tasks values (1, 7, 'ann', 'a'), (2, 7, 'bob', 'b')`)
	s := w.serve(Config{}, sse.Config{})
	const q = "board?p=7"
	page := s.get("ann", q)
	st := s.open("ann", with(live(q), "since", page.Cursor))
	st.expect("ready", "")
	if got := ops(s.framesOf(st)); got != "" {
		t.Fatalf("nothing happened since the page, got %s", got)
	}
	for _, step := range []struct{ sql, want string }{
		{``, ""},
		{`update tasks set title = title || '!' where id = 2`, ""}, // another's
		{`update tasks set title = title || '!' where id = 1`, "live:board?p=7 changed"},
		{`update tasks set title = 'z' where id = 1; update tasks set title = 'a!' where id = 1`, ""},
		{`delete from tasks where id = 1`, "live:board?p=7 changed"},
		{``, ""},
	} {
		s.framesOf(st) // so that the id is newer than all of them
		id := st.last()
		st.close()
		before := s.engine.Stats()
		if step.sql != "" {
			w.exec(step.sql)
		}
		st = s.open("ann", live(q), "Last-Event-ID", id)
		st.expect("ready", "")
		if got := ops(s.framesOf(st)); got != step.want {
			t.Errorf("away during %q: got %q, want %q", step.sql, got, step.want)
		}
		if after := s.engine.Stats(); step.sql == "" && after.Statements != before.Statements {
			t.Errorf("coming back after nothing cost %d statements", after.Statements-before.Statements)
		}
	}
	// Another server knows nothing of what the client has.
	id := st.last()
	w.exec(`insert into tasks values (3, 7, 'ann', 'c')`)
	other := w.serve(Config{}, sse.Config{})
	st = other.open("ann", live(q), "Last-Event-ID", id)
	st.expect("ready", "")
	if got := ops(other.framesOf(st)); got != "live:board?p=7 reset" {
		t.Errorf("at another server: got %s", got)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, board+`
		create function sums(a int, b int) returns int stable begin atomic select a / b + (select count(*) from tasks)::int; end;
		select pgbell.live('sums')`)
	s := w.serve(Config{Max: 3}, sse.Config{MaxLive: 2})
	for query, status := range map[string]int{
		"nothing": 404, "board": 400, "board?p=x": 400, "board?p=7&q=8": 400, "board?p=7&p=8": 400, "board?p=7&user_id=bob": 400, "board?p=": 400,
		"board?p=%zz": 400, "sums?a=1&b=x": 400, "sums?a=1&b=0": 503, "sums?b=1&a=1": 200,
	} {
		if a := s.get("ann", query); a.status != status || status != 200 && (a.Title == "" || a.Detail == "") {
			t.Errorf("%s: got %d %s", query, a.status, a.all)
		}
	}
	for _, q := range []url.Values{
		{"live": {""}}, {"live": {"nothing"}}, {"live": {"board"}}, {"live": {"board?p=1", "board?p=2", "board?p=3"}}, {"live": {"board?p=7&user_id=bob"}},
	} {
		if st, err := s.tryOpen("ann", q); err == nil {
			st.close()
			t.Errorf("%v is accepted", q)
		}
	}
}
