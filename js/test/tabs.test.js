import assert from 'node:assert/strict'
import {webcrypto} from 'node:crypto'
import {test} from 'node:test'
import {connect, timing} from '../pgbell.js'
import {listen, Locks, serve, until} from './fake.js'

Object.assign(timing, {retry: 10, cap: 50, silence: 4000, beat: 0, quiet: 1500, look: 300, grace: 1000}) // longer than a busy machine stands still

// browser makes an origin whose tabs can talk to each other, and returns what opens one. A
// tab can be frozen: it hears nothing, and its streams' bytes wait.
async function browser(t, options = {}) {
  const server = await serve(t)
  const locks = new Locks()
  Object.defineProperty(globalThis, 'navigator', {value: {locks}, configurable: true})
  globalThis.crypto ??= webcrypto // Node 18 has none
  const Channel = globalThis.BroadcastChannel
  const channels = []
  globalThis.BroadcastChannel = class extends Channel {
    constructor(name) {
      super(name)
      channels.push(this)
    }
  }
  t.after(() => { globalThis.BroadcastChannel = Channel })
  const open = (more) => {
    const bell = connect(server.url, {key: 'alice', ...options, ...more})
    t.after(() => bell.close())
    return bell
  }
  return {server, locks, channels, open}
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 60)) // to see that nothing more comes

test('tabs share a stream, which carries the scopes of all', async (t) => {
  const {server, open} = await browser(t)
  const one = open()
  const a = listen(one, 'a')
  const first = (await server.next('a')).open('c1')
  assert.equal(await a.next(), 'reset joined')
  const two = open()
  const b = listen(two, 'b')
  const second = await server.next('a', 'b')
  await first.gone
  assert.equal(second.query.get('since'), 'c1')
  second.open('c1')
  assert.equal(await b.next(), 'reset joined')
  await two.ready
  assert.equal(two.status, 'open')
  second.change('b', 'c2', {n: 1})
  second.change('a', 'c3', {n: 2})
  assert.equal(await b.next(), 'update 1')
  assert.equal(await a.next(), 'update 2')
  // A third one that wants nothing new needs no other stream.
  const also = listen(open(), 'a')
  assert.equal(await also.next(), 'reset joined')
  second.change('a', 'c4', {n: 3})
  assert.equal(await also.next(), 'update 3')
  assert.equal(await a.next(), 'update 3')
  await settle()
  assert.deepEqual([server.waiting, a.length, b.length, also.length], [0, 0, 0, 0])
})

test('when the leading tab closes the next goes on, without a reset or a loss', async (t) => {
  const {server, open} = await browser(t)
  const one = open()
  const a = listen(one, 'a')
  ;(await server.next('a')).open('c1')
  await a.next()
  const two = open()
  const b = listen(two, 'b')
  const stream = (await server.next('a', 'b')).open('c1')
  await b.next()
  const three = open()
  const c = listen(three, 'b')
  await c.next()
  stream.change('b', 'c2', {n: 1})
  assert.equal(await b.next(), 'update 1')
  assert.equal(await c.next(), 'update 1')
  one.close()
  const next = await server.next()
  assert.equal(next.query.get('since'), 'c2')
  assert.ok(next.scopes.includes('b'))
  next.open('c2')
  next.change('b', 'c3', {n: 2})
  assert.equal(await b.next(), 'update 2')
  assert.equal(await c.next(), 'update 2')
  await settle()
  assert.deepEqual([b.length, c.length, two.status, three.status], [0, 0, 'open', 'open'])
})

test('a leader that dies without a word is followed by another', async (t) => {
  const {server, open, channels, locks} = await browser(t)
  const {healthy} = timing
  t.after(() => { timing.healthy = healthy })
  timing.healthy = 0 // nothing is inherited
  const one = open()
  const a = listen(one, 'a')
  listen(one, 'of nobody else')
  const first = (await server.next('a', 'of%20nobody%20else')).open('c1')
  await a.next()
  const two = open()
  const b = listen(two, 'a')
  await b.next()
  first.change('a', 'c2', {n: 1})
  await b.next()
  channels[0].close() // says nothing any more, and hears nothing
  channels[0].postMessage = () => {}
  one.close() // lets go of its locks
  const next = (await server.next('a')).open('c2')
  assert.equal(next.query.get('since'), 'c2')
  next.change('a', 'c3', {n: 2})
  assert.equal(await b.next(), 'update 2')
  assert.equal(b.length, 0)
  next.end()
  await server.next('a')
  assert.equal((await locks.query()).held.length, 2)
})

test('a frozen leader loses its lock to who hears nothing, and follows when it wakes', async (t) => {
  const {server, open, channels} = await browser(t)
  const one = open()
  const a = listen(one, 'a')
  const first = (await server.next('a')).open('c1')
  await a.next()
  const two = open()
  const b = listen(two, 'a')
  await b.next()
  // Frozen: it neither says nor hears anything, but keeps its lock.
  const [frozen] = channels
  const {postMessage} = frozen
  const missed = []
  const {onmessage} = frozen
  frozen.onmessage = (e) => missed.push(e)
  frozen.postMessage = (m) => missed.push({out: m})
  first.change('a', 'c2', {n: 1})
  await a.next()
  const next = await server.next('a')
  assert.equal(next.query.get('since'), 'c1')
  next.open('c1')
  next.change('a', 'c2', {n: 1})
  assert.equal(await b.next(), 'update 1')
  // Awake: what it says now is of an old term.
  frozen.postMessage = postMessage
  frozen.onmessage = onmessage
  for (const m of missed) {
    if (m.out) frozen.postMessage(m.out)
    else onmessage(m)
  }
  next.change('a', 'c3', {n: 2})
  assert.equal(await b.next(), 'update 2')
  let got = ''
  while (got !== 'update 2') got = await a.next() // after a reset, if it could not tell
  await settle()
  assert.deepEqual([b.length, server.waiting], [0, 0])
  next.change('a', 'c4', {n: 3})
  assert.equal(await a.next(), 'update 3')
})

test('a message that does not arrive is a reset', async (t) => {
  const {server, open, channels} = await browser(t)
  const a = listen(open(), 'a')
  const stream = (await server.next('a')).open('c1')
  await a.next()
  const two = open()
  const b = listen(two, 'a')
  await b.next()
  const [leader] = channels
  const {postMessage} = leader
  leader.postMessage = (m) => m.t !== 'event' && postMessage.call(leader, m)
  stream.change('a', 'c2', {n: 1})
  await a.next()
  leader.postMessage = postMessage
  stream.response.write(':\n\n') // a heartbeat is enough to see it
  assert.equal(await b.next(), 'reset missed')
  stream.change('a', 'c3', {n: 2})
  assert.equal(await b.next(), 'update 2')
})

test('a new leader that was behind has the others reset', async (t) => {
  const {server, open, channels} = await browser(t)
  const one = open()
  const a = listen(one, 'a')
  const stream = (await server.next('a')).open('c1')
  await a.next()
  const two = open() // will lead
  const b = listen(two, 'a')
  await b.next()
  const three = open()
  const c = listen(three, 'a')
  await c.next()
  // The third one misses an event that the second one gets, and then hears the second lead.
  const {onmessage} = channels[2]
  channels[2].onmessage = (e) => e.data.t !== 'want' && e.data.by !== undefined && e.data.n === 1 ? undefined : onmessage(e)
  stream.change('a', 'c2', {n: 1})
  assert.equal(await b.next(), 'update 1')
  one.close()
  const next = await server.next('a')
  assert.equal(next.query.get('since'), 'c2')
  next.open('c2')
  assert.equal(await c.next(), 'reset missed')
  await settle()
  assert.equal(b.length, 0)
})

test('a refusal for the scopes of all hits only the tab that asked for it', async (t) => {
  const {server, open} = await browser(t)
  const one = open()
  const a = listen(one, 'a')
  ;(await server.next('a')).open('c1')
  await a.next()
  const two = open()
  // In whatever order they part: who asks for what is forbidden is refused, the other is not.
  server.answer = (stream) => {
    if (stream.scopes.includes('forbidden')) return stream.refuse(403, 'scope-not-allowed')
    assert.deepEqual([stream.scopes, stream.query.get('since')], [['a'], 'c1'])
    stream.open('c1').change('a', 'c2', {n: 1})
  }
  listen(two, 'forbidden')
  await until(two, 'closed')
  assert.equal(await a.next(), 'update 1')
  assert.equal(one.status, 'open')
})

test('more scopes than a stream has room for are heard on more streams', async (t) => {
  const {server, open} = await browser(t)
  const many = (p) => Array.from({length: 60}, (_, i) => p + i)
  const one = open({scopes: many('a')})
  ;(await server.next()).open('c1')
  await until(one, 'open')
  const two = open({scopes: many('b')})
  const [s, u] = [await server.next(), await server.next()]
  assert.deepEqual([s.scopes.length, u.scopes.length], [60, 60])
  s.open('c1')
  u.open('c1')
  await until(one, 'open')
  await until(two, 'open')
})

for (const grace of [timing.grace, 0]) {
  test(`close is heard by all tabs, though it may come ${grace > 0 ? 'before' : 'after'} the leader's lock`, async (t) => {
    const {server, open} = await browser(t)
    const one = open({scopes: ['a']})
    const stream = (await server.next()).open('c1')
    await until(one, 'open')
    const two = open({scopes: ['a']})
    await until(two, 'open')
    const before = timing.grace
    t.after(() => { timing.grace = before })
    timing.grace = grace
    stream.frame('close', {reason: 'disconnected'})
    assert.equal(await until(one, 'closed'), 'disconnected')
    assert.equal(await until(two, 'closed'), 'disconnected')
    await settle()
    assert.ok(server.waiting <= (grace > 0 ? 0 : 1), `${server.waiting} requests after the end`)
  })
}

test('each tab leaves out its own echo only', async (t) => {
  const {server, open} = await browser(t)
  const a = listen(open({origin: 'one'}), 'a')
  const stream = await server.next('a')
  assert.equal(stream.query.has('origin'), false)
  stream.open('c1')
  await a.next()
  const b = listen(open({origin: 'two'}), 'a')
  await b.next()
  stream.change('a', 'c2', {n: 1, origin: 'one'})
  stream.change('a', 'c3', {n: 2, origin: 'two'})
  assert.equal(await a.next(), 'update 2')
  assert.equal(await b.next(), 'update 1')
})

for (const [name, first, second] of [
  ['another key', {key: 'alice'}, {key: 'bob'}],
  ['no key', {key: undefined}, {key: undefined}],
  ['another token', {key: undefined, token: 'x'}, {key: undefined, token: 'y'}],
  ['shared: false', {}, {shared: false}],
  ['another window of coalescing', {coalesce: '1s'}, {coalesce: '2s'}],
]) {
  test(`with ${name} nothing is shared`, async (t) => {
    const {server, open} = await browser(t, {scopes: ['a']})
    const one = open(first)
    const stream = (await server.next()).open('c1')
    await until(one, 'open')
    const two = open(second)
    ;(await server.next('a')).open('c1')
    await until(two, 'open')
    assert.equal(stream.response.destroyed, false, 'it has taken the place of the other')
  })
}

test('the same token is the same user', async (t) => {
  const {server, open} = await browser(t, {scopes: ['a'], key: undefined, token: 'x'})
  await Promise.all([until(open(), 'open'), until(open(), 'open'), server.next().then((s) => s.open('c1'))])
  await settle()
  assert.equal(server.waiting, 0)
})

test('a tab whose page is put away and brought back misses nothing', async (t) => {
  const target = new EventTarget()
  globalThis.addEventListener = target.addEventListener.bind(target)
  t.after(() => delete globalThis.addEventListener)
  const {server, open, locks} = await browser(t)
  const a = listen(open(), 'a')
  const stream = (await server.next('a')).open('c1')
  await a.next()
  stream.change('a', 'c2', {n: 1})
  await a.next()
  target.dispatchEvent(new Event('pagehide'))
  await stream.gone
  await settle()
  assert.equal((await locks.query()).held.length, 0)
  target.dispatchEvent(new Event('pageshow'))
  const next = await server.next('a')
  assert.equal(next.query.get('since'), 'c2')
  next.open('c2').change('a', 'c3', {n: 2})
  assert.equal(await a.next(), 'update 2')
})

// A tab may have heard of a later term than its leader knows: then the leader takes one above.
for (const who of ['all', 'a follower']) {
  test(`when ${who} heard of a later term the leader takes a later one`, async (t) => {
    const {server, open, channels} = await browser(t)
    const a = listen(open(), 'a')
    const stream = (await server.next('a')).open('c1')
    await a.next()
    const b = listen(open(), 'a')
    await b.next()
    const later = {t: 'status', status: 'open', reason: '', n: 10, by: 'somebody', seq: 7, from: {n: 9, by: 'somebody', seq: 1}, id: 'c1', age: 0}
    if (who === 'all') {
      const channel = new BroadcastChannel(channels[0].name)
      channel.postMessage(later)
      channel.close()
    } else channels[1].onmessage({data: later})
    assert.equal(await b.next(), 'reset missed')
    stream.change('a', 'c2', {n: 1})
    assert.equal(await b.next(), 'update 1')
    assert.equal(await a.next(), 'update 1')
    assert.equal(a.length, 0)
  })
}

test('a following tab that dies without a word is forgotten at the next opening', async (t) => {
  const {server, open, channels} = await browser(t)
  const a = listen(open(), 'a')
  ;(await server.next('a')).open('c1')
  await a.next()
  const two = open()
  const b = listen(two, 'b')
  const stream = (await server.next('a', 'b')).open('c1')
  await b.next()
  channels[1].postMessage = () => {}
  two.close()
  await settle()
  stream.end()
  await server.next('a')
})
