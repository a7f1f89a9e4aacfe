package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/pgbell/pgbell/internal/chromium"
)

// wide and narrow are a desk's and a phone's windows.
const wide, narrow = 1200, 390

// resize gives the page a width, wants nothing to stick out, and keeps a picture:
// see go test -artifacts.
func (b *tab) resize(width int64, picture string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.EmulateViewport(width, 900)); err != nil {
		b.t.Fatal(err)
	}
	b.wait(`innerWidth === %d`, width)
	wider, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("*")]
		.filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + .5)
		.map((e) => e.outerHTML.slice(0, 80)).join("\n")`))
	if err != nil {
		b.t.Fatal(err)
	}
	b.wait(`document.documentElement.scrollWidth <= document.documentElement.clientWidth`)
	if wider != "" {
		b.t.Errorf("at a width of %d these stick out:\n%s", width, wider)
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	name := filepath.Join(b.t.ArtifactDir(), fmt.Sprintf("%s-%d.png", picture, width))
	if err := os.WriteFile(name, png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// waitStatus waits until a card of the status page says something.
func (b *tab) waitStatus(card, says string) {
	b.t.Helper()
	b.wait(`document.getElementById(%q).textContent.replace(/\s+/g, " ").includes(%q)`, card, says)
}

func TestStatusPageInABrowser(t *testing.T) {
	chromium.Path(t)
	db := migrated(t)
	exec1(t, db, `
		create table tasks (id int primary key, project_id int, owner text);
		create table "<script>alert(1)</script> with a rather long name that wraps" (id int primary key);
		create table news (id int primary key);
		select pgbell.attach('tasks', array['tasks', 'project:{project_id}', 'task:{id}:of:{project_id}:{owner}'], audience => array['owner']);
		select pgbell.attach('"<script>alert(1)</script> with a rather long name that wraps"', array['scripts']);
		alter table "<script>alert(1)</script> with a rather long name that wraps" disable trigger all;
		select pgbell.attach('news', array['news'], durable => false)`)
	p, server := beginServe(t, db, "--drain", "0s")
	p.waitLog(t, `"listening"`)
	open(t, server, "", "tasks", "news", "project:secret-7", "mine:secret-8")
	b := openTab(t, server+"/", "ERR_CONNECTION_", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE_CHUNKED_ENCODING")
	b.wait(`document.getElementById("live").textContent === "live"`)
	b.waitStatus("feeds", `public."<script>alert(1)</script> with a rather long name that wraps"`)
	b.waitStatus("feeds", "is disabled")
	b.waitStatus("troubles", "1 feed is not in order.")
	b.wait(`document.querySelector("main script") === null`)
	b.waitStatus("scopes", "project:{project_id} 1 1")
	b.waitStatus("scopes", "others, of no feed 1 1")
	if page := b.text("body"); strings.Contains(page, "secret") {
		t.Errorf("the page shows the value in a scope:\n%s", page)
	}

	// A row changes.
	exec1(t, db, `insert into tasks values (1, 7, 'alice')`)
	b.waitStatus("streams", "Events emitted3")
	b.wait(`[...document.querySelectorAll(".bars")].every((path) => path.getAttribute("d") !== "")`)
	b.resize(wide, "fine")
	b.resize(narrow, "fine")

	// The listener is cut, and can't come back for a while.
	name := db[strings.LastIndex(db, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	exec1(t, postgres.URL(), "alter database "+name+" allow_connections false")
	exec1(t, postgres.URL(), "select pg_terminate_backend(pid) from pg_stat_activity where datname = '"+name+"'")
	b.waitStatus("listener", "not listening")
	b.waitStatus("troubles", "No changes are heard")
	b.resize(narrow, "cut")
	b.resize(wide, "cut")
	exec1(t, postgres.URL(), "alter database "+name+" allow_connections true")
	b.waitStatus("listener", "connected and caught up")
	b.waitStatus("listener", "Connected so far2 times")
	b.waitStatus("resets", "public.news the connection to the database was down 1 1")
	b.resize(wide, "back")
	b.resize(narrow, "back")

	// pgbell is restarted: the page comes back without a reload.
	p.end(t, syscall.SIGTERM)
	b.wait(`document.getElementById("live").textContent === "reconnecting"`)
	begin(t, db, "serve", "--addr", strings.TrimPrefix(server, "http://")).waitLog(t, `"listening"`)
	b.wait(`document.getElementById("live").textContent === "live"`)
	b.waitStatus("resets", "None since the start.")
}

func TestStatusPageForWhoIsNotKnownInABrowser(t *testing.T) {
	chromium.Path(t)
	_, server := beginServe(t, nowhere, "--auth", "header")
	b := openTab(t, server+"/", "401")
	b.wait(`getComputedStyle(document.querySelector(".who")).borderRadius === "12px"`) // it has its looks
	b.resize(wide, "who")
	b.resize(narrow, "who")
}
