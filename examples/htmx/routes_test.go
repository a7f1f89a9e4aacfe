package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestRoutesKnowWhoAsks(t *testing.T) {
	w := newWorld(t, "htmx4")
	const ann, nobody = "ann%40example.com", ""
	for _, c := range []struct {
		name, method, path, user string
		header                   [2]string
		status                   int
		body                     string
	}{
		{"a page", "GET", "/htmx4/", ann, [2]string{}, 200, "Call the roofer"},
		{"a page, not signed in", "GET", "/htmx4/", nobody, [2]string{}, 401, "Who are you?"},
		{"a page, as somebody unknown", "GET", "/htmx4/", "eve", [2]string{}, 401, "Who are you?"},
		{"a fragment, not signed in", "GET", "/htmx4/summary", nobody, [2]string{"HX-Request", "true"}, 401, ""},
		{"a stream, not signed in", "GET", "/events?scope=projects", nobody, [2]string{}, 401, "credentials"},
		{"a task of one's own", "GET", "/htmx4/tasks/1/now", ann, [2]string{}, 200, "Call the roofer"},
		{"a task of somebody else's", "GET", "/htmx4/tasks/2/now", ann, [2]string{}, 200, "No such task"},
		{"a change of somebody else's task", "POST", "/tasks/2/delete", ann, [2]string{}, 404, "no such task"},
		{"a change from another site", "POST", "/tasks/1/delete", ann, [2]string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"a change", "POST", "/tasks/1/delete", ann, [2]string{}, 204, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, w.front.URL+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.AddCookie(&http.Cookie{Name: cookieName, Value: c.user})
			if c.header[0] != "" {
				req.Header.Set(c.header[0], c.header[1])
			}
			resp, err := w.front.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || !strings.Contains(string(body), c.body) {
				t.Errorf("got %d with\n%s\nwant %d with %q", resp.StatusCode, body, c.status, c.body)
			}
			if c.status == 200 && resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control is %q, want no-store", resp.Header.Get("Cache-Control"))
			}
			if got, want := resp.Header.Get("HX-Refresh") == "true", c.header[0] == "HX-Request"; got != want {
				t.Errorf("HX-Refresh: %v, want %v", got, want)
			}
		})
	}
}
