package js_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// tab is a tab with the page, where a connection is.
type tab struct {
	*world
	name string
	ctx  context.Context
}

// open opens a tab and connects in it, with options in JavaScript.
func (w *world) open(browser context.Context, name, options string, scopes ...string) *tab {
	w.Helper()
	ctx, stop := chromedp.NewContext(browser)
	w.Cleanup(stop)
	b := &tab{w, name, ctx}
	w.Cleanup(func() {
		if !w.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		state, err := chromedp.Run(ctx, chromedp.Evaluate[string](`bell.status + ' ' + bell.reason + '; heard: ' + heard.join(', ')`))
		w.Logf("%s is %s (%v)", name, state, err)
	})
	if err := chromedp.Do(ctx, chromedp.Navigate(w.URL)); err != nil {
		w.Fatal(err)
	}
	b.wait(`window.start !== undefined`)
	script := "start(" + options + ")" // and at once the listeners, as a page's script does
	for _, scope := range scopes {
		script += fmt.Sprintf("; void listen(%q)", scope)
	}
	b.js("%s", script)
	return b
}

// js runs a statement.
func (b *tab) js(format string, args ...any) {
	b.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(format, args...))); err != nil {
		b.Fatalf("%s: %s: %v", b.name, fmt.Sprintf(format, args...), err)
	}
}

// wait waits until an expression is true. It is asked for from here, since a page that
// was frozen draws no frames, by which Poll goes.
func (b *tab) wait(format string, args ...any) {
	b.Helper()
	expression := fmt.Sprintf(format, args...)
	b.waitFor(b.name+": "+expression, func() bool { return b.is(expression) })
}

// is says whether an expression is true.
func (b *tab) is(expression string) bool {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Minute)
	defer cancel()
	isTrue, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
	if err != nil {
		b.Fatalf("%s: %s: %v", b.name, expression, err)
	}
	return isTrue
}

// waitHeard waits until a listener was called with an event.
func (b *tab) waitHeard(event string) {
	b.Helper()
	b.wait(`heard.includes(%q)`, event)
}

// heard is what the listeners were called with.
func (b *tab) heard() []string {
	b.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`heard.join('\n')`))
	if err != nil {
		b.Fatalf("%s: %v", b.name, err)
	}
	return strings.Split(text, "\n")
}

// wantAll checks that after its first reset a listener heard of just these, each at
// least once and in order.
func (b *tab) wantAll(scope string, ids []int) {
	b.Helper()
	want := []string{scope + " reset joined"}
	for _, id := range ids {
		want = append(want, fmt.Sprintf("%s insert %d", scope, id))
	}
	var got []string
	for _, event := range b.heard() {
		if !slices.Contains(got, event) {
			got = append(got, event)
		}
	}
	if !slices.Equal(got, want) {
		b.Errorf("%s heard %q, want %q", b.name, got, want)
	}
}

// shut closes the tab as a user does.
func (b *tab) shut() {
	b.Helper()
	if err := chromedp.Cancel(b.ctx); err != nil {
		b.Fatal(err)
	}
}

// crash ends the tab's process.
func (b *tab) crash() {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Second)
	defer cancel()
	_, _ = chromedp.Call(ctx, page.Crash, cdp.Empty{}) // never answers
}

// lifecycle freezes the page, or has it go on.
func (b *tab) lifecycle(state page.SetWebLifecycleStateState) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state}); err != nil {
		b.Fatal(err)
	}
}
