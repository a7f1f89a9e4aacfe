package main

import (
	"context"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

func changeBeforeStreamShows(w *world, browser context.Context) {
	w.front.breakWith(hold, "/events")
	ann := w.open(browser, "ann", "")
	w.waitAsked("/events", 1)
	ann.js(`document.getElementById("live").dispatchEvent(new CustomEvent("every"))`) // three seconds have passed
	w.exec(`delete from board.tasks where id = 7`)
	w.execAndHear(`update board.tasks set title = 'Call before the stream' where id = 1`, "project:1")
	w.front.heal()
	ann.sees(list(1), "Call before the stream")
	ann.misses(list(3), "Sow the beans")
	if n := w.front.asks("/events"); n != 1 {
		w.Errorf("the page asked for %d streams, want 1", n)
	}
	ann.quiet()
}

func restartLosesNothing(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.waitLive()
	w.front.breakWith(hangUp, "/")
	w.stop()
	w.exec(`update board.tasks set title = 'Call meanwhile' where id = 1`)
	w.start()
	w.front.heal()
	ann.sees(list(1), "Call meanwhile")
	ann.stillLive()
}

func cutLosesNothing(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.waitLive()
	w.front.breakWith(hangUp, "/")
	w.front.CloseClientConnections()
	w.exec(`update board.tasks set title = 'Call meanwhile' where id = 1`)
	w.waitAsked("/events", 1)
	w.front.heal()
	ann.sees(list(1), "Call meanwhile")
	ann.stillLive()
}

func badGatewayLosesNothing(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.waitLive()
	w.front.breakWith(badGateway, "/")
	w.front.CloseClientConnections()
	w.exec(`update board.tasks set title = 'Call meanwhile' where id = 1`)
	w.waitAsked("/events", 2)
	w.front.heal()
	ann.sees(list(1), "Call meanwhile")
	ann.stillLive()
}

func firstBadGatewayLosesNothing(w *world, browser context.Context) {
	w.front.breakWith(badGateway, "/events")
	ann := w.open(browser, "ann", "")
	w.waitAsked("/events", 1)
	w.exec(`update board.tasks set title = 'Call meanwhile' where id = 1`)
	w.front.heal()
	ann.sees(list(1), "Call meanwhile")
	ann.stillLive()
}

func failedRefreshIsRepeated(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.waitLive()
	ann.js(record)
	path := "/" + w.htmx + "/projects/1/tasks"
	for _, what := range []fault{badGateway, hangUp} {
		w.front.breakWith(what, path)
		w.exec(`update board.tasks set title = title || ' now' where id = 1`)
		w.waitAsked(path, 2)
		w.front.heal()
		ann.sees(list(1), "Call the roofer now")
	}
	ann.sees(list(1), "Call the roofer now now")
	ann.wait(`!everShown.includes("Bad Gateway")`)
}

func failedWriteShows(w *world, browser context.Context) {
	w.front.breakWith(hold, "/events") // so that the page keeps what is gone
	ann := w.open(browser, "ann", "/tasks/3")
	w.exec(`delete from board.tasks where id = 3`)
	const input = `form[hx-post$="/title"] input`
	ann.do(chromedp.SendKeys(chromedp.CSS(input), "Renew it\r"))
	ann.sees(".problem", "gone, or no longer yours")
	w.front.heal()

	ann.goTo("/")
	ann.waitLive()
	for what, text := range map[fault]string{badGateway: "answered 502", hangUp: "no answer"} {
		w.front.breakWith(what, "/tasks/1/done")
		ann.do(chromedp.Click(chromedp.ID("done-1")))
		ann.sees(".problem", text)
		ann.wait(`!document.getElementById("done-1").checked`)
	}
	w.front.heal()
	ann.do(chromedp.Click(chromedp.ID("done-1")))
	ann.wait(`document.querySelector("#task-1.done #done-1:checked") !== null`)
	ann.wait(`!document.querySelector(".problem").checkVisibility()`)
}

// hiddenLosesNothing minimizes the window, which hides the page as another tab
// in front of it does. htmx 4 ends its stream then.
func hiddenLosesNothing(w *world, parent context.Context) {
	ann := w.open(parent, "ann", "")
	ann.waitLive()
	window, err := chromedp.Call(ann.ctx, browser.GetWindowForTarget, browser.GetWindowForTargetParams{})
	if err != nil {
		w.Fatal(err)
	}
	set := func(state browser.WindowState, visibility string) {
		w.Helper()
		if _, err := chromedp.Call(ann.ctx, browser.SetWindowBounds, browser.SetWindowBoundsParams{
			WindowID: window.WindowID, Bounds: &browser.Bounds{WindowState: state},
		}); err != nil {
			w.Fatal(err)
		}
		ann.wait(`document.visibilityState === %q`, visibility)
	}
	freeze := func(state page.SetWebLifecycleStateState) {
		w.Helper()
		if _, err := chromedp.Call(ann.ctx, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state}); err != nil {
			w.Fatal(err)
		}
	}
	for _, title := range []string{"Call once", "Call twice", "Call out of the ice"} {
		set(browser.WindowStateMinimized, "hidden")
		if w.htmx == "htmx4" {
			w.waitOpen("/events", 0)
		}
		frozen := title == "Call out of the ice" // as browsers do to save power
		if frozen {
			freeze(page.SetWebLifecycleStateStateFrozen)
		}
		w.exec(`update board.tasks set title = $1 where id = 1`, title)
		if frozen {
			freeze(page.SetWebLifecycleStateStateActive)
		}
		set(browser.WindowStateNormal, "visible")
		ann.sees(list(1), title)
	}
	ann.stillLive()
	ann.quiet()
}
