package js_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/pgbell/pgbell/internal/chromium"
)

const alice = `{key: 'alice'}`

func TestTabsShareOneStream(t *testing.T) {
	t.Parallel()
	w, browser := newWorld(t), chromium.Start(t)
	one := w.open(browser, "one", alice, "project:7")
	one.waitHeard("project:7 reset joined")
	two := w.open(browser, "two", alice, "project:7", "project:8")
	two.waitHeard("project:7 reset joined")
	two.waitHeard("project:8 reset joined")
	other := w.open(browser, "another user's", `{key: 'bob'}`, "project:7")
	other.waitHeard("project:7 reset joined")
	w.waitFor("two streams", func() bool { return w.streams() == 2 })

	seven, eight := w.insert(7), w.insert(8)
	for _, b := range []*tab{one, two, other} {
		b.waitHeard(fmt.Sprintf("project:7 insert %d", seven))
	}
	two.waitHeard(fmt.Sprintf("project:8 insert %d", eight))
	one.wantAll("project:7", []int{seven})

	// A scope that is added at run time, in a tab that follows.
	two.js("void listen('project:9')")
	two.waitHeard("project:9 reset joined")
	nine := w.insert(9)
	two.waitHeard(fmt.Sprintf("project:9 insert %d", nine))
	w.waitFor("two streams", func() bool { return w.streams() == 2 })

	// A key that no number of JavaScript can hold is the same in each tab.
	if _, err := w.sql.Exec(t.Context(), "insert into tasks overriding system value values (9007199254740993, 7)"); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*tab{one, two} {
		b.waitHeard("project:7 insert 9007199254740993")
	}

	// What may not be heard closes the tab that asks for it, and none else.
	two.js("void listen('project:13')")
	two.wait(`bell.status === 'closed' && bell.reason.includes('project:13')`)
	seven = w.insert(7)
	one.waitHeard(fmt.Sprintf("project:7 insert %d", seven))
	one.wait(`bell.status === 'open'`)
}

// Tabs show the rows of a live query from one stream: the first, one that joins, and both after a
// break; and the one that is left.
func TestTabsShareTheRowsOfALiveQuery(t *testing.T) {
	t.Parallel()
	w, browser := newWorld(t), chromium.Start(t)
	var ids []string
	insert := func() { ids = append(ids, fmt.Sprint(w.insert(7))) }
	shown := func(tabs ...*tab) {
		t.Helper()
		for _, b := range tabs {
			b.wait(`window.rows === %q`, strings.Join(ids, ","))
		}
	}
	insert()
	one := w.open(browser, "one", alice)
	one.js("void show(7)")
	shown(one)
	two := w.open(browser, "two", alice)
	two.js("void show(7)")
	shown(two)
	insert()
	shown(one, two)
	if w.streams() != 1 {
		t.Errorf("%d streams", w.streams())
	}
	w.stop()
	insert()
	w.start()
	shown(one, two)
	if _, err := w.sql.Exec(t.Context(), "insert into tasks overriding system value values (9007199254740993, 7), (9007199254740995, 7)"); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, "9007199254740993", "9007199254740995")
	shown(one, two)
	one.shut()
	if _, err := w.sql.Exec(t.Context(), "delete from tasks where id = 9007199254740993"); err != nil {
		t.Fatal(err)
	}
	ids = slices.Delete(ids, 3, 4)
	shown(two)
	w.waitFor("one stream", func() bool { return w.streams() == 1 })
}

// While changes go on, the tab that has the stream ends, in each of three ways.
func TestTabsOutliveTheLeader(t *testing.T) {
	t.Parallel()
	browser := chromium.Start(t)
	for name, end := range map[string]func(*tab){
		"closed":    (*tab).shut,
		"crashed":   (*tab).crash,
		"navigated": func(b *tab) { b.js(`location.href = 'about:blank'`) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			one := w.open(browser, "one", alice, "project:7")
			one.waitHeard("project:7 reset joined")
			two := w.open(browser, "two", alice, "project:7")
			two.waitHeard("project:7 reset joined")
			three := w.open(browser, "three", alice, "project:8", "project:7")
			three.waitHeard("project:7 reset joined")
			before := w.requests()

			stop, stopped := make(chan struct{}), make(chan []int)
			go func() {
				var ids []int
				for {
					select {
					case <-stop:
						stopped <- ids
						return
					case <-time.After(2 * time.Millisecond):
						ids = append(ids, w.insert(7))
					}
				}
			}()
			two.wait(`heard.length > 20`)
			end(one)
			w.waitFor("another stream", func() bool { return w.requests() > before })
			two.wait(`bell.status === 'open' && heard.length > 200`)
			close(stop)
			ids := <-stopped
			last := fmt.Sprintf("project:7 insert %d", ids[len(ids)-1])
			two.waitHeard(last)
			three.waitHeard(last)
			two.wantAll("project:7", ids)
			three.js(`heard = heard.filter((e) => e !== 'project:8 reset joined')`)
			three.wantAll("project:7", ids)
			w.waitFor("one stream for all", func() bool { return w.streams() == 1 })
		})
	}
}

// A page that its browser freezes keeps its locks and its connection, and says nothing.
func TestFrozenLeaderIsReplaced(t *testing.T) {
	t.Parallel()
	w, browser := newWorld(t), chromium.Start(t)
	const impatient = alice + `, {quiet: 3000, look: 500}`
	one := w.open(browser, "one", impatient, "project:7")
	one.waitHeard("project:7 reset joined")
	two := w.open(browser, "two", impatient, "project:7")
	two.waitHeard("project:7 reset joined")
	one.lifecycle("frozen")
	ids := []int{w.insert(7)}
	two.waitHeard(fmt.Sprintf("project:7 insert %d", ids[0]))

	// Awake, it follows: it hears what it missed, or is told to fetch.
	one.lifecycle("active")
	w.waitFor("one stream", func() bool { return w.streams() == 1 })
	ids = append(ids, w.insert(7))
	for _, b := range []*tab{one, two} {
		b.waitHeard(fmt.Sprintf("project:7 insert %d", ids[1]))
	}
	two.wantAll("project:7", ids)
	if got := one.heard(); !slices.Contains(got, fmt.Sprintf("project:7 insert %d", ids[0])) && !slices.Contains(got, "project:7 reset missed") {
		t.Errorf("one heard %q: neither what it missed nor that it did", got)
	}
}

func TestBreaksLoseNothing(t *testing.T) {
	t.Parallel()
	browser := chromium.Start(t)
	for name, test := range map[string]struct {
		options string
		tabs    int
	}{
		"one tab":  {`{}`, 1},
		"two tabs": {alice, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var tabs []*tab
			for i := range test.tabs {
				b := w.open(browser, fmt.Sprint("tab ", i+1), test.options, "project:7")
				b.waitHeard("project:7 reset joined")
				tabs = append(tabs, b)
			}
			var ids []int
			heardAll := func() {
				t.Helper()
				for _, b := range tabs {
					b.waitHeard(fmt.Sprintf("project:7 insert %d", ids[len(ids)-1]))
					b.wantAll("project:7", ids)
					b.wait(`bell.status === 'open'`)
				}
			}
			ids = append(ids, w.insert(7))
			heardAll()

			// The connection is cut.
			asked := w.requests()
			w.CloseClientConnections()
			ids = append(ids, w.insert(7))
			w.waitFor("the break is noticed", func() bool { return w.requests() > asked || tabs[0].is(`bell.status === 'waiting'`) })
			tabs[0].js(`dispatchEvent(new Event('online'))`) // spares the wait
			w.waitFor("another try", func() bool { return w.requests() > asked })
			heardAll()

			// pgbell ends, a proxy answers 502 in its place, then there is another pgbell.
			asked = w.requests()
			w.stop()
			ids = append(ids, w.insert(7))
			tabs[0].wait(`bell.status === 'waiting'`)
			for range 2 {
				tabs[0].js(`dispatchEvent(new Event('online'))`)
				w.waitFor("a try that is refused", func() bool { return w.requests() > asked })
				tabs[0].wait(`bell.reason.startsWith('502')`)
				asked = w.requests()
			}
			ids = append(ids, w.insert(7))
			w.start()
			tabs[0].js(`dispatchEvent(new Event('online'))`)
			heardAll()

			// The server ends it for good.
			if _, err := w.sql.Exec(t.Context(), "select pgbell.disconnect('alice')"); err != nil {
				t.Fatal(err)
			}
			for _, b := range tabs {
				b.wait(`bell.status === 'closed' && bell.reason === 'disconnected'`)
			}
			// The last frame is written a moment before.
			w.waitFor("no stream is left after the end", func() bool { return w.streams() == 0 })
		})
	}
}

func TestTokensAreRenewed(t *testing.T) {
	t.Parallel()
	w, browser := newWorld(t), chromium.Start(t)
	b := w.open(browser, "tab", `{token: (renew) => { (window.asked ??= []).push(renew); return String(Date.now() + (asked.length === 2 ? 3000 : asked.length === 1 ? -1000 : 600000)) }}`, "project:7")
	b.waitHeard("project:7 reset joined")
	first := w.insert(7)
	b.wait(`asked.length === 3 && bell.status === 'open'`)
	second := w.insert(7)
	b.waitHeard(fmt.Sprintf("project:7 insert %d", second))
	b.wantAll("project:7", []int{first, second})
	const want = "false,true,true"
	if asked, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`asked.join()`)); err != nil || asked != want {
		t.Errorf("it was asked for tokens with renew %s (%v), want %s", asked, err, want)
	}
	expiring := w.open(browser, "a token that is none", `{token: String(Date.now() + 8000)}`, "project:7")
	expiring.wait(`bell.status === 'closed' && bell.reason === 'expired'`)
}

func TestPageThatKnowsItsCursorIsNotReset(t *testing.T) {
	t.Parallel()
	w, browser := newWorld(t), chromium.Start(t)
	var cursor string
	if err := w.sql.QueryRow(t.Context(), "select pgbell.cursor()").Scan(&cursor); err != nil {
		t.Fatal(err)
	}
	id := w.insert(7) // after the page's query, before its stream
	b := w.open(browser, "tab", fmt.Sprintf(`{scopes: ['project:7'], since: %q}`, cursor), "project:7")
	b.waitHeard(fmt.Sprintf("project:7 insert %d", id))
	if got := b.heard(); len(got) != 1 {
		t.Errorf("heard %q, want the change alone", got)
	}
}

// What the manual shows first is a page as it stands there.
func TestManualsFirstPageFollowsItsRows(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/javascript.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```html\n")
	html, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the manual shows no page")
	}
	w, browser := newWorld(t), chromium.Start(t)
	w.page = html
	if err := chromedp.Do(browser, chromedp.Navigate(w.URL)); err != nil {
		t.Fatal(err)
	}
	b := &tab{w, "the manual's page", browser}
	b.wait(`performance.getEntriesByType('resource').some((e) => e.name.endsWith('/tasks'))`)
	for n := range 3 {
		w.insert(7)
		b.wait(`document.querySelector('#tasks').children.length === %d`, n+1)
	}

	// A fetch that fails is made up for, without another change.
	b.js(`const answer = window.fetch
		window.fetch = async () => {
			window.fetch = answer
			return new Response('Bad Gateway', {status: 502})
		}`)
	w.insert(7)
	b.wait(`document.querySelector('#tasks').children.length === 4`)
}

// A page that is left goes into the back/forward cache, and with it all that was
// heard. It may have no stream, lock or channel there.
func TestPageOutOfTheBackForwardCacheMissesNothing(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]string{"alone": `{}`, "shared": alice} {
		t.Run(name, func(t *testing.T) {
			w, browser := newWorld(t), chromium.Start(t)
			b := w.open(browser, "tab", options, "project:7")
			b.waitHeard("project:7 reset joined")
			b.js(`addEventListener('pageshow', (e) => { window.cached = e.persisted })`)
			ids := []int{w.insert(7)}
			b.waitHeard(fmt.Sprintf("project:7 insert %d", ids[0]))
			b.js(`location.href = '/projects/7/tasks'`)
			b.wait(`location.pathname === '/projects/7/tasks'`)
			w.waitFor("no stream", func() bool { return w.streams() == 0 })
			ids = append(ids, w.insert(7))
			b.js(`history.back()`)
			b.wait(`window.cached === true`)
			b.waitHeard(fmt.Sprintf("project:7 insert %d", ids[1]))
			b.wantAll("project:7", ids)
		})
	}
}
