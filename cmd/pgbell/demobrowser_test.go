package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/pgbell/pgbell/internal/chromium"
)

// tab is a page in a browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// openTab opens a page in a browser of its own. Whatever the page says on its
// console is the test's failure, unless the test expects it.
func openTab(t *testing.T, url string, expected ...string) *tab {
	t.Helper()
	ctx, stop := context.WithCancel(chromium.Start(t))
	console, read := chromedp.Console(ctx), make(chan struct{})
	go func() {
		defer close(read)
		for m, err := range console {
			if err != nil {
				return // the tab is closed
			}
			known := false
			for _, text := range expected {
				known = known || strings.Contains(m.Text, text)
			}
			if !known {
				t.Errorf("the console has %s: %s", m.Type, m.Text)
			}
		}
	}()
	t.Cleanup(func() { stop(); <-read })
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return &tab{t, ctx}
}

// wait waits until a JavaScript expression is true.
func (b *tab) wait(format string, args ...any) {
	b.t.Helper()
	expression := fmt.Sprintf(format, args...)
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(10*time.Minute))); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector(".columns").innerText`))
		b.t.Fatalf("%v: still waiting for %s; the columns show:\n%s", err, expression, text)
	}
}

// text returns the text of an element.
func (b *tab) text(selector string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q).innerText`, selector)))
	if err != nil {
		b.t.Fatalf("%s: %v", selector, err)
	}
	return text
}

// click clicks as a mouse does.
func (b *tab) click(selector string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.t.Fatalf("click %s: %v", selector, err)
	}
}

// waitShown waits until a list shows a text, or no longer does.
func (b *tab) waitShown(list, text string, shown bool) {
	b.t.Helper()
	b.wait(`document.querySelector(%q).innerText.includes(%q) === %v`, list, text, shown)
}

const (
	live       = `[...document.querySelectorAll("[data-part=state]")].every((s) => s.textContent === "live")`
	aliceTasks = "#alice [data-list=tasks]"
	bobTasks   = "#bob [data-list=tasks]"
	bobNotes   = "#bob [data-list=notes]"
	aliceLog   = "#alice [data-part=log]"
	bobLog     = "#bob [data-part=log]"
)

func TestDemoInABrowser(t *testing.T) {
	chromium.Path(t)
	d := startDemo(t)
	b := openTab(t, d.page)
	b.wait(live)

	// A change by SQL: in alice's column, and in no other.
	bob := b.text(bobTasks)
	exec1(t, d.db, `insert into tasks (title, owner) values ('<b>Typed</b> in psql', 'alice')`)
	b.waitShown(aliceTasks, "<b>Typed</b> in psql", true)
	exec1(t, d.db, `insert into notes (body, owner) values ('For bob alone', 'bob')`)
	b.waitShown(bobNotes, "For bob alone", true)
	if got := b.text(bobTasks); got != bob {
		t.Errorf("bob's tasks changed: got %q, want %q", got, bob)
	}
	if got := b.text(bobLog); strings.Contains(got, "Typed") || !strings.Contains(got, "For bob alone") {
		t.Errorf("bob's stream got %q, want his note alone", got)
	}
	if got := b.text(aliceLog); strings.Contains(got, "For bob alone") {
		t.Errorf("alice's stream got %q", got)
	}

	// From alice to bob: it goes here and comes there.
	b.click(aliceTasks + " li:first-child [data-action=give-task]")
	b.waitShown(bobTasks, "Typed", true)
	b.waitShown(aliceTasks, "Typed", false)
	b.wait(`document.querySelector(%q).innerText.includes("moved out")`, aliceLog)
	b.wait(`document.querySelector(%q).innerText.includes("moved in")`, bobLog)
	b.wait(`/refreshed \d+ ms after the click/.test(document.querySelector("#bob [data-part=timing]").textContent)`)

	// The other buttons.
	b.click(bobTasks + " li:first-child input")
	b.wait(`document.querySelector(%q) !== null`, bobTasks+" li.done:first-child input:checked")
	b.click("#alice [data-action=share-note]")
	b.waitShown(bobNotes, "from Alice", true)
	b.click("#alice [data-action=keep-note]")
	b.waitShown(bobNotes, "from Alice", false)
	b.click(bobTasks + " li:first-child [data-action=delete-task]")
	b.waitShown(bobTasks, "Typed", false)
	if err := chromedp.Do(b.ctx, chromedp.SendKeys(chromedp.ID("bob-task"), "By hand\r")); err != nil {
		t.Fatal(err)
	}
	b.waitShown(bobTasks, "By hand", true)

	// Many at once: a few refreshes, whatever the queue could hold.
	b.click("[data-action=add-many]")
	for user, want := range map[string]int{"alice": 503, "bob": 504} {
		b.wait(`document.querySelector("#%s [data-total=tasks]").textContent === "%d"`, user, want)
	}
	b.click("[data-action=delete-many]")
	b.wait(`document.querySelector("#bob [data-total=tasks]").textContent === "4"`)
}

// On a phone one column is shown, and the tab of the other says that something came there.
func TestDemoOnAPhone(t *testing.T) {
	chromium.Path(t)
	d := startDemo(t)
	b := openTab(t, "about:blank")
	b.do(chromedp.EmulateViewport(390, 844), chromedp.Navigate(d.page))
	b.wait(live)
	shows := func(one, other string) {
		t.Helper()
		b.wait(`document.querySelector(%q).offsetParent !== null && document.querySelector(%q).offsetParent === null`, one, other)
	}
	shows("#alice", "#bob")
	b.wait(`document.documentElement.scrollWidth <= innerWidth`)

	// What the buttons do is said at once, in sight, and they offer only what can be done.
	offers := func(actions string) {
		t.Helper()
		b.wait(`[...document.querySelectorAll("[data-if-many]:enabled")].map((b) => b.dataset.action).join() === %q`, actions)
	}
	offers("add-many")
	b.wait(`document.querySelector("[data-part=told]").getBoundingClientRect().bottom < innerHeight`)
	b.click("[data-action=add-many]")
	b.wait(`/^Inserted 1,000 rows in \d+ ms/.test(document.querySelector("[data-part=told]").textContent)`)
	offers("toggle-many,delete-many")
	b.wait(`document.querySelector("[data-tab=bob]").innerText.includes("new")`)
	b.click("[data-action=delete-many]")
	b.wait(`document.querySelector("[data-part=told]").textContent.startsWith("Deleted 1,000 rows")`)
	offers("add-many")

	b.click("[data-tab=bob]")
	shows("#bob", "#alice")
	b.wait(`document.querySelector("[data-tab=bob] [data-part=news]").textContent === ""`)
	exec1(t, d.db, `insert into tasks (title, owner) values ('For alice', 'alice')`)
	b.wait(`document.querySelector("[data-tab=alice] [data-part=news]").textContent.endsWith("new")`)
	b.click("[data-tab=alice]")
	b.waitShown(aliceTasks, "For alice", true)
}

// A page that stays open while the demo ends neither keeps it up, nor needs a
// reload when another one comes: its cursor says nothing there, so all is reset.
func TestDemoPageOutlivesTheDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	chromium.Path(t)
	d := startDemo(t)
	b := openTab(t, d.page, "ERR_CONNECTION_", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE_CHUNKED_ENCODING")
	b.wait(live)
	exec1(t, d.db, `insert into tasks (title, owner) values ('Of the old one', 'alice')`)
	b.waitShown(aliceTasks, "Of the old one", true)
	postmaster := d.postmaster(t)
	began := time.Now()
	if code := d.end(t, syscall.SIGINT); code != 0 || d.stderr.Len() > 0 {
		t.Errorf("exit %d, it said %q: want 0 and nothing", code, &d.stderr)
	}
	if took := time.Since(began); took > requestTimeout-time.Second { // some 0.3 s
		t.Errorf("with a page open the end took %v", took)
	}
	d.wantGone(t, postmaster)
	b.wait(`document.querySelector("#alice [data-part=state]").textContent === "reconnecting"`)

	next := launchDemo(t, "--addr", strings.Trim(strings.TrimPrefix(d.page, "http:"), "/"))
	b.waitShown(aliceTasks, "Of the old one", false)
	b.wait(live)
	next.readUntilUp(t)
	exec1(t, next.db, `insert into tasks (title, owner) values ('Of the new one', 'alice')`)
	b.waitShown(aliceTasks, "Of the new one", true)
}
