package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/chromedp"
)

// tab is a page that somebody looks at, with cookies of its own.
type tab struct {
	*world
	ctx context.Context

	mu      sync.Mutex
	console []string
}

// open has somebody sign in, and open a page of the board.
func (w *world) open(browser context.Context, user, path string) *tab {
	w.Helper()
	ctx, stop := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	b := &tab{world: w, ctx: ctx}
	w.Cleanup(stop)
	b.do(chromedp.Navigate(w.front.URL + "/" + w.htmx + "/"))
	b.do(chromedp.Click(chromedp.CSS(fmt.Sprintf(`.login [value^=%q]`, user))), chromedp.WaitReady(chromedp.ID("live")))
	console, read := chromedp.Console(ctx), make(chan struct{})
	go func() {
		defer close(read)
		for m, err := range console {
			if err != nil {
				return // the tab is closed
			}
			b.mu.Lock()
			b.console = append(b.console, fmt.Sprintf("%s: %s", m.Type, m.Text))
			b.mu.Unlock()
		}
	}()
	w.Cleanup(func() {
		stop()
		<-read
		if w.Failed() {
			w.Logf("%s's console:\n%s", user, strings.Join(b.console, "\n"))
		}
	})
	if path != "" {
		b.goTo(path)
	}
	return b
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

func (b *tab) goTo(path string) {
	b.Helper()
	b.do(chromedp.Navigate(b.front.URL + "/" + b.htmx + path))
}

// js runs JavaScript.
func (b *tab) js(format string, args ...any) {
	b.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[any](fmt.Sprintf(format, args...))); err != nil {
		b.Fatal(err)
	}
}

// wait waits until a JavaScript expression is true.
func (b *tab) wait(format string, args ...any) {
	b.Helper()
	expression := fmt.Sprintf(format, args...)
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(10*time.Minute), chromedp.WithPollingInterval(50*time.Millisecond))); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.pathname + "\n" + document.body.innerText`))
		b.Fatalf("%v: still waiting for %s; the page shows:\n%s", err, expression, text)
	}
}

// waitLive waits until the stream has begun.
func (b *tab) waitLive() {
	b.Helper()
	b.wait(`document.documentElement.dataset.stream === "live"`)
}

// sees waits until an element shows a text.
func (b *tab) sees(selector, text string) {
	b.Helper()
	b.wait(`document.querySelector(%q)?.innerText.includes(%q) === true`, selector, text)
}

// misses waits until an element no longer shows a text.
func (b *tab) misses(selector, text string) {
	b.Helper()
	b.wait(`document.querySelector(%q)?.innerText.includes(%q) === false`, selector, text)
}

// list is the list of a project.
func list(project int) string { return fmt.Sprintf(`ul[hx-get$="/projects/%d/tasks"]`, project) }

const summaryText = ".summary"

// stillLive checks that changes go on to show.
func (b *tab) stillLive() {
	b.Helper()
	b.exec(`insert into board.tasks (project_id, title, owner) values (2, 'Still live', 'ann@example.com')`)
	b.sees(list(2), "Still live")
}

// quiet checks that the browser had nothing to complain about.
func (b *tab) quiet() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.console) > 0 {
		b.Errorf("the console has:\n%s", strings.Join(b.console, "\n"))
	}
}
