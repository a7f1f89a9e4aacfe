package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestNoAnswerIsSniffed(t *testing.T) {
	_, server := beginServe(t, "postgres://u@127.0.0.1:1/d")
	for path, want := range map[string]int{
		"/events?scope=a": 200, "/events": 400, "/presence?scope=a": 200, "/healthz": 200, "/readyz": 503, "/metrics": 200, "/nowhere": 404, "//events": 301,
		"/": 200, "/status": 200, "/status/events": 200, "/status/script.js": 200, "/status/style.css": 200, "/status/icon.svg": 200,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("X-Content-Type-Options"); resp.StatusCode != want || got != "nosniff" {
			t.Errorf("%s: %s, %q, want %d and nosniff", path, resp.Status, got, want)
		}
	}
}

func TestHostsThatNameThisMachine(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8080": true, "127.0.0.1": true, "127.0.0.1:8080": true, "127.8.0.1:1": true, "[::1]": true, "[::1]:8080": true, "[::ffff:127.0.0.1]:80": true,
		"": false, "evil.example": false, "evil.example:8080": false, "localhost.evil.example:8080": false, "127.0.0.1.evil.example": false, "evil.localhost.": false,
		"192.0.2.1:8080": false, "[::2]:8080": false, "0.0.0.0:8080": false, "localhost:8080:1": false, "[localhost": false, "2130706433": false,
	} {
		if got := namesLoopback(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}

// A page can have its name pointed to 127.0.0.1, and then is of the same origin as
// the demo, for a browser.
func TestDemoRefusesOtherNames(t *testing.T) {
	d := startDemo(t)
	u, err := url.Parse(d.page)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		u.Host: 200, "localhost:" + u.Port(): 200, "localhost:9999": 200, "evil.example:" + u.Port(): 421, "evil.example": 421,
	} {
		for _, path := range []string{"", "events?user=alice&scope=tasks", "demo/rows?user=alice", "presence?scope=tasks", "metrics", "status"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.page+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("Host %s, /%s: got %s, want %d", host, path, resp.Status, want)
			}
		}
	}
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"}, // of a browser without Sec-Fetch-Site
		{"Origin", "null"},
	} {
		if resp := ask(t, "POST", d.page+"demo/change", header...); resp.StatusCode != http.StatusForbidden {
			t.Errorf("POST with %s: %s, want 403", strings.Join(header, ": "), resp.Status)
		}
	}
}
