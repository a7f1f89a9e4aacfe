package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// statusEvents is an open /status/events, and the parts of the page as they came.
type statusEvents struct {
	lines *bufio.Scanner
	parts map[string]string
	all   strings.Builder // whatever came
	said  string          // the reason of the close event
}

func watchStatus(t *testing.T, server string) *statusEvents {
	t.Helper()
	resp := send(t, http.DefaultClient, http.MethodGet, server+"/status/events")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET /status/events: %s", resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return &statusEvents{lines: lines, parts: map[string]string{}}
}

// next reads a frame, and returns false at the end.
func (s *statusEvents) next() bool {
	var event string
	for s.lines.Scan() {
		line := s.lines.Text()
		if after, ok := strings.CutPrefix(line, "event: "); ok {
			event = after
		}
		if after, ok := strings.CutPrefix(line, "data: "); ok {
			var data struct {
				Data   map[string]string
				Reason string
			}
			if err := json.Unmarshal([]byte(after), &data); err != nil {
				panic(err)
			}
			if event == "close" {
				s.said = data.Reason
			}
			for name, html := range data.Data {
				s.parts[name] = html
				s.all.WriteString(html)
			}
		}
		if line == "" {
			return true
		}
	}
	return false
}

// waitFor waits until a part of the page has text in it.
func (s *statusEvents) waitFor(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	for {
		for _, html := range s.parts {
			if strings.Contains(html, text) {
				return
			}
		}
		if time.Now().After(deadline) || !s.next() {
			t.Fatalf("the page does not come to say %q: %q", text, s.parts)
		}
	}
}

func TestStatusPageIsForThoseWhomAuthKnows(t *testing.T) {
	key := secretFile(t, jwtSecret)
	alice := "Bearer " + makeToken(t, append([]string{"--user", "alice"}, key...)...) // without any scope
	stranger := "Bearer " + makeToken(t, append([]string{"--user", "alice"}, secretFile(t, jwtSecret[1:]+"!")...)...)
	for _, test := range []struct {
		name   string
		serve  []string
		header []string
		code   int
	}{
		{"none", nil, nil, 200},
		{"header", []string{"--auth", "header"}, []string{"X-Forwarded-User", "alice"}, 200},
		{"header, nobody named", []string{"--auth", "header"}, nil, 401},
		{"header, nobody", []string{"--auth", "header"}, []string{"X-Forwarded-User", ""}, 401},
		{"header, from a stranger", []string{"--auth", "header", "--trusted-proxies", "192.0.2.1"}, []string{"X-Forwarded-User", "alice"}, 401},
		{"jwt", append([]string{"--auth", "jwt"}, key...), []string{"Authorization", alice}, 200},
		{"jwt, no token", append([]string{"--auth", "jwt"}, key...), nil, 401},
		{"jwt, another's token", append([]string{"--auth", "jwt"}, key...), []string{"Authorization", stranger}, 401},
		{"off", []string{"--status=false"}, nil, 404},
		{"off, header", []string{"--status=false", "--auth", "header"}, []string{"X-Forwarded-User", "alice"}, 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, server := beginServe(t, nowhere, test.serve...)
			for _, path := range []string{"/", "/status", "/status/events"} {
				resp := ask(t, http.MethodGet, server+path, test.header...)
				if resp.StatusCode != test.code {
					t.Errorf("%s: %s, want %d", path, resp.Status, test.code)
				}
				want := map[int]string{401: "application/problem+json", 200: "text/html; charset=utf-8", 404: "text/plain; charset=utf-8"}[test.code]
				if test.code == 200 && path == "/status/events" {
					want = "text/event-stream"
				} else if csp := resp.Header.Get("Content-Security-Policy"); test.code == 200 && !strings.HasPrefix(csp, "default-src 'none'; style-src 'self'; script-src 'self'") {
					t.Errorf("%s: Content-Security-Policy: %q", path, csp)
				}
				if got := resp.Header.Get("Content-Type"); got != want {
					t.Errorf("%s: Content-Type: %s, want %s", path, got, want)
				}
				if got := resp.Header.Get("Cache-Control"); test.code == 200 && !strings.HasPrefix(got, "no-store") {
					t.Errorf("%s: Cache-Control: %q, want no-store", path, got)
				}
			}
		})
	}
}

func TestStatusPageTellsPeopleWhyTheyDontSeeIt(t *testing.T) {
	_, server := beginServe(t, nowhere, "--auth", "header")
	for path, want := range map[string]string{"/": "text/html; charset=utf-8", "/status/events": "application/problem+json"} {
		resp := ask(t, http.MethodGet, server+path, "Accept", "text/html,*/*")
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusUnauthorized || got != want {
			t.Errorf("%s: %s, %s, want 401, %s", path, resp.Status, got, want)
		}
	}
}

// As a role that may not ask for the feeds' state, and then may.
func TestStatusPageShowsWhatTheListenersRoleMaySee(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `
		create role status_listener login password 'status sesame';
		select pgbell.grant_listener('status_listener');
		revoke execute on function pgbell.state(pgbell.feed) from status_listener;
		create table "<script>alert(1)</script>" (id int primary key, owner text);
		create table tasks (id int primary key, project int);
		create table news (id int primary key);
		create table drafts (id int primary key);
		select pgbell.attach('tasks', array['project:{project}']);
		select pgbell.attach('news', array['news']);
		select pgbell.attach('drafts', array['drafts'], audience => '{}');
		select pgbell.attach('"<script>alert(1)</script>"', array['<i>{id}'], audience => array['owner'])`)
	p, server := beginServe(t, as(t, db, "status_listener", "status sesame"))
	p.waitLog(t, `"listening"`)
	s := open(t, server, "", "project:the-secret")
	exec1(t, db, `truncate tasks; alter table "<script>alert(1)</script>" drop column owner`)
	if event, data := s.next(); event != "project:the-secret" || !strings.Contains(data, "reset") {
		t.Fatalf("got %s %s, want a reset", event, data)
	}
	events := watchStatus(t, server)
	events.waitFor(t, "grant execute on function pgbell.state(pgbell.feed) to status_listener;")
	events.waitFor(t, "<span>not known</span>")
	if troubles := events.parts["troubles"]; strings.Contains(troubles, "All is well") || !strings.Contains(troubles, "not known") {
		t.Errorf("nobody knows the feeds' state, and the page says\n%s", troubles)
	}
	if _, metrics := get(t, server+"/metrics"); !strings.Contains(metrics, "\npgbell_feeds{state=\"unknown\"} 4\n") {
		t.Errorf("the metrics don't say that the feeds' state is unknown:\n%s", metrics)
	}
	exec1(t, db, `grant execute on function pgbell.state(pgbell.feed) to status_listener; select pgbell.attach('tasks', array['project:{project}'])`)
	for _, want := range []string{
		`public.&#34;&lt;script&gt;alert(1)&lt;/script&gt;&#34;`, "column owner is gone", "<code>&lt;i&gt;{id}</code>", "1 feed is not in order",
		"<code>project:{project}</code></th>\n  <td class=\"number\">1</td>", "<span>public.tasks</span>", "<span>truncate</span>",
		"connected and caught up", "% full",
	} {
		events.waitFor(t, want)
	}
	for table, want := range map[string]string{"news": "everyone", "drafts": "nobody"} {
		_, row, _ := strings.Cut(events.parts["feeds"], "public."+table+"<")
		if row, _, _ = strings.Cut(row, "</tr>"); !strings.Contains(row, "<span>"+want+"</span>") {
			t.Errorf("public.%s is for %s, and the page says\n%s", table, want, row)
		}
	}
	code, page := get(t, server+"/")
	if code != 200 || !strings.Contains(page, "column owner is gone") || !strings.Contains(page, "public.&#34;&lt;script&gt;") {
		t.Errorf("GET /: %d, without the feeds:\n%s", code, page)
	}
	for what, text := range map[string]string{"page": page, "stream": events.all.String()} {
		if strings.Contains(text, "secret") || strings.Contains(text, "<script>alert") {
			t.Errorf("the %s shows the value in a scope, or takes a name for HTML:\n%s", what, text)
		}
	}
	if _, metrics := get(t, server+"/metrics"); !strings.Contains(metrics, "\npgbell_feeds{state=\"faulty\"} 1\npgbell_feeds{state=\"ok\"} 3\npgbell_feeds{state=\"unknown\"} 0\n") ||
		!strings.Contains(metrics, "\npgbell_scopes_reset_total 1\n") || !strings.Contains(metrics, "\npgbell_subscriptions 1\n") {
		t.Errorf("got metrics\n%s", metrics)
	}
}

// Else it would show within the minute.
// Before anything was read there is no number to show, and nothing is well.
func TestStatusPageWithoutADatabase(t *testing.T) {
	_, server := beginServe(t, "postgres://u@127.0.0.1:1/d")
	_, page := get(t, server+"/")
	for _, name := range []string{"Notification queue", "Journal", "Position", "Oldest change in it"} {
		if m := regexp.MustCompile(`(?s)<dt>` + name + `</dt>\s*<dd[^>]*>(.*?)</dd>`).FindStringSubmatch(page); m == nil || strings.TrimSpace(m[1]) != "–" {
			t.Errorf("%s is %q", name, m)
		}
	}
	if !strings.Contains(page, "No changes are heard") || strings.Contains(page, "All is well") {
		t.Errorf("the page says\n%s", page)
	}
}

func TestNewFeedShowsAtOnceWhileNobodyLooks(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table tasks (id int primary key); create table notes (id int primary key)`)
	mustRun(t, db, "attach", "tasks", "--scope", "tasks")
	_, server := beginServe(t, db)
	wait := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Minute); ; {
			_, metrics := get(t, server+"/metrics")
			if strings.Contains(metrics, "\n"+want+"\n") {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the metrics don't come to have %s:\n%s", want, metrics)
			}
		}
	}
	wait(`pgbell_feeds{state="ok"} 1`)
	mustRun(t, db, "attach", "notes", "--scope", "notes")
	wait(`pgbell_feeds{state="ok"} 2`)
}
