package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbell/pgbell/internal/chromium"
	"github.com/pgbell/pgbell/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const manual = "../../../docs/htmx.md"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Users copy it from the manual: a piece that is missing there can't be copied.
func TestManualShowsAllOfIt(t *testing.T) {
	text := read(t, manual)
	for path, lang := range map[string]string{"main.go": "go", "tasks.sql": "sql"} {
		if !strings.Contains(text, "```"+lang+"\n"+read(t, path)+"```") {
			t.Errorf("%s doesn't show all of %s", manual, path)
		}
	}
}

// TestManualsPathWorks goes the way that the manual shows: its table, its page, its rows.
func TestManualsPathWorks(t *testing.T) {
	browser := chromium.Start(t)
	db, err := pgxpool.New(t.Context(), pgtest.Migrated.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	exec := func(sql string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(read(t, "tasks.sql"))
	found := regexp.MustCompile("(?m)^((?:insert into|update) tasks .*);$").FindAllString(read(t, manual), -1)
	if len(found) != 2 {
		t.Fatalf("the manual shows the changes %q, want an insert and an update", found)
	}
	url := serve(t, db)
	alice, bob := open(t, browser, url, "alice"), open(t, browser, url, "bob")
	sees(t, alice, "Nothing to do") // an empty list: there is no row to bring a cursor
	sees(t, bob, "Nothing to do")

	exec(found[0])
	sees(t, alice, "Ring the bell")
	exec(found[1])
	sees(t, bob, "Ring the bell")
	sees(t, alice, "Nothing to do")
}

// serve serves the page until the test ends, where its scripts are, and returns its address.
func serve(t *testing.T, db *pgxpool.Pool) string {
	t.Helper()
	t.Chdir("..")
	web, changes := build(db)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- changes.Run(ctx) }()
	server := httptest.NewServer(web)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		stop()
		<-ended
	})
	return server.URL
}

// open opens the page as a user, in a browser of their own.
func open(t *testing.T, browser context.Context, url, user string) context.Context {
	t.Helper()
	tab, stop := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(stop)
	if err := chromedp.Do(tab, chromedp.Navigate(url+"/as/"+user)); err != nil {
		t.Fatal(err)
	}
	return tab
}

// sees waits until a tab shows a text.
func sees(t *testing.T, tab context.Context, text string) {
	t.Helper()
	expression := fmt.Sprintf("document.body.innerText.includes(%q)", text)
	if _, err := chromedp.Run(tab, chromedp.Poll[chromedp.Void](expression,
		chromedp.WithPollingTimeout(10*time.Minute), chromedp.WithPollingInterval(50*time.Millisecond))); err != nil {
		t.Fatalf("%v: still waiting for %q", err, text)
	}
}
