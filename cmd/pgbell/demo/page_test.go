package demo

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbell/pgbell/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var filled = pgtest.Template{Make: func(ctx context.Context, url string) error {
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	return fill(ctx, conf)
}}

// newPage returns a page on a database of its own.
func newPage(t *testing.T) *Page {
	t.Helper()
	db, err := pgxpool.New(t.Context(), filled.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return NewPage(db, Try{Psql: "psql 'here'", Statements: []string{"select 1;"}, Curl: "curl there"}, slog.New(slog.DiscardHandler))
}

func (p *Page) do(t *testing.T, method, target string, form url.Values, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// exec changes rows as psql would.
func (p *Page) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := p.db.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestPageEscapesWhatUsersWrote(t *testing.T) {
	p := newPage(t)
	p.exec(t, `truncate tasks, notes;
		insert into tasks (title, owner) values ('<i>"&''', 'alice');
		insert into notes (body, owner) values ('<script>x</script>', 'alice')`)
	for _, path := range []string{"/", "/demo/rows?user=alice"} {
		html := body(t, p.do(t, "GET", path, nil))
		for _, raw := range []string{"<i>", "<script>x"} {
			if strings.Contains(html, raw) {
				t.Errorf("%s has %s in it", path, raw)
			}
		}
		for _, escaped := range []string{"&lt;i&gt;&#34;&amp;&#39;", "&lt;script&gt;x"} {
			if !strings.Contains(html, escaped) {
				t.Errorf("%s does not have %s in it:\n%s", path, escaped, html)
			}
		}
	}
}

// The policy forbids what the page does not have; the browser test shows that it
// works under it.
func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	resp := newPage(t).do(t, "GET", "/", nil)
	if got := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none';") || strings.Contains(got, "unsafe") {
		t.Errorf("the policy is %q", got)
	}
	html := body(t, resp)
	if found := regexp.MustCompile(`(?i)(src|href)="(https?:)?//[^"]*"|\sstyle=|\son\w+=|<style|<script>`).FindString(html); found != "" {
		t.Errorf("the page has %s", found)
	}
	for _, asset := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		if resp := newPage(t).do(t, "GET", asset[1], nil); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", asset[1], resp.Status)
		}
	}
}

func TestNoOtherSiteHoldsThePage(t *testing.T) {
	p := newPage(t)
	for _, path := range []string{"/", "/demo/script.js", "/demo/nothing"} {
		header := p.do(t, "GET", path, nil).Header
		for name, want := range map[string]string{
			"Cross-Origin-Opener-Policy": "same-origin", "Referrer-Policy": "no-referrer",
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		policy := header.Get("Content-Security-Policy")
		for _, part := range []string{"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "connect-src 'self'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy %q has no %s", path, policy, part)
			}
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	p := newPage(t)
	before := p.tables(t)
	for name, test := range map[string]struct {
		method, target string
		form           url.Values
		header         []string
		want           int
	}{
		"another site":     {"POST", "/demo/change", url.Values{"action": {"delete-many"}, "user": {"alice"}}, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"unknown action":   {"POST", "/demo/change", url.Values{"action": {"drop"}, "user": {"alice"}}, nil, 400},
		"unknown user":     {"POST", "/demo/change", url.Values{"action": {"add-task"}, "user": {"eve"}, "text": {"x"}}, nil, 400},
		"nothing written":  {"POST", "/demo/change", url.Values{"action": {"add-task"}, "user": {"alice"}, "text": {"  "}}, nil, 400},
		"too long":         {"POST", "/demo/change", url.Values{"action": {"add-task"}, "user": {"alice"}, "text": {strings.Repeat("ü", maxText+1)}}, nil, 400},
		"huge":             {"POST", "/demo/change", url.Values{"action": {"add-task"}, "user": {"alice"}, "text": {strings.Repeat("x", 1<<20)}}, nil, 400},
		"zero byte":        {"POST", "/demo/change", url.Values{"action": {"add-task"}, "user": {"alice"}, "text": {"a\x00b"}}, nil, 400},
		"not UTF-8":        {"POST", "/demo/change", url.Values{"action": {"add-task"}, "user": {"alice"}, "text": {"a\xffb"}}, nil, 400},
		"wrong method":     {"GET", "/demo/change", nil, nil, 405},
		"rows of nobody":   {"GET", "/demo/rows", nil, nil, 400},
		"unknown path":     {"GET", "/demo/secret", nil, nil, 404},
		"source of a page": {"GET", "/demo/page.html", nil, nil, 404},
	} {
		t.Run(name, func(t *testing.T) {
			if resp := p.do(t, test.method, test.target, test.form, test.header...); resp.StatusCode != test.want {
				t.Errorf("got %s: %s, want %d", resp.Status, body(t, resp), test.want)
			}
		})
	}
	if diff := cmp.Diff(before, p.tables(t)); diff != "" {
		t.Errorf("rows (-before +after):\n%s", diff)
	}
}

func TestDatabaseGoneIsSaid(t *testing.T) {
	p := newPage(t)
	p.db.Close()
	for _, path := range []string{"/", "/demo/rows?user=alice"} {
		if resp := p.do(t, "GET", path, nil); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: got %s, want 503", path, resp.Status)
		}
	}
}
