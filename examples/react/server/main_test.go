package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/internal/chromium"
	"github.com/pgbell/pgbell/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// start starts the server on a database of its own, and returns the page's address and
// what writes to the database.
func start(t *testing.T) (url string, exec func(sql string)) {
	t.Helper()
	chromium.Path(t)
	built, database := dist(t), pgtest.Database(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, database, built, ln) }()
	t.Cleanup(func() {
		interrupt()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the server ended with %v", err)
		}
	})
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return "http://" + ln.Addr().String(), func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// tab is a page in a browser of its own.
type tab struct {
	*testing.T
	ctx context.Context
}

// open opens a page where a script has run first.
func open(t *testing.T, url, script string) *tab {
	t.Helper()
	ctx := chromium.Start(t)
	if _, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return &tab{t, ctx}
}

// wait waits until a JavaScript expression is true.
func (b *tab) wait(format string, args ...any) {
	b.Helper()
	expression := fmt.Sprintf(format, args...)
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(10*time.Minute))); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
		b.Fatalf("%v: still waiting for %s; the page shows:\n%s", err, expression, text)
	}
}

// waitShown waits until the page shows a text, or no longer does.
func (b *tab) waitShown(text string, shown bool) {
	b.Helper()
	b.wait(`document.body.innerText.includes(%q) === %v`, text, shown)
}

func (b *tab) click(selector string) {
	b.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.Fatalf("click %s: %v", selector, err)
	}
}

const live = `document.querySelector('[data-status]')?.dataset.status === 'open'`

func TestListFollowsItsRows(t *testing.T) {
	url, exec := start(t)
	b := open(t, url, "")
	b.wait(live)
	b.waitShown("Call the roofer", true)
	b.wait(`document.querySelector('nav').innerText.replace(/\s+/g, ' ') === 'House 2 open Garden 1 open'`)

	exec(`update react_tasks.tasks set title = 'Call the plumber' where id = 1`)
	b.waitShown("Call the plumber", true)
	exec(`delete from react_tasks.tasks where id = 2`)
	b.waitShown("Oil the hinges", false)
	exec(`truncate react_tasks.tasks`)
	b.waitShown("Call the plumber", false)
	b.wait(`document.querySelector('nav').innerText.replace(/\s+/g, ' ') === 'House 0 open Garden 0 open'`)

	// The page's own changes come back to it in the same way.
	if err := chromedp.Do(b.ctx, chromedp.SendKeys(chromedp.CSS("[name=title]"), "Fix the gate\r")); err != nil {
		t.Fatal(err)
	}
	b.waitShown("Fix the gate", true)
	b.click("li input")
	b.wait(`document.querySelector('li input').checked`)

	// A project that is shown later: what changed while nobody looked is there.
	b.click("nav button:nth-child(2)")
	b.waitShown("Fix the gate", false)
	b.wait(live)
	exec(`update react_tasks.tasks set title = 'Fix the fence'; insert into react_tasks.tasks (project, title) values (2, 'Sow the peas')`)
	b.waitShown("Sow the peas", true)
	b.click("nav button:nth-child(1)")
	b.waitShown("Fix the fence", true)
}

// A change after the server has read the rows, but before the page has them and before
// its stream is there, which therefore rings once: TanStack Query takes no notice of
// that while it has no data.
func TestChangeDuringTheFirstFetchIsNotMissed(t *testing.T) {
	url, exec := start(t)
	b := open(t, url, `const fetched = window.fetch
		const gates = {}
		const gate = (name) => gates[name] ??= new Promise((resolve) => { window['open_' + name] = resolve })
		window.fetch = async (url, ...args) => {
			if (String(url).includes('/events')) await gate('events')
			const response = await fetched(url, ...args)
			if (String(url).startsWith('/api/')) await gate('api')
			return response
		}`)
	b.wait(`window.open_api !== undefined && window.open_events !== undefined`)
	exec(`update react_tasks.tasks set title = 'Call the plumber' where id = 1`)
	b.wait(`(open_events(), true)`)
	b.wait(live)
	b.wait(`(open_api(), true)`)
	b.waitShown("Call the plumber", true)
}

// The bell rings again for a fetch that failed, though nothing has changed since.
func TestFetchThatFailedIsMadeUpFor(t *testing.T) {
	url, exec := start(t)
	b := open(t, url, `const set = window.setTimeout
		window.setTimeout = (fn, ms, ...args) => set(fn, ms / 20, ...args) // spares the waits between tries
		const fetched = window.fetch
		window.failures = 0
		window.fetch = async (url, ...args) => {
			if (!window.broken || !String(url).startsWith('/api/')) return fetched(url, ...args)
			window.failures++
			throw new TypeError('no network')
		}`)
	b.wait(live)
	b.waitShown("Call the roofer", true)
	b.wait(`(window.broken = true)`)
	exec(`update react_tasks.tasks set title = 'Call the plumber' where id = 1`)
	b.waitShown("no network", true) // the query has tried four times, and given up
	b.wait(`window.failures > 4`)
	b.wait(`(window.broken = false, true)`)
	b.waitShown("Call the plumber", true)
}
