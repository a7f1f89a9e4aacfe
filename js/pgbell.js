// pgbell.js: hear of changed rows. One ES module, no dependencies.
//
//   const bell = connect('/events', {key: user.id})
//   const off = bell.on('project:7', () => refetch())
//
// What is promised. After on(scope, fn), fn is called for each change of the scope that the
// user may see, at least once, in order; or it is called with {op: 'reset'}, which says "fetch
// again". Also across broken connections, a server that restarts, proxies that answer in its
// place, scopes that come and go, and tabs that are frozen, closed or come back. Only a
// connection whose status is 'closed' has given up, and it says why.
//
// If fn returns a promise, it is not called again until that is settled, so that of two fetches none
// overtakes the other. What came meanwhile comes then, as one event. If it was rejected, fn is called
// again with a reset, after a while or with the next event.
//
// live(name, args, fn) calls fn with the rows of a live query, at first and whenever they are others. Below
// it is a scope like others, whose name no other can have (liveScope), and whose events carry all rows.
//
// Who owns what.
//
//   Stream      one at a time reads the server. It owns the cursor, `last`: all that it covers
//               was handed on. Each opening asks for what follows it (since=), so that closing
//               a stream and opening another, with more scopes say, loses nothing: what the
//               old one had not handed on yet, the new one repeats. Of each live query it has
//               the rows that `last` covers, for a frame may say only what is another of them.
//                   connecting -> open -> waiting -> connecting ... -> closed
//   Connection  has the listeners of one tab. A listener that may have missed something is
//               *owed* a reset, and gets it once a stream carries its scope: from then on all
//               comes, so that what it fetches then can't grow old unnoticed. One of a live query
//               is owed the rows: the leader says them to all when a tab asks, as 'need'.
//   Listener    has one fn, and what fn is yet to be called with, as one event.
//   Leader      the one Connection of all tabs with the same name that holds the lock `name`.
//               It runs a Stream for the scopes of all, and says what it hears on a
//               BroadcastChannel. A tab without others is the leader of nobody else.
//
// Between tabs. All that a leader says is numbered (n, by, seq): its term, who it is, a count.
// Messages have the cursor as it was then (id), so that a tab's place (n, by, seq) and its `last`
// belong together: all that `last` covers, this tab was told up to there. A new leader opens its
// stream at its own `last`, and says from which place it goes on. Who was at that place or further
// misses nothing; who wasn't, or finds a number missing, owes all its listeners a reset.
// 'on' says which scopes a stream carries, before anything else of that stream; a scope that is not
// among them is owed a reset, and asked for.
// A tab that dies lets go of its locks: the next in the queue leads. One that is frozen does not,
// and may even answer, but its stream stands still: each message says for how long (age). Who hears of
// no progress for long asks, and then steals the lock. The old leader, awake again, finds it lost, and
// until then nobody follows it, since its term is the lower one.
// Whatever the tabs can't do together (a scope is refused, too many of them), each does alone.
// What goes wrong beyond that (a message lost, two who take themselves for leaders for a moment) shows
// in the numbers, and costs a reset, never an event.

// Milliseconds. Tests make them shorter.
export const timing = {
  retry: 3000, // the first wait before coming back, until the server names another
  cap: 30_000, // the longest
  again: 1000, // the first wait before a listener that failed is called again
  healthy: 10_000, // a stream that was open for so long starts the back-off anew
  silence: 40_000, // of a stream: the server's heartbeat comes every 15 s
  beat: 5000, // a leader that hears the server says so at most this often
  quiet: 45_000, // of a leader: longer than a stream's silence
  grace: 250, // for which a leader that ends keeps its lock
  look: 5000, // how often the others look, and how long a leader has to answer
}

const maxScopes = 100 // of a stream: the server's default
const maxLives = 20 // the same of live queries
const maxQuery = 7500 // characters of an address that every proxy takes
const reserved = ['open', 'error', 'message', 'ready', 'close']

/** connect returns a connection to the stream at url. */
export function connect(url, options = {}) {
  return new Connection(url, options)
}

/** canonical brings a scope to the form that the server has it in, as scope.Canonical does. */
export function canonical(scope) {
  const text = String(scope).replace(/%[0-9A-Fa-f]{2}|[^A-Za-z0-9_.:@/+=~-]/gu, (c) =>
    c.length === 3 && c[0] === '%' ? c.toUpperCase()
      : [...new TextEncoder().encode(c)].map((b) => '%' + b.toString(16).toUpperCase().padStart(2, '0')).join(''))
  if (text === '' || text.length > 256 || reserved.includes(text)) {
    throw new TypeError(`pgbell: ${JSON.stringify(scope)} is not a scope: it is empty, reserved, or longer than 256 bytes`)
  }
  return text
}

const livePrefix = 'live ' // no scope has a space
const isLive = (scope) => scope.startsWith(livePrefix)
const failed = 'the listener failed' // the reason of a reset

// liveScope is what stands for a live query among scopes: the prefix, and the query as
// the server writes it, the arguments by name.
function liveScope(name, args) {
  const escape = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase())
  const points = (text) => Array.from(text, (c) => c.codePointAt(0).toString(16).padStart(6, '0')).join('')
  const all = Object.entries(args).sort(([a], [b]) => (points(a) < points(b) ? -1 : 1)).map(([key, value]) => {
    if (!['string', 'number', 'bigint', 'boolean'].includes(typeof value)) throw new TypeError(`pgbell: argument ${key} of ${name} is no text, number or boolean`)
    return `${escape(key)}=${escape(String(value))}`
  })
  const query = escape(name) + (all.length > 0 ? '?' : '') + all.join('&')
  if (!name || query.length > 1024) throw new TypeError('pgbell: a live query has a name, and at most 1024 bytes')
  return livePrefix + query
}

/** Parser reads an event stream (WHATWG HTML, 9.2.6), in whatever pieces it comes. */
export class Parser {
  #decoder = new TextDecoder() // drops one leading byte order mark
  #line = ''
  #cr = false // the last piece ended with CR: an LF belongs to it
  #type = ''
  #data = null
  #id = ''

  /** onframe gets {type, data, id} for each blank line, data null without a data line; onretry milliseconds. */
  constructor(onframe, onretry) {
    this.onframe = onframe
    this.onretry = onretry
  }

  push(bytes) {
    let text = this.#decoder.decode(bytes, {stream: true})
    if (text === '') return
    if (this.#cr && text[0] === '\n') text = text.slice(1)
    this.#cr = text === '' ? false : text.endsWith('\r')
    const lines = text.split(/\r\n|\r|\n/)
    lines[0] = this.#line + lines[0]
    this.#line = lines.pop()
    for (const line of lines) this.#read(line)
  }

  #read(line) {
    if (line === '') {
      const frame = {type: this.#type || 'message', data: this.#data, id: this.#id}
      this.#type = ''
      this.#data = null
      this.onframe(frame)
      return
    }
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'event') this.#type = value
    else if (name === 'data') this.#data = this.#data === null ? value : this.#data + '\n' + value
    else if (name === 'id' && !value.includes('\0')) this.#id = value
    else if (name === 'retry' && /^[0-9]+$/.test(value)) this.onretry(Number(value))
  }
}

/** Stream keeps one stream open and comes back to it until it is stopped or refused. */
class Stream {
  asked = new Set() // scopes of the present try
  #results = new Map() // of live queries, what `last` covers: {event, key} with the event that tells it
  open = false
  #host // the Connection's side: see #hosting
  #options
  #abort
  #wake = null // ends a wait
  #stopped = false
  #tries = 0
  #retry = timing.retry
  #again = false // the last token was not good any more
  heard = 0 // when there last was a byte, or will be a try

  constructor(host, url, options, last) {
    this.#host = host
    this.url = url
    this.#options = options
    this.last = last
  }

  async run() {
    while (!this.#stopped) {
      const wait = await this.#try()
      this.open = false
      if (wait > 0 && !this.#stopped && !(wait === Infinity && this.#host.scopes().length > 0)) {
        await new Promise((resolve) => {
          const timer = wait < Infinity && setTimeout(resolve, wait)
          this.#wake = () => resolve(clearTimeout(timer))
        })
        this.#wake = null
      }
    }
  }

  stop() {
    this.#stopped = true
    this.hurry()
    this.#abort?.abort()
  }

  /** hurry ends a wait. */
  hurry() {
    this.#wake?.()
  }

  /** ask has the stream carry all of scopes; one that waits will by itself. */
  ask(scopes) {
    if (this.asked.size === 0) this.hurry()
    else if (scopes.some((s) => !this.asked.has(s)) && this.#wake === null) {
      this.open = false
      this.#abort?.abort()
    }
  }

  /** check cuts a stream that has been silent for too long. */
  check() {
    if (this.#wake === null && Date.now() - this.heard >= timing.silence) this.#abort?.abort('silent')
  }

  /** result is the event that tells a live query's rows, or that there are none; undefined if it is yet to come. */
  result(scope) {
    return this.#results.get(scope)?.event
  }

  // Notes what a frame says of a live query, and returns the event that says it without the one before.
  #tell(scope, {op, reason, key, rows, ...delta}) {
    if (op === 'delta') {
      const before = this.#results.get(scope)
      this.#results.delete(scope) // if the rest fails, all rows are asked for
      key = before.key
      rows = apply(before.event.rows, key, delta)
    }
    const event = {scope, op: rows ? 'rows' : 'reset', reason, rows, mark: Math.random()}
    this.#results.set(scope, {event, key})
    return event
  }

  // Returns after how long to come back.
  async #try() {
    const {signal} = (this.#abort = new AbortController())
    await this.#host.prepare()
    if (signal.aborted) return 0
    const scopes = this.#host.scopes() // and at once `asked`, so that no scope falls in between
    this.asked = new Set(scopes)
    for (const scope of this.#results.keys()) if (!this.asked.has(scope)) this.#results.delete(scope)
    if (this.#stopped) return 0
    if (scopes.length === 0) {
      this.last = null // nobody relies on it, and it grows old
      this.heard = Infinity
      this.#host.state('waiting', 'no scope is asked for')
      return Infinity
    }
    this.heard = Date.now()
    this.#host.state('connecting', '')
    const watchdog = setInterval(() => this.check(), timing.silence / 8)
    try {
      return await this.#read(signal, scopes)
    } catch (error) {
      if (signal.aborted && signal.reason !== 'silent') return 0
      return this.#later(signal.aborted ? 'nothing was heard for too long' : `no connection: ${error?.message ?? error}`)
    } finally {
      clearInterval(watchdog)
      this.#abort.abort() // whatever is left of the answer
    }
  }

  async #read(signal, scopes) {
    const {token, credentials, origin, coalesce, spread} = this.#options
    const headers = new Headers(await this.#given(this.#options.headers, signal))
    headers.set('Accept', 'text/event-stream')
    if (token) headers.set('Authorization', 'Bearer ' + (await this.#given(token, signal, this.#again)))
    const since = this.last
    const url = new URL(this.url)
    for (const [name, value] of Object.entries({since, origin, coalesce, spread})) {
      if (value) url.searchParams.set(name, typeof value === 'number' ? value + 'ms' : value)
    }
    for (const scope of scopes) {
      if (!isLive(scope)) url.searchParams.append('scope', scope)
      else {
        url.searchParams.set('rows', 'delta')
        url.searchParams.append('live', scope.slice(livePrefix.length))
        if (since && this.result(scope)?.op !== 'rows') url.searchParams.append('whole', scope.slice(livePrefix.length))
      }
    }
    const response = await fetch(url, {headers, signal, cache: 'no-store', credentials: credentials ?? 'same-origin'})
    if (response.status !== 200) return await this.#refusal(response, since, signal)
    if (!/^text\/event-stream\b/i.test(response.headers.get('Content-Type') ?? '')) {
      return this.#later('the answer is not a stream: a login page or a proxy’s, perhaps')
    }
    let began = 0
    let closed = null
    const parser = new Parser((frame) => {
      if (signal.aborted) return // what follows comes again
      if (frame.id !== '') this.last = frame.id
      if (frame.data === null) return
      const data = json(frame.data)
      if (frame.type === 'ready') {
        began = Date.now()
        this.open = true
        this.#again = false
        this.#host.ready(data?.scopes ? [...data.scopes, ...(data.live ?? []).map((query) => livePrefix + query)] : scopes, since ? '' : 'there was no cursor to resume from')
      } else if (frame.type === 'close') closed = String(data?.reason)
      else if (data?.live && frame.type === 'live:' + data.live) this.#host.event(this.#tell(livePrefix + data.live, data))
      else this.#host.event(data?.scope === frame.type ? data : {scope: frame.type, op: 'reset', reason: 'the event can’t be read'})
    }, (ms) => (this.#retry = Math.min(ms, timing.cap)))
    const reader = response.body.getReader()
    while (closed === null) {
      const {done, value} = await reader.read()
      if (signal.aborted) throw signal.reason
      if (done) break
      this.heard = Date.now()
      if (began && this.heard - began >= timing.healthy) this.#tries = 0
      parser.push(value)
      this.#host.heard()
    }
    if (closed === null) return this.#later('the stream ended')
    if (closed === 'expired' && typeof token === 'function') {
      this.#again = true
      return this.#tries++ === 0 ? 0 : this.#later('the token expired')
    }
    this.#host.refused(closed, closed === 'no longer allowed')
    return 0
  }

  // What an option says: itself, or what the function that it is returns.
  #given(option, signal, ...args) {
    return typeof option === 'function' ? abortable(option(...args), signal) : option
  }

  async #refusal(response, since, signal) {
    const {status} = response
    const isProblem = /^application\/problem\+json\b/i.test(response.headers.get('Content-Type') ?? '')
    const problem = (isProblem && json(await response.text())) || {}
    if (signal.aborted) throw signal.reason
    const reason = `${status}: ${problem.detail ?? response.statusText}`
    if (status === 400 && problem.type === 'urn:pgbell:problem:bad-cursor' && since) {
      this.last = null
      return 0
    }
    if (status === 401 && typeof this.#options.token === 'function' && !this.#again) {
      this.#again = true
      return 0
    }
    if (status === 400 || status === 403) {
      this.#host.refused(reason, true)
      return 0
    }
    return this.#later(reason, response.headers.get('Retry-After'))
  }

  #later(reason, retryAfter) {
    const seconds = /^\d+$/.test(retryAfter ?? '') ? Number(retryAfter) : (Date.parse(retryAfter) - Date.now()) / 1000 || 0
    const wait = Math.max(backOff(this.#retry, this.#tries++), Math.min(seconds, 300) * 1000 * (1 + Math.random() / 2))
    this.heard = Date.now() + wait
    if (!this.#stopped) this.#host.state('waiting', reason)
    return wait
  }
}

// apply returns rows as a difference made them: without those of the keys in gone, with those of set in the
// place of others of their key, or at the end; in order, if that says all keys anew.
function apply(rows, key, {set = [], gone = [], order}) {
  const columns = key ?? []
  const keyOf = (row) => JSON.stringify(columns.length === 0 ? row : columns.length === 1 ? row[columns[0]] : columns.map((c) => row[c]))
  const all = new Map(rows.map((row) => [keyOf(row), row]))
  for (const k of gone) all.delete(JSON.stringify(k))
  for (const row of set) all.set(keyOf(row), row)
  return order ? order.map((k) => all.get(JSON.stringify(k))) : [...all.values()]
}

/** Listener calls fn with what it is told: at once, or when the promise of the call before is settled. */
export class Listener {
  owed // why a reset is due, or null
  #scope
  #fn
  #mark // of the last event of a live query, which may be said again
  #due = null // the event that stands for all that fn is yet to be called with
  #busy = false // a promise of fn is not settled
  #failures = 0 // in a row
  #timer
  #ended = false

  constructor(scope, fn, owed) {
    this.#scope = scope
    this.#fn = fn
    this.owed = owed
  }

  tell(event) {
    if (this.#ended || (event.mark && event.mark === this.#mark)) return
    this.#mark = event.mark
    this.#due = this.#due === null ? event : merge(this.#due, event)
    if (!this.#busy) this.#call()
  }

  /** end has fn never called again. */
  end() {
    this.#ended = true
    clearTimeout(this.#timer)
  }

  #call() {
    clearTimeout(this.#timer)
    const event = this.#due
    this.#due = null
    const result = call(this.#fn, event)
    if (typeof result?.then !== 'function') return
    this.#busy = true
    Promise.resolve(result).then(() => this.#settle(0), (error) => {
      report(error)
      this.#settle(this.#failures + 1)
    })
  }

  #settle(failures) {
    if (this.#ended) return
    this.#busy = false
    this.#failures = failures
    const more = this.#due !== null
    // A reset also for what came meanwhile: that alone would not make up for what failed, but for all rows.
    if (failures > 0 && !(more && isLive(this.#scope))) this.#due = {scope: this.#scope, op: 'reset', reason: failed}
    if (more) this.#call()
    else if (failures > 0) this.#timer = setTimeout(() => this.#call(), backOff(timing.again, failures - 1))
  }
}

/** Connection is what connect returns: the listeners of one tab. */
class Connection {
  onstatus = null // is called with (status, reason) when they change
  status = 'connecting' // 'open': all scopes are live; 'waiting' to try again; 'closed' for good
  reason = ''
  #url
  #options
  #named // scopes of the options, which stay
  #fresh // nothing was heard yet, and the cursor of the options covers what the page shows of #named
  #listeners = new Map() // scope to a Set of Listener
  #syncing = false
  #settle // {resolve, reject} of ready

  #me = Array.from({length: 4}, () => Math.random().toString(36).slice(2, 6)).join('')
  #at = {n: 0, by: this.#me, seq: 0} // this tab's place
  #from = this.#at // where its own term began
  #last // the cursor at #at
  #carried = new Set() // scopes of the present stream
  #stream = null // while this tab leads
  #inherited = {scopes: [], until: 0} // of the leader before, until its followers have said what they want
  #wants = new Map() // other tab to its scopes
  #shared
  #name = ''
  #channel = null
  #here = null // AbortController: aborted when this tab leaves
  #turn = null // AbortController of the request for the leader's lock
  #heard = 0 // when the leader's stream was
  #asked = 0 // when it was asked whether it is there, 0 after an answer
  #said = 0
  #looking
  #alive = new AbortController() // for the page's events

  constructor(url, options) {
    this.#url = address(url)
    this.#options = options
    this.#named = new Set((options.scopes ?? []).map(canonical))
    this.#fresh = Boolean(options.since)
    this.#last = options.since || null
    this.#shared = (options.shared ?? true) && Boolean(options.key || (options.token && typeof options.token === 'string')) &&
      Boolean(globalThis.navigator?.locks && globalThis.BroadcastChannel && globalThis.crypto?.subtle)
    this.#fits(this.#named)
    this.ready = new Promise((resolve, reject) => (this.#settle = {resolve, reject}))
    this.ready.catch(() => {}) // who doesn't ask need not know
    const listen = (target, names, fn) => names.forEach((n) => target?.addEventListener?.(n, fn, {signal: this.#alive.signal}))
    listen(globalThis, ['online'], () => this.#stream?.hurry())
    listen(globalThis, ['pagehide'], () => { // a page in the back/forward cache hears nothing
      this.#leave()
      this.#set('waiting', 'the page is hidden')
    })
    listen(globalThis, ['pageshow'], () => this.#here === null && this.#join())
    listen(globalThis.document, ['visibilitychange', 'resume'], () => this.#wake())
    queueMicrotask(() => {
      if (this.#url === null) this.#set('waiting', 'a path is no address where there is no page')
      else if (this.status !== 'closed') this.#join()
    })
  }

  /** on calls fn with each event of scope, and returns what ends that. */
  on(scope, fn) {
    if (typeof fn !== 'function') throw new TypeError('pgbell: on takes a scope and a function')
    scope = canonical(scope)
    return this.#listen(scope, fn, this.#fresh && this.#named.has(scope) ? null : 'joined')
  }

  #listen(scope, fn, owed) {
    this.#fits(new Set([...this.#own(), scope]))
    const listener = new Listener(scope, fn, owed)
    if (!this.#listeners.has(scope)) this.#listeners.set(scope, new Set())
    this.#listeners.get(scope).add(listener)
    this.#sync()
    return () => {
      listener.end()
      const others = this.#listeners.get(scope)
      if (!others?.delete(listener) || others.size > 0) return
      this.#listeners.delete(scope)
      this.#sync()
    }
  }

  /** live calls fn with the rows of a live query, and again when they are others; onreset with why they can't be told. */
  live(name, args, fn, onreset = (reason) => report(new Error(`pgbell: ${name} is not live: ${reason}`))) {
    if (typeof fn !== 'function') throw new TypeError('pgbell: live takes a name, arguments and a function')
    let rows = null
    return this.#listen(liveScope(name, args ?? {}), (event) => {
      if (event.op === 'rows') rows = event.rows
      else if (event.reason !== failed) {
        rows = null
        return onreset(event.reason)
      }
      if (rows !== null) return fn(rows)
    }, 'joined')
  }

  /** close ends the connection of this tab, not that of others. */
  close() {
    this.#end('close() was called')
  }

  // ---- this tab

  #own() {
    return [...new Set([...this.#named, ...this.#listeners.keys()])]
  }

  #fits(scopes) {
    if (!fits(scopes)) throw new RangeError(`pgbell: a stream has room for ${maxScopes} scopes and ${maxLives} live queries, and for ${maxQuery} characters of them: these are ${scopes.size}`)
  }

  #missing() {
    return this.#own().some((s) => !this.#carried.has(s))
  }

  // Once for all that is done in one go: what is carried gets what it is owed, and whoever leads hears
  // what is wanted.
  #sync() {
    if (this.#syncing) return
    this.#syncing = true
    queueMicrotask(() => {
      this.#syncing = false
      if (this.status === 'open') this.#flush()
      this.#want()
    })
  }

  #owe(reason) {
    for (const set of this.#listeners.values()) for (const listener of set) listener.owed ??= reason
  }

  // The live queries whose rows this tab is owed.
  #need() {
    return [...this.#listeners].filter(([scope, set]) => isLive(scope) && [...set].some((l) => l.owed !== null)).map(([scope]) => scope)
  }

  #flush() {
    for (const [scope, set] of this.#listeners) {
      if (!this.#carried.has(scope)) continue
      for (const listener of [...set]) {
        if (listener.owed === null || !set.has(listener)) continue
        const event = isLive(scope) ? this.#stream?.result(scope) : {scope, op: 'reset', reason: listener.owed}
        if (!event) continue // the rows come, from the server or the leader
        listener.owed = null
        listener.tell(event)
      }
    }
  }

  #deliver(event) {
    if (event.op !== 'reset' && event.origin && event.origin === this.#options.origin) return
    const set = this.#listeners.get(event.scope) ?? []
    for (const listener of [...set]) {
      if (!set.has(listener)) continue
      if (isLive(event.scope)) listener.owed = null
      listener.tell(event)
    }
  }

  #set(status, reason = '') {
    if (this.status === 'closed' || (this.status === status && this.reason === reason)) return
    this.status = status
    this.reason = reason
    if (status === 'open') this.#settle.resolve()
    if (status === 'closed') this.#settle.reject(new Error(`pgbell: closed: ${reason}`))
    if (this.onstatus) call(this.onstatus, status, reason)
  }

  #end(reason, grace) {
    this.#leave(grace)
    this.#alive.abort()
    for (const set of this.#listeners.values()) for (const listener of set) listener.end()
    this.#set('closed', reason)
  }

  // ---- what a leader says

  #receive(m) {
    if (!this.#follows(m)) return
    this.#heard = Date.now() - m.age
    if (m.age < timing.quiet) this.#asked = 0
    this.#last = m.id
    if (m.t === 'event') this.#deliver(m.event)
    else if (m.t === 'end' || m.t === 'alone') this.#part(m)
    else if (m.t === 'on') {
      this.#fresh = false
      if (m.gap) this.#owe(m.gap)
      this.#carried = new Set(m.scopes)
      for (const [scope, set] of this.#listeners) {
        if (!this.#carried.has(scope)) for (const listener of set) listener.owed ??= 'joined'
      }
      if (this.#missing()) this.#want()
      else this.#set('open')
      this.#flush()
    } else this.#set(m.status === 'open' && this.#missing() ? 'connecting' : m.status, m.reason)
  }

  #part(m) {
    if (m.t === 'end') this.#end(m.reason, timing.grace)
    else this.#alone(timing.grace)
  }

  // Whether m is to be followed. If something before it may be missing, all are owed.
  #follows(m) {
    const {n, by, seq} = this.#at
    let gap = false
    if (m.n === n && m.by === by) {
      if (m.seq <= seq) return false
      gap = m.seq !== seq + 1
    } else if (m.n <= n) {
      if (m.t !== 'event') this.#want() // it shall know that there was a later term
      return false
    } else {
      gap = m.seq !== 1 || m.from.n !== n || m.from.by !== by || m.from.seq > seq
    }
    const change = m.n !== n
    this.#at = {n: m.n, by: m.by, seq: m.seq}
    if (gap) {
      this.#fresh = false
      this.#owe('missed')
      this.#carried = new Set()
    }
    if ((gap || change) && m.by !== this.#me) this.#want()
    return true
  }

  // ---- who leads

  async #join() {
    const {signal} = (this.#here = new AbortController())
    if (!this.#shared) return this.#lead()
    try {
      const {key, token, coalesce, spread, credentials} = this.#options
      this.#name = 'pgbell ' + (await digest([this.#url, key ?? '', key ? '' : token, coalesce, spread, credentials]))
      const gone = new Promise((resolve) => signal.addEventListener('abort', resolve))
      // As long as it has this lock, this tab lives.
      await new Promise((resolve, reject) => {
        navigator.locks.request(`${this.#name} ${this.#me}`, {signal}, () => (resolve(), gone)).catch(reject)
      })
      if (signal.aborted) return
      this.#channel = new BroadcastChannel(this.#name)
      this.#channel.onmessage = ({data}) => this.#hear(data)
      this.#heard = Date.now()
      this.#looking = setInterval(() => this.#look(), timing.look)
      this.#want()
      this.#queue(gone)
    } catch {
      if (!signal.aborted) this.#alone() // a sandboxed frame, say
    }
  }

  #queue(gone, steal = false) {
    const {signal} = this.#here
    const turn = (this.#turn = new AbortController())
    navigator.locks.request(this.#name, steal ? {steal} : {signal: turn.signal}, () => {
      if (signal.aborted || this.#turn !== turn) return
      if (this.#stream === null) this.#lead()
      return gone
    }).catch((error) => {
      if (signal.aborted || this.#turn !== turn) return
      if (error.name !== 'AbortError') return this.#alone()
      this.#stop() // another tab has stolen the lock
      this.#want()
      this.#queue(gone)
    })
    this.#steal = () => {
      turn.abort()
      this.#queue(gone, true)
    }
  }

  #steal = () => {}

  // With a grace the locks are kept for a while: who is next in the queue shall hear first why.
  #leave(grace = 0) {
    if (this.#here === null) return
    this.#stop()
    this.#turn?.abort()
    this.#turn = null
    const here = this.#here
    if (grace > 0 && this.#channel !== null) setTimeout(() => here.abort(), grace)
    else here.abort()
    this.#here = null
    this.#channel?.postMessage({t: 'want', tab: this.#me, at: this.#at, scopes: []})
    this.#channel?.close()
    this.#channel = null
    clearInterval(this.#looking)
    this.#wants.clear()
    this.#carried = new Set()
  }

  #stop() {
    if (this.#stream === null) return
    this.#last = this.#stream.last
    this.#stream.stop()
    this.#stream = null
  }

  #alone(grace) {
    this.#leave(grace)
    this.#shared = false
    this.#join()
  }

  // Others look whether their leader is there.
  #look() {
    if (this.#stream !== null) return
    const now = Date.now()
    if (this.#asked !== 0) {
      if (now - this.#asked >= timing.look / 2) this.#steal()
    } else if (now - this.#heard >= timing.quiet) {
      this.#asked = now
      this.#want()
    }
  }

  #wake() {
    if (globalThis.document?.visibilityState === 'hidden' || this.#here === null) return
    this.#stream?.check()
    if (this.#channel !== null) {
      this.#heard = 0
      this.#look()
    }
  }

  // ---- the leader

  #lead() {
    this.#rise(this.#at.n)
    this.#inherited = {scopes: [...this.#carried], until: Date.now() + timing.healthy}
    const {origin, ...options} = this.#options
    // Each tab has an origin of its own: where they share, each leaves out its own echo.
    this.#stream = new Stream(this.#hosting(), this.#url, this.#shared ? options : this.#options, this.#last)
    this.#stream.run()
  }

  // Take the term after n, and go on from here.
  #rise(n) {
    this.#from = this.#at
    this.#at = {n: n + 1, by: this.#me, seq: 0}
  }

  #say(t, more) {
    const m = {t, n: this.#at.n, by: this.#me, seq: this.#at.seq + 1, from: this.#from, id: this.#stream.last,
      age: Math.max(0, Date.now() - this.#stream.heard), ...more}
    this.#said = Date.now()
    this.#channel?.postMessage(m)
    this.#receive(m)
  }

  // Say how things are.
  #tell() {
    if (this.#stream.open) this.#say('on', {scopes: [...this.#carried]})
    else this.#say('status', {status: this.status, reason: this.reason})
  }

  // What another tab says.
  #hear(m) {
    if (m.t !== 'want') {
      if (this.#stream === null) this.#receive(m)
      else if (m.n === this.#from.n && m.by === this.#from.by && ['end', 'alone'].includes(m.t)) {
        this.#part(m) // the last words of the leader before, which came after its lock
      } else if (m.n >= this.#at.n) {
        this.#rise(m.n)
        this.#tell()
      }
      return
    }
    if (m.scopes.length > 0) this.#wants.set(m.tab, m.scopes)
    else this.#wants.delete(m.tab)
    if (this.#stream === null) return
    const results = (m.need ?? []).map((scope) => this.#stream.result(scope)).filter(Boolean)
    if (m.at.n > this.#at.n || (m.at.n === this.#at.n && m.at.by !== this.#me)) this.#rise(m.at.n)
    for (const event of results) this.#say('event', {event})
    this.#stream.ask(this.#union())
    this.#tell()
  }

  // Have the stream carry this tab's scopes.
  #want() {
    if (this.#stream !== null) this.#stream.ask(this.#union())
    else this.#channel?.postMessage({t: 'want', tab: this.#me, at: this.#at, scopes: this.#own(), need: this.#need()})
  }

  #union() {
    const all = new Set([...this.#own(), ...[...this.#wants.values()].flat()])
    const more = new Set([...all, ...this.#inherited.scopes])
    return [...(Date.now() < this.#inherited.until && fits(more) ? more : all)]
  }

  // What this tab's Stream asks of it, and tells it.
  #hosting() {
    return {
      prepare: async () => {
        if (this.#channel === null || this.#wants.size === 0) return
        // Who died without a word. Whether that can be told or not, the stream goes on.
        const {held} = await navigator.locks.query().catch(() => ({}))
        const names = held && new Set(held.map((lock) => lock.name))
        for (const tab of this.#wants.keys()) if (names && !names.has(`${this.#name} ${tab}`)) this.#wants.delete(tab)
      },
      scopes: () => {
        if (this.#stream === null) return []
        const scopes = this.#union()
        if (fits(new Set(scopes))) return scopes
        this.#say('alone')
        return []
      },
      heard: () => {
        if (this.#channel !== null && this.#stream !== null && Date.now() - this.#said >= timing.beat) this.#tell()
      },
      state: (status, reason) => this.#stream && this.#say('status', {status, reason}),
      ready: (scopes, gap) => this.#say('on', {scopes, gap}),
      event: (event) => this.#say('event', {event}),
      refused: (reason, split) => {
        const within = (scopes) => [...this.#stream.asked].every((s) => scopes.includes(s))
        if (split && !within(this.#union())) return // something that nobody wants any more: try without
        if (split && this.#shared && !within(this.#own())) this.#say('alone')
        else this.#say('end', {reason})
      },
    }
  }
}

function fits(scopes) {
  let length = 0
  let lives = 0
  for (const scope of scopes) {
    const once = encodeURIComponent(scope).length + '&scope='.length
    if (isLive(scope)) lives++
    length += isLive(scope) ? 2 * once : once // it may be asked for as a whole
  }
  return scopes.size - lives <= maxScopes && lives <= maxLives && length <= maxQuery
}

// Of an integer that no number can hold its digits come, as a string: JSON.parse would make another one of it.
// What is in quotes is passed over.
function json(text) {
  if (/\d{16}/.test(text)) {
    text = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g, (part) =>
      /^-?\d+$/.test(part) && !Number.isSafeInteger(Number(part)) ? `"${part}"` : part)
  }
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

// merge returns the event that stands for before and for the later event, by the server's rule for
// coalescing (sse/burst.go): the later one, without what would be untrue of before. A reset outweighs all else.
function merge(before, event) {
  if (isLive(event.scope) && event.reason !== failed) return event
  const coalesced = (before.coalesced ?? 1) + (event.coalesced ?? 1)
  if (event.op === 'reset') return {...event, coalesced}
  if (before.op === 'reset') return {...before, coalesced}
  const both = {...event, coalesced}
  if (event.table !== before.table || JSON.stringify(event.key) !== JSON.stringify(before.key) || (!event.key && event.op !== 'publish')) {
    for (const name of ['key', 'data', 'moved']) delete both[name] // of different rows, or it can't be told
  }
  if (event.table !== before.table) delete both.table
  if (event.origin !== before.origin) delete both.origin
  if (both.key && event.op === 'update' && !both.moved && before.moved === 'in') both.moved = 'in'
  if (event.op === 'update' && before.op === 'update' && event.changed && before.changed) {
    both.changed = [...new Set([...before.changed, ...event.changed])].sort()
  } else delete both.changed
  return both
}

// Half of the wait is random, so that not all come back at once.
function backOff(first, tries) {
  return Math.min(timing.cap, first * 2 ** tries) * (0.5 + Math.random() / 2)
}

// A listener's error is its own, and keeps no other from hearing.
function call(fn, ...args) {
  try {
    return fn(...args)
  } catch (error) {
    report(error)
  }
}

function report(error) {
  if (globalThis.reportError) reportError(error)
  else console.error(error) // Node would end the process for one that is thrown
}

// address is all of url; null for a path where a page is rendered on a server.
function address(url) {
  const base = globalThis.location?.href
  try {
    return new URL(url, base).href
  } catch (error) {
    if (base === undefined && String(url).startsWith('/')) return null
    throw error
  }
}

function abortable(promise, signal) {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason))
    Promise.resolve(promise).then(resolve, reject)
  })
}

async function digest(parts) {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(parts)))
  return Array.from(new Uint8Array(hash), (b) => b.toString(16).padStart(2, '0')).join('')
}
