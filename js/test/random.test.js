// Random tabs, scopes and faults, and a server that keeps a history: whatever happens, each
// listener hears of each change after its first reset, or is reset after it; and what a listener
// that fetches shows in the end is not older than the last change.
import assert from 'node:assert/strict'
import {webcrypto} from 'node:crypto'
import {test} from 'node:test'
import {connect, timing} from '../pgbell.js'
import {Locks, serve} from './fake.js'

Object.assign(timing, {retry: 2, cap: 20, again: 2, silence: 200, beat: 0, quiet: 150, look: 30, grace: 10})

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const scopes = ['a', 'b', 'c']

// A generator of numbers that a seed makes come again (mulberry32).
function numbers(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) % below
  }
}

// history answers as pgbell does: what a cursor does not cover is replayed, then all is live. It
// counts from 1, and the cursor that covers a change is its number. The live query 'counts' gives how
// often each scope was written to, the most frequent first. An id that covers a change covers what it made
// of that, and names the rows that a difference is from.
function history(server) {
  const log = []
  const live = new Set()
  const send = (stream, n) => {
    const counts = stream.query.get('live') === 'counts'
    if (stream.scopes.includes(log[n - 1])) stream.change(log[n - 1], counts ? null : `c${n}`, {n})
    if (counts) tell(stream, n, `c${n}`)
  }
  const rowsAt = (n) => scopes.map((id) => ({id, n: log.slice(0, n).filter((s) => s === id).length}))
    .filter((row) => row.n > 0).sort((a, b) => b.n - a.n || (a.id < b.id ? -1 : 1))
  const tell = (stream, n, id) => {
    const rows = rowsAt(n)
    const frame = (data) => stream.frame('live:counts', {live: 'counts', ...data}, id)
    if (self.failing) frame({op: 'reset', reason: 'it fails'})
    else if (stream.has === null) frame({op: 'rows', key: ['id'], rows})
    else {
      const before = rowsAt(stream.has)
      frame({op: 'delta', gone: before.filter((b) => !rows.some((r) => r.id === b.id)).map((b) => b.id),
        set: rows.filter((r) => !before.some((b) => b.id === r.id && b.n === r.n)), order: rows.map((r) => r.id)})
    }
    stream.has = self.failing ? null : n
  }
  const self = {
    log, live, refuse: 0, failing: false,
    rows: () => rowsAt(log.length),
    fail() {
      self.failing = !self.failing
      for (const stream of live) if (stream.query.get('live')) tell(stream, log.length, null)
    },
    write(scope) {
      log.push(scope)
      for (const stream of live) send(stream, log.length)
    },
  }
  server.answer = (stream) => {
    if (self.refuse > 0) {
      self.refuse--
      stream.response.writeHead(502).end()
      return
    }
    const since = stream.query.get('since')
    stream.has = since && stream.query.get('whole') === null ? Number(since.slice(1)) : null
    const counts = stream.query.get('live') === 'counts'
    const rows = () => counts && tell(stream, since ? Number(since.slice(1)) : log.length, since)
    if (since === null) rows()
    stream.open(since ?? `c${log.length}`)
    if (since !== null && stream.has === null) rows()
    for (let n = Number(since?.slice(1) ?? log.length) + 1; n <= log.length; n++) send(stream, n)
    live.add(stream)
    stream.gone.then(() => live.delete(stream))
  }
  return self
}

// Tab is a connection whose page can be frozen, with listeners that keep account.
class Tab {
  accounts = []

  constructor(world, url) {
    this.world = world
    this.bell = connect(url, {key: 'alice'})
    this.listen()
  }

  listen() {
    const scope = scopes[this.world.random(scopes.length)]
    const account = {scope, heard: new Set(), reset: Infinity} // reset: how much was written by then
    account.off = this.bell.on(scope, (event) => {
      if (event.op === 'reset') account.reset = this.world.history.log.length
      else account.heard.add(event.n)
    })
    this.accounts.push(account)
    // Fetches take their time, and some fail.
    account.shown = -1
    const offFetch = this.bell.on(scope, async () => {
      const read = this.world.history.log.length
      await sleep(this.world.random(30))
      if (this.world.random(4) === 0) throw new Error('no answer')
      account.shown = read
    })
    const offHeard = account.off
    const offRows = this.bell.live('counts', {}, async (rows) => {
      await sleep(this.world.random(10))
      if (this.world.random(4) === 0) throw new Error('no room')
      account.rows = JSON.stringify(rows)
    }, () => (account.rows = 'none'))
    account.off = () => { offHeard(); offFetch(); offRows() }
  }

  unlisten() {
    if (this.accounts.length > 1) this.accounts.shift().off()
  }

  // The channel that this tab got; a frozen one keeps what comes and goes.
  freeze() {
    const channel = this.world.channels.get(this.bell)
    if (!channel || this.thaw) return
    const {onmessage} = channel
    const kept = []
    channel.onmessage = (e) => kept.push(() => onmessage(e))
    channel.postMessage = (m) => kept.push(() => channel.post(m))
    this.thaw = () => {
      this.thaw = null
      channel.onmessage = onmessage
      delete channel.postMessage
      for (const go of kept) go()
    }
  }

  crash() {
    const channel = this.world.channels.get(this.bell)
    if (channel) channel.postMessage = () => {}
    this.bell.close()
  }

  // what a listener neither heard nor was reset after, and what one that fetches doesn't show
  missed() {
    return this.accounts.flatMap(({scope, heard, reset, shown, rows}) => reset === Infinity ? [`no reset of ${scope}`]
      : rows !== JSON.stringify(this.world.history.rows()) ? [`shows ${rows}`]
      : shown <= this.world.history.log.lastIndexOf(scope) ? [`shows ${scope} of ${shown}`]
      : this.world.history.log.map((s, i) => [s, i + 1]).filter(([s, n]) => s === scope && n > reset && !heard.has(n)).map(([, n]) => n))
  }
}

for (const seed of process.env.SEEDS ? Array.from({length: Number(process.env.SEEDS)}, () => Math.floor(Math.random() * 2 ** 31)) : [1, 2, 3, 4]) {
  test(`random: nothing is missed (seed ${seed})`, async (t) => {
    const server = await serve(t)
    const random = numbers(seed)
    const world = {random, history: history(server), channels: new Map()}
    globalThis.crypto ??= webcrypto // Node 18 has none
    globalThis.reportError = () => {} // of fetches that failed
    Object.defineProperty(globalThis, 'navigator', {value: {locks: new Locks()}, configurable: true})
    const Channel = globalThis.BroadcastChannel
    t.after(() => { globalThis.BroadcastChannel = Channel })
    let tabs = []
    globalThis.BroadcastChannel = class extends Channel {
      constructor(name) {
        super(name)
        const owner = tabs.find(({bell}) => !world.channels.has(bell))
        if (owner) world.channels.set(owner.bell, this)
      }

      post(m) {
        try { super.postMessage(m) } catch { /* closed meanwhile */ }
      }
    }
    const beats = setInterval(() => world.history.live.forEach((s) => s.response.write(':\n\n')), 20)
    t.after(() => { clearInterval(beats); tabs.forEach((tab) => tab.bell.close()) })
    const any = () => tabs[random(tabs.length)]
    const leave = (tab) => { tabs = tabs.filter((other) => other !== tab) }
    const actions = {
      write: () => world.history.write(scopes[random(scopes.length)]),
      open: () => tabs.length < 5 && tabs.push(new Tab(world, server.url)),
      close: () => { if (tabs.length > 1) { const tab = any(); leave(tab); tab.thaw?.(); tab.bell.close() } },
      crash: () => { if (tabs.length > 1) { const tab = any(); leave(tab); tab.crash() } },
      freeze: () => any().freeze(),
      thaw: () => any().thaw?.(),
      fail: () => world.history.fail(),
      listen: () => any().listen(),
      unlisten: () => any().unlisten(),
      cut: () => [...world.history.live][random(2)]?.cut(),
      refuse: () => { world.history.refuse = random(3) },
    }
    const often = [...Array(8).fill('write'), 'open', ...Object.keys(actions)]
    actions.open()
    const did = []
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 40; i++) {
        const name = often[random(often.length)]
        did.push(name)
        actions[name]()
        if (random(2) === 0) await sleep(random(12))
      }
      tabs.forEach((tab) => tab.thaw?.())
      world.history.refuse = 0
      if (world.history.failing) world.history.fail()
      for (let deadline = Date.now() + 60_000; tabs.some((tab) => tab.missed().length > 0);) {
        assert.ok(Date.now() < deadline, `round ${round}, after ${did.join(' ')}: ${tabs.map((tab) => `${tab.bell.status} misses ${tab.missed()}`).join('; ')}`)
        await sleep(10)
      }
    }
  })
}
