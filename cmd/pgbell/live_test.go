package main

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// What the manual shows comes, but for cursors; and what serve, doctor and the status page say
// of live queries.
func TestManualOfLive(t *testing.T) {
	text, err := os.ReadFile("../../docs/live.md")
	if err != nil {
		t.Fatal(err)
	}
	db := migrated(t)
	role := "live_" + regexp.MustCompile(`/([^/?]+)\?`).FindStringSubmatch(db)[1]
	manual := strings.ReplaceAll(string(text), "app_live", role)
	defer func() { exec1(t, db, "drop owned by "+role+"; drop role "+role) }()
	for _, m := range regexp.MustCompile("(?s)\n```sql\n(.*?)\n```").FindAllStringSubmatch(manual, -1) {
		exec1(t, db, m[1])
	}
	if r := runOn(t, db, "doctor"); !strings.Contains(r.stdout, "warning  live query board: no server has looked at it yet\n         -> pgbell serve --live-role ROLE") {
		t.Errorf("doctor: %s", r.stdout)
	}
	_, server := beginServe(t, db, "--live-role", role)
	shown := regexp.MustCompile("(?s)\\$ curl '[^']*(/live/[^']*)'\n(.*?)\n\n\\$ curl -N '[^']*(/events[^']*)'\n(.*?)\n\nevent: (.*?)\nid: .*?\ndata: (.*?)\n").FindStringSubmatch(manual)
	if shown == nil {
		t.Fatal("the manual shows no answers")
	}
	masked := func(s string) string {
		return regexp.MustCompile(`[0-9a-f]{8}-[0-9:,]+@[a-z0-9]{8}`).ReplaceAllString(s, "C")
	}
	if _, got := get(t, server+shown[1]); masked(got) != masked(shown[2])+"\n" {
		t.Errorf("GET %s: %s", shown[1], got)
	}
	s := openStream(t, http.DefaultClient, server+shown[3])
	exec1(t, db, `insert into people values ('ann', 'Ann'); insert into cards (board, owner, title) values (8, 'ann', 'elsewhere'), (7, 'ann', 'x')`)
	if name, data := s.next(); name != shown[5] || data != shown[6] {
		t.Errorf("got %s %s, the manual has %s %s", name, data, shown[5], shown[6])
	}
	if r := runOn(t, db, "doctor"); !strings.Contains(r.stdout, "ok       live query board: ok") || !strings.Contains(r.stdout, "ok       live query mine: ok") {
		t.Errorf("doctor: %s", r.stdout)
	}
	exec1(t, db, `select pgbell.detach('people')`)
	if name, data := s.next(); name != shown[5] || !strings.Contains(data, `"op":"reset"`) {
		t.Errorf("got %s %s", name, data)
	}
	if r := runOn(t, db, "doctor"); r.code != 1 || !strings.Contains(r.stdout, "problem  live query board: a change could go unheard: public.people has no feed\n         -> select pgbell.attach(") {
		t.Errorf("doctor: %s", r.stdout)
	}
	if _, page := get(t, server+"/"); !strings.Contains(page, "Live query board: a change could go unheard: public.people has no feed") || !strings.Contains(page, "Live queries") {
		t.Errorf("the status page: %s", page)
	}
	if _, metrics := get(t, server+"/metrics"); !strings.Contains(metrics, "\npgbell_live_queries 1\n") {
		t.Errorf("metrics: %s", metrics)
	}
}

func TestServeRefusesRolesOfLiveQueries(t *testing.T) {
	db := migrated(t)
	wantError(t, runOn(t, db, "serve", "--addr", "127.0.0.1:0", "--live-role", "there_is_none"), 1, "--live-role there_is_none", "grant")
	for _, flag := range [][]string{{"--live-role", ""}, {"--live-staleness", "0s"}, {"--live-timeout", "0s"}, {"--max-live", "0"}, {"--max-live-per-stream", "0"}} {
		wantError(t, runOn(t, db, append([]string{"serve", "--addr", "127.0.0.1:0"}, flag...)...), 2, flag[0])
	}
}
