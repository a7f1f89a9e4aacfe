package main

import (
	"context"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

func rowsShow(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.waitLive()
	w.exec(`update board.tasks set title = 'Call <b>two</b> roofers' where id = 1`)
	ann.sees(list(1), "Call <b>two</b> roofers")
	w.exec(`insert into board.tasks (project_id, title, owner) values (2, 'Buy paint', 'ann@example.com')`)
	ann.sees(list(2), "Buy paint")
	ann.sees(summaryText, "You have 2 open tasks")
	w.exec(`update board.tasks set project_id = 3 where title = 'Buy paint'`)
	ann.misses(list(2), "Buy paint")
	ann.sees(list(3), "Buy paint")
	w.exec(`delete from board.tasks where title = 'Buy paint'`)
	ann.misses(list(3), "Buy paint")
	ann.sees(summaryText, "You have 1 open task,")
	w.exec(`truncate board.tasks`) // a reset
	for project := range 3 {
		ann.sees(list(project+1), "Nothing here")
	}
	ann.sees(summaryText, "You have 0 open tasks, 0 done")
	ann.quiet()
}

// record keeps all text that the page shows from now on, until it is left.
const record = `window.everShown = ""; new MutationObserver(() => { window.everShown += document.body.innerText })
	.observe(document.body, {subtree: true, childList: true, characterData: true})`

func ownersShow(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	zoe := w.open(browser, "zo", "") // whose scope is percent-encoded
	ann.js(record)
	ann.waitLive()
	zoe.waitLive()

	// In one statement, and the title with it.
	w.exec(`update board.tasks set owner = 'zoë@example.com', title = 'Renew it in secret' where id = 3`)
	zoe.sees(list(1), "Renew it in secret")
	zoe.sees(summaryText, "You have 2 open tasks, 1 done")
	ann.misses(list(1), "insurance")
	ann.sees(summaryText, "You have 1 open task, 1 done")
	w.exec(`update board.tasks set title = 'Never mind ann' where id = 3`)
	zoe.sees(list(1), "Never mind ann")

	// A member comes and goes.
	w.exec(`update board.tasks set shared_with = '{ann@example.com}', title = 'Renew it together' where id = 3`)
	ann.sees(list(1), "Renew it together")
	w.exec(`update board.tasks set shared_with = '{}', title = 'In secret again' where id = 3`)
	ann.misses(list(1), "Renew it")
	zoe.sees(list(1), "In secret again")
	ann.wait(`!/in secret|Never mind/i.test(everShown) && everShown.includes("Renew it together")`)
	ann.quiet()
	zoe.quiet()
}

func teamsShow(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.waitLive()
	ann.js(record)
	teams := w.open(browser, "ann", "/teams")
	teams.waitLive()
	button := func(team string) { teams.do(chromedp.Click(chromedp.CSS("#team-" + team + " button"))) }

	// What was there comes into sight at once, and what is written from then on.
	button("crew")
	ann.sees(list(2), "Scrub the deck")
	teams.sees("#team-crew", "Ann")
	teams.sees("#team-crew", "Leave")
	w.exec(`update board.tasks set title = 'Scrub it twice' where title = 'Scrub the deck'`)
	ann.sees(list(2), "Scrub it twice")

	// It goes out of sight the same way, and nothing of it is told any more.
	button("crew")
	ann.misses(list(2), "Scrub it")
	w.exec(`update board.tasks set title = 'Scrub it in secret' where title = 'Scrub it twice'`)
	w.exec(`insert into board.tasks (project_id, title, owner) values (2, 'Her own', 'ann@example.com')`)
	ann.sees(list(2), "Her own")
	ann.wait(`!/in secret|roses/i.test(everShown)`)

	// A task moves from team to team.
	button("gardeners")
	ann.sees(list(3), "Water the roses")
	w.exec(`update board.tasks set team = 'crew' where title = 'Water the roses'`)
	ann.misses(list(3), "Water the roses")
	w.exec(`update board.tasks set team = 'gardeners' where title = 'Water the roses'`)
	ann.sees(list(3), "Water the roses")
	w.exec(`truncate board.members`)
	ann.misses(list(3), "Water the roses")
	teams.misses("#team-crew", "Bob")
	ann.quiet()
	teams.quiet()
}

func ownWritesShow(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	bob := w.open(browser, "bob", "/tasks/1")
	ann.waitLive()
	bob.waitLive()
	ann.do(chromedp.SendKeys(chromedp.CSS(`form[hx-post="/projects/2/tasks"] input`), "By hand\r"))
	ann.sees(list(2), "By hand")
	ann.wait(`document.querySelector('form[hx-post="/projects/2/tasks"] input').value === ""`)
	ann.do(chromedp.Click(chromedp.ID("done-1")))
	ann.wait(`document.querySelector("#task-1.done #done-1:checked") !== null`)
	ann.wait(`document.activeElement.id === "done-1"`) // the keyboard stays where it was
	bob.sees("dl", "done")

	bob.do(chromedp.SendKeys(chromedp.CSS(`form[hx-post$="/title"] input`), "Call Mr Tyler\r"))
	bob.sees("h1", "Call Mr Tyler")
	bob.do(chromedp.Click(chromedp.CSS(`button[name=project][value="3"]`)))
	ann.sees(list(3), "Call Mr Tyler")
	bob.do(chromedp.Click(chromedp.CSS(`button[name=owner][value^=bob]`)))
	bob.sees("dd:nth-of-type(2)", "Bob") // the owner, before what depends on it
	bob.do(chromedp.Click(chromedp.CSS(`button[name=member][value^=zo]`)))
	bob.sees("dl", "Zoë")
	ann.misses(list(3), "Call Mr Tyler")
	bob.do(chromedp.Click(chromedp.CSS(`form[hx-post$="/delete"] button`)))
	bob.sees("h1", "No such task")
	ann.quiet()
	bob.quiet()
}

func newProjectShows(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.waitLive()
	w.exec(`insert into board.projects (id, name) values (7, 'Attic')`)
	ann.sees("#live", "Attic")
	w.exec(`insert into board.tasks (project_id, title, owner) values (7, 'Find the skis', 'ann@example.com')`)
	ann.sees(list(7), "Find the skis")
	ann.sees(summaryText, "You have 2 open tasks")
	w.waitOpen("/events", 1) // the former stream has ended
	ann.quiet()
}

func backIsFresh(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.do(chromedp.Click(chromedp.CSS("#task-1 a")))
	ann.sees("h1", "Call the roofer")
	ann.wait(`location.pathname === "/%s/tasks/1"`, w.htmx)
	ann.waitLive()
	w.waitOpen("/events", 1)
	w.exec(`update board.tasks set title = 'Call a plumber' where id = 1`)
	ann.sees("h1", "Call a plumber")
	w.exec(`update board.tasks set title = 'Prune the old pear' where id = 6`) // nothing on this page
	ann.js(`history.back()`)
	ann.sees(list(1), "Call a plumber")
	ann.sees(list(3), "Prune the old pear")
	w.exec(`update board.tasks set title = 'Prune the new pear' where id = 6`)
	ann.sees(list(3), "Prune the new pear")
	w.waitOpen("/events", 1)
	ann.quiet()

	// Without htmx, by a link to elsewhere.
	ann.goTo("/tasks/6")
	w.exec(`update board.tasks set title = 'Prune nothing' where id = 6`)
	ann.do(chromedp.NavigateBack())
	ann.sees(list(3), "Prune nothing")

	// Out of the browser's back/forward cache.
	w.front.breakWith(none, "/")
	ann.js(`dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true}))`)
	w.waitAsked("/"+w.htmx+"/", 1)
}

func endShows(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.waitLive()
	ann.js(`fetch("/logout", {method: "POST", redirect: "manual"})`) // as in another tab
	ann.sees(".notice", "no longer told of changes")
	ann.wait(`document.getElementById("live") === null`)
	w.waitOpen("/events", 0)
	ann.wait(`getComputedStyle(document.querySelector(".stream"), "::before").content.includes("ended")`)
	ann.quiet()
	ann.do(chromedp.Click(chromedp.CSS(".notice a")), chromedp.WaitReady(chromedp.CSS(".login")))
}

func endWithoutTextShows(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.waitLive()
	ann.js(`document.getElementById("ended").remove()`)
	ann.js(`fetch("/logout", {method: "POST", redirect: "manual"})`)
	ann.sees("body", "No longer live")
	ann.misses("body", "Call the roofer")
	ann.quiet()
}

func goneTaskShows(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "/tasks/1")
	ann.waitLive()
	const shown = `document.querySelector(".edit").checkVisibility()`
	ann.wait(shown)
	w.exec(`update board.tasks set owner = 'bob@example.com' where id = 1`)
	ann.sees("h1", "No such task")
	ann.wait("!" + shown)
	w.exec(`update board.tasks set owner = 'ann@example.com' where id = 1`)
	ann.sees("h1", "Call the roofer")
	ann.wait(shown)
	ann.goTo("/tasks/2") // never hers
	ann.sees("h1", "No such task")
	ann.wait("!" + shown)
	ann.quiet()
}

// A session that ends without a word is noticed at the next change.
func lostSessionShows(w *world, browser context.Context) {
	ann := w.open(browser, "ann", "")
	ann.waitLive()
	if _, err := chromedp.Call(ann.ctx, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
		w.Fatal(err)
	}
	w.exec(`update board.tasks set title = 'Not for you' where id = 1`)
	ann.do(chromedp.WaitReady(chromedp.CSS(".login")))
}
