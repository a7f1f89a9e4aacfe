// What htmx leaves to the page. It serves htmx 2 and htmx 4, whose events have different names.
const on = (names, listener) => names.split(' ').forEach((name) => document.addEventListener(name, listener))

// An event comes once. If the request that it asked for fails, ask again.
const failures = 'htmx:responseError htmx:sendError htmx:timeout htmx:response:error htmx:error'
on(failures, ({target}) => {
  if (!(target instanceof Element) || !target.matches('[hx-trigger~=refresh]')) return
  setTimeout(() => htmx.trigger(target, 'refresh'), 500 + 1000 * Math.random())
})

// The server has ended the stream for good: what the page shows can't be kept true any longer.
const forGood = (detail) => (detail.type ?? detail.reason) === 'message'
on('htmx:sseClose htmx:sse:close', ({target, detail}) => {
  if (!forGood(detail)) return
  target.replaceWith(document.getElementById('ended')?.content.cloneNode(true) ?? 'No longer live: reload.')
})

// A page out of the back/forward cache is as old as when it was left.
addEventListener('pageshow', ({persisted}) => { if (persisted) location.reload() })

// For people: is the stream there? A screen that says so is never needed for the rest to work.
const shown = (state) => { document.documentElement.dataset.stream = state }
on('htmx:sseOpen htmx:sse:after:connection', () => shown('live'))
on('htmx:sseError htmx:sse:before:connection', () => shown('connecting'))
on('htmx:sseClose htmx:sse:close', ({detail}) => shown(forGood(detail) ? 'ended' : 'connecting'))
shown('connecting')

// A change that failed says so, until one succeeds. A checkbox goes back to what the list was sent with.
const statusOf = (detail) => (detail.xhr ?? detail.ctx?.response)?.status
const problem = (text) => document.querySelector('.problem')?.replaceChildren(text)
on(failures, ({target, detail}) => {
  if (!target.matches?.('[hx-post]')) return
  const status = statusOf(detail)
  const why = status === 404 ? 'it is gone, or no longer yours' : status ? `the server answered ${status}` : 'no answer'
  problem(`That was not done: ${why}.`)
  if (target.type === 'checkbox') target.checked = target.defaultChecked
})

// A form whose text was taken is empty again.
on('htmx:afterRequest htmx:after:request', ({target, detail}) => {
  if (statusOf(detail) !== 204) return
  problem('')
  if (target.matches?.('form[data-clear]')) target.reset()
})
