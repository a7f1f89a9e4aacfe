package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/internal/chromium"
	"github.com/pgbell/pgbell/js"
)

func TestModuleIsServedToEveryPage(t *testing.T) {
	for name, args := range map[string][]string{
		"open":           nil,
		"jwt":            append(secretFile(t, jwtSecret), "--auth", "jwt"),
		"listed origins": {"--cors-origin", "https://app.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			_, server := beginServe(t, nowhere, args...)
			resp, err := http.Get(server + "/pgbell.js")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s, %v, want 200", resp.Status, err)
			}
			if diff := cmp.Diff(string(js.Module), string(body)); diff != "" {
				t.Errorf("it is not the module (-want +got):\n%s", diff)
			}
			for header, want := range map[string]string{
				"Content-Type":                "text/javascript; charset=utf-8",
				"Cache-Control":               "no-cache",
				"X-Content-Type-Options":      "nosniff",
				"Access-Control-Allow-Origin": "*",
			} {
				if got := resp.Header.Get(header); got != want {
					t.Errorf("%s: got %q, want %q", header, got, want)
				}
			}
			tag := resp.Header.Get("ETag")
			if again := ask(t, "GET", server+"/pgbell.js", "If-None-Match", tag); again.StatusCode != http.StatusNotModified {
				t.Errorf("with its tag %s: got %s, want 304", tag, again.Status)
			}
			if post := ask(t, "POST", server+"/pgbell.js"); post.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("POST: got %s, want 405", post.Status)
			}
		})
	}
}

// A page of another origin, with a token: the module, the preflight for the token, the
// stream and a refusal all cross.
func TestModuleWorksAcrossOrigins(t *testing.T) {
	browser := chromium.Start(t)
	db := migrated(t)
	key := secretFile(t, jwtSecret)
	token := makeToken(t, append(key, "--user", "alice", "--scope", "a")...)
	var server string
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<script type="module">
			import {connect} from '%s/pgbell.js'
			window.heard = []
			const bell = connect('%[1]s/events', {token: '%s'})
			bell.on('a', (event) => heard.push(event.op))
			window.refused = connect('%[1]s/events', {token: () => '%[2]s', scopes: ['b']})
		</script>`, server, token)
	}))
	defer page.Close()
	_, server = beginServe(t, db, append(key, "--auth", "jwt", "--cors-origin", page.URL)...)
	if err := chromedp.Do(browser, chromedp.Navigate(page.URL)); err != nil {
		t.Fatal(err)
	}
	wait := func(expression string) {
		t.Helper()
		if _, err := chromedp.Run(browser, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(10*time.Minute))); err != nil {
			t.Fatalf("%v: still waiting for %s", err, expression)
		}
	}
	wait(`heard.join() === 'reset'`)
	exec1(t, db, `select pgbell.publish('a', '{}', array['alice'])`)
	wait(`heard.join() === 'reset,publish'`)
	wait(`refused.status === 'closed' && refused.reason === '403: You may not subscribe to b.'`)
}
