package demo

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// only replaces all rows by task 1 of alice and note 1 of alice.
func (p *Page) only(t *testing.T) {
	t.Helper()
	p.exec(t, `truncate tasks, notes restart identity;
		insert into tasks (title, owner) values ('Hers', 'alice');
		insert into notes (body, owner) values ('Her note', 'alice')`)
}

// tables returns all rows, as JSON.
func (p *Page) tables(t *testing.T) string {
	t.Helper()
	var tables string
	err := p.db.QueryRow(t.Context(), `select concat_ws(' ',
		(select json_agg(to_jsonb(t) - 'project_id' order by id) from tasks t), (select json_agg(n order by id) from notes n))`).Scan(&tables)
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func TestActionsChangeRowsOfWhoAsks(t *testing.T) {
	p := newPage(t)
	for _, test := range []struct {
		user, action string
		change       string // SQL that does the same, nothing if the action is refused
	}{
		{"alice", "toggle-task", `update tasks set done = true`},
		{"alice", "give-task", `update tasks set owner = 'bob'`},
		{"alice", "delete-task", `delete from tasks`},
		{"alice", "share-note", `update notes set shared_with = '{bob}'`},
		{"alice", "delete-note", `delete from notes`},
		{"alice", "add-task", `insert into tasks (title, owner) values ('new', 'alice')`},
		{"bob", "add-note", `insert into notes (body, owner) values ('new', 'bob')`},
		{"bob", "toggle-task", ""},
		{"bob", "give-task", ""},
		{"bob", "delete-task", ""},
		{"bob", "share-note", ""},
		{"bob", "delete-note", ""},
	} {
		t.Run(test.user+" "+test.action, func(t *testing.T) {
			p.only(t)
			if test.change != "" {
				p.exec(t, test.change)
			}
			want := p.tables(t)
			p.only(t)
			resp := p.do(t, "POST", "/demo/change", url.Values{
				"action": {test.action}, "user": {test.user}, "id": {"1"}, "text": {" new "},
			})
			status := http.StatusNoContent
			if test.change == "" {
				status = http.StatusConflict
			}
			if resp.StatusCode != status {
				t.Errorf("got %s: %s, want %d", resp.Status, body(t, resp), status)
			}
			if diff := cmp.Diff(want, p.tables(t)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSharedNoteIsReadAndTakenBack(t *testing.T) {
	p := newPage(t)
	p.only(t)
	note := regexp.MustCompile(`Her note`)
	for _, step := range []struct {
		action string
		want   bool
	}{{"share-note", true}, {"keep-note", false}} {
		p.do(t, "POST", "/demo/change", url.Values{"action": {step.action}, "user": {"alice"}, "id": {"1"}})
		bobs := body(t, p.do(t, "GET", "/demo/rows?user=bob", nil))
		if got := note.MatchString(bobs); got != step.want {
			t.Errorf("after %s: does bob see it: got %v, want %v:\n%s", step.action, got, step.want, bobs)
		}
		if strings.Contains(bobs, "data-action") {
			t.Errorf("bob may change what is not his:\n%s", bobs)
		}
	}
}

func TestOriginTravelsWithTheEvent(t *testing.T) {
	p := newPage(t)
	p.do(t, "POST", "/demo/change", url.Values{"action": {"add-note"}, "user": {"bob"}, "text": {"x"}, "origin": {"page-1"}})
	var origin string
	if err := p.db.QueryRow(t.Context(), `select origin from pgbell.journal where op = 'insert' order by lsn desc limit 1`).Scan(&origin); err != nil {
		t.Fatal(err)
	}
	if origin != "page-1" {
		t.Errorf("got origin %q, want page-1", origin)
	}
}

func TestThousandRowsAreHalfEachs(t *testing.T) {
	p := newPage(t)
	p.only(t)
	many := func(action string) int {
		return p.do(t, "POST", "/demo/change", url.Values{"action": {action}, "user": {"alice"}}).StatusCode
	}
	for _, step := range []struct {
		action     string
		want       int
		alice, bob int
	}{
		{"delete-many", http.StatusConflict, 1, 0},
		{"add-many", http.StatusNoContent, 501, 500},
		{"add-many", http.StatusConflict, 501, 500},
		{"toggle-many", http.StatusNoContent, 501, 500},
		{"delete-many", http.StatusNoContent, 1, 0},
	} {
		if got := many(step.action); got != step.want {
			t.Errorf("%s: got %d, want %d", step.action, got, step.want)
		}
		for user, want := range map[string]int{"alice": step.alice, "bob": step.bob} {
			rows, err := p.rowsOf(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			if rows.TaskCount != want || len(rows.Tasks) > shown || rows.HiddenTasks()+len(rows.Tasks) != want {
				t.Errorf("%s, %s: got %d tasks, %d of them shown, want %d", step.action, user, rows.TaskCount, len(rows.Tasks), want)
			}
		}
	}
}

// What the page shows of the feeds is what they are.
func TestFeedsAreAttached(t *testing.T) {
	p := newPage(t)
	var feeds []struct{ Scopes, Audience []string }
	var text string
	if err := p.db.QueryRow(t.Context(), `select json_agg(f) from pgbell.feeds f where state = 'ok'`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &feeds); err != nil {
		t.Fatal(err)
	}
	want := []struct{ Scopes, Audience []string }{
		{[]string{"notes"}, []string{"owner", "shared_with"}},
		{[]string{"tasks", "project:{project_id}"}, []string{"owner"}},
	}
	if diff := cmp.Diff(want, feeds); diff != "" {
		t.Errorf("feeds (-want +got):\n%s", diff)
	}
}
