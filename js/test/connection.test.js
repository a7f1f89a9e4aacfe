import assert from 'node:assert/strict'
import {test} from 'node:test'
import {connect, timing} from '../pgbell.js'
import {listen, Queue, serve, until} from './fake.js'

Object.assign(timing, {retry: 10, cap: 50, silence: 1500})

async function start(t, options) {
  const server = await serve(t)
  const bell = connect(server.url, options)
  t.after(() => bell.close())
  return [server, bell]
}

test('a listener gets one reset when its scope is live, then each change', async (t) => {
  const [server, bell] = await start(t)
  const heard = listen(bell, 'project:a b')
  const stream = await server.next('project:a%20b')
  assert.equal(stream.query.has('since'), false)
  assert.equal(stream.headers['last-event-id'], undefined)
  assert.equal(bell.status, 'connecting')
  stream.open('c1')
  assert.equal(await heard.next(), 'reset joined')
  await bell.ready
  assert.equal(bell.status, 'open')
  stream.change('project:a%20b', 'c1', {key: {id: 1}})
  stream.change('project:a%20b', 'c2', {key: {id: 2}})
  assert.equal(await heard.next(), 'update 1')
  assert.equal(await heard.next(), 'update 2')
})

test('with since the first scopes get no reset, others do', async (t) => {
  const [server, bell] = await start(t, {scopes: ['a'], since: 'c0', coalesce: 200, spread: '2s', origin: 'me'})
  const a = listen(bell, 'a')
  const b = listen(bell, 'b')
  const stream = await server.next('a', 'b')
  assert.equal(stream.query.get('since'), 'c0')
  assert.equal(stream.query.get('coalesce'), '200ms')
  assert.equal(stream.query.get('spread'), '2s')
  assert.equal(stream.query.get('origin'), 'me')
  stream.open('c0')
  assert.equal(await b.next(), 'reset joined')
  stream.change('a', 'c1', {n: 1})
  assert.equal(await a.next(), 'update 1')
  // Who comes later may have missed something, though the stream has not.
  const late = listen(bell, 'a')
  assert.equal(await late.next(), 'reset joined')
  assert.equal(server.waiting + a.length + b.length, 0)
})

test('a scope added later is carried from the last id on', async (t) => {
  const [server, bell] = await start(t)
  const a = listen(bell, 'a')
  const first = (await server.next('a')).open('c1')
  assert.equal(await a.next(), 'reset joined')
  first.change('a', 'c1', {n: 1})
  first.response.write('id: c2\n\n')
  first.change('a', 'c2', {n: 2})
  await a.next()
  assert.equal(await a.next(), 'update 2')
  const b = listen(bell, 'b')
  const c = listen(bell, 'c') // in one go with b
  const second = await server.next('a', 'b', 'c')
  await first.gone
  assert.equal(second.query.get('since'), 'c2')
  second.open('c2')
  assert.equal(await b.next(), 'reset joined')
  assert.equal(await c.next(), 'reset joined')
  second.change('a', 'c3', {n: 3})
  assert.equal(await a.next(), 'update 3')

  // What nobody listens to any more is left out at the next opening.
  b.off()
  c.off()
  second.change('b', 'c4', {n: 4})
  second.end()
  const third = await server.next('a')
  assert.equal(third.query.get('since'), 'c4')
  assert.equal(b.length, 0)
})

test('an event without its end is not taken, nor its id', async (t) => {
  const [server, bell] = await start(t)
  const a = listen(bell, 'a')
  const first = (await server.next('a')).open('c1')
  await a.next()
  first.response.write('event: a\nid: c2\ndata: {"scope":"a","op":"update"}\n')
  first.end()
  const second = await server.next('a')
  assert.equal(second.query.get('since'), 'c1')
  assert.equal(a.length, 0)
})

for (const [name, answer, reason] of [
  ['502 of a proxy', (s) => s.response.writeHead(502, {'Content-Type': 'text/html'}).end('<h1>Bad gateway</h1>'), /^502/],
  ['503 of pgbell', (s) => s.refuse(503, 'too-many-streams'), /^503: too-many-streams/],
  ['429', (s) => s.refuse(429, 'too-fast'), /^429/],
  ['404', (s) => s.response.writeHead(404).end(), /^404/],
  ['204', (s) => s.response.writeHead(204).end(), /^204/],
  ['a login page', (s) => s.response.writeHead(200, {'Content-Type': 'text/html'}).end('<form>'), /not a stream/],
  ['401 without a token', (s) => s.refuse(401, 'bad-credentials'), /^401/],
  ['a cut', (s) => s.cut(), /no connection/],
  ['an end before ready', (s) => s.response.writeHead(200, {'Content-Type': 'text/event-stream'}).end(), /ended/],
]) {
  test(`${name} is followed by another try`, async (t) => {
    const [server, bell] = await start(t, {scopes: ['a'], since: 'c0'})
    const a = listen(bell, 'a')
    for (let i = 0; i < 3; i++) {
      answer(await server.next('a'))
      assert.match(await until(bell, 'waiting'), reason)
    }
    const stream = await server.next('a')
    assert.equal(stream.query.get('since'), 'c0')
    stream.open('c0').change('a', 'c1', {n: 1})
    assert.equal(await a.next(), 'update 1')
    assert.equal(bell.status, 'open')
  })
}

test('Retry-After is waited for', async (t) => {
  const [server, bell] = await start(t, {scopes: ['a']})
  const began = Date.now()
  ;(await server.next()).refuse(503, 'too-many-streams', {}, {'Retry-After': '1'})
  await server.next()
  assert.ok(Date.now() - began >= 990, `came back after ${Date.now() - began} ms`)
  bell.close()
})

test('online ends the wait', async (t) => {
  const target = new EventTarget()
  globalThis.addEventListener = target.addEventListener.bind(target)
  t.after(() => delete globalThis.addEventListener)
  const [server, bell] = await start(t, {scopes: ['a']})
  ;(await server.next()).refuse(503, 'x', {}, {'Retry-After': '100'})
  await until(bell, 'waiting')
  await new Promise((resolve) => setImmediate(resolve)) // until the wait has begun
  target.dispatchEvent(new Event('online'))
  await server.next('a')
})

test('the waits grow to the cap, and a healthy stream makes them short again', async (t) => {
  const {random} = Math
  Math.random = () => 1
  t.after(() => { Math.random = random })
  t.mock.method(globalThis, 'setTimeout')
  const waits = () => globalThis.setTimeout.mock.calls.map((c) => c.arguments[1]).filter((ms) => ms > 0 && ms <= 50)
  const [server, bell] = await start(t, {scopes: ['a']})
  for (let i = 0; i < 5; i++) (await server.next()).response.writeHead(502).end()
  const stream = await server.next()
  assert.deepEqual(waits(), [10, 20, 40, 50, 50])
  timing.healthy = 0
  t.after(() => { timing.healthy = 10_000 })
  stream.open('c1')
  await bell.ready
  stream.response.write(':\n\n')
  stream.end()
  await server.next()
  assert.equal(waits().at(-1), 10)
})

test('a silent stream is given up', async (t) => {
  const [server, bell] = await start(t, {scopes: ['a']})
  const a = listen(bell, 'a')
  const first = (await server.next()).open('c1')
  await a.next()
  const beats = setInterval(() => first.response.write(':\n\n'), 100)
  first.change('a', 'c2', {n: 1})
  await a.next()
  await new Promise((resolve) => setTimeout(resolve, 2000)) // longer than the silence allowed
  assert.equal(bell.status, 'open', 'heartbeats keep it')
  clearInterval(beats)
  assert.match(await until(bell, 'waiting'), /nothing was heard/)
  assert.equal((await server.next('a')).query.get('since'), 'c2')
})

test('a request without an answer is given up', async (t) => {
  const [server, bell] = await start(t, {scopes: ['a']})
  const first = await server.next()
  assert.match(await until(bell, 'waiting'), /nothing was heard/)
  await first.gone
  await server.next('a')
})

test('a cursor that is none is dropped, and all are reset', async (t) => {
  const [server, bell] = await start(t, {scopes: ['a', 'b'], since: 'nonsense'})
  const a = listen(bell, 'a')
  const b = listen(bell, 'b')
  ;(await server.next('a', 'b')).refuse(400, 'bad-cursor')
  const stream = await server.next('a', 'b')
  assert.equal(stream.query.has('since'), false)
  stream.open('c1')
  assert.match(await a.next(), /^reset there was no cursor/)
  assert.match(await b.next(), /^reset there was no cursor/)
  stream.end()
  assert.equal((await server.next()).query.get('since'), 'c1')
})

for (const [name, answer, want] of [
  ['403', (s) => s.refuse(403, 'scope-not-allowed', {scope: 'a'}), '403: scope-not-allowed'],
  ['400', (s) => s.refuse(400, 'too-many-scopes'), '400: too-many-scopes'],
  ['close', (s) => s.open('c1').frame('close', {reason: 'disconnected'}), 'disconnected'],
  ['close, no longer allowed', (s) => s.open('c1').frame('close', {reason: 'no longer allowed'}), 'no longer allowed'],
  ['close, expired', (s) => s.open('c1').frame('close', {reason: 'expired'}), 'expired'],
]) {
  test(`${name} is the end`, async (t) => {
    const [server, bell] = await start(t, {scopes: ['a'], token: 'x'})
    const {ready} = bell
    answer(await server.next('a'))
    assert.equal(await until(bell, 'closed'), want)
    if (!name.startsWith('close')) await assert.rejects(ready, /closed: 40/)
    await new Promise((resolve) => setTimeout(resolve, 100)) // several waits of 10 ms
    assert.equal(server.waiting, 0, 'it came back')
    listen(bell, 'b')
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(server.waiting, 0, 'it came back for another scope')
  })
}

test('a token function is asked for each try, and told when its token was no good', async (t) => {
  const asked = []
  const [server, bell] = await start(t, {scopes: ['a'], token: async (renew) => `t${asked.push(renew)}`})
  const a = listen(bell, 'a')
  ;(await server.next()).refuse(401, 'bad-credentials')
  const second = await server.next()
  assert.equal(second.headers.authorization, 'Bearer t2')
  second.refuse(401, 'bad-credentials') // now it waits
  await until(bell, 'waiting')
  const third = (await server.next()).open('c1')
  await a.next()
  third.change('a', 'c2')
  await a.next()
  third.frame('close', {reason: 'expired'})
  third.end()
  const fourth = await server.next()
  assert.equal(fourth.query.get('since'), 'c2')
  fourth.open('c2')
  await until(bell, 'open')
  fourth.end()
  await server.next()
  assert.deepEqual(asked, [false, true, true, true, false])
})

test('a token function that fails or hangs is asked again', async (t) => {
  let times = 0
  const [server, bell] = await start(t, {scopes: ['a'], token: () => {
    if (++times === 1) throw new Error('no network')
    return times === 2 ? new Promise(() => {}) : 'good'
  }})
  assert.match(await until(bell, 'waiting'), /no network/)
  await until(bell, 'connecting')
  assert.match(await until(bell, 'waiting'), /nothing was heard/)
  assert.equal((await server.next()).headers.authorization, 'Bearer good')
})

test('close ends the stream and comes not back', async (t) => {
  const [server, bell] = await start(t)
  const heard = []
  bell.on('a', (e) => {
    heard.push(e.op)
    if (e.op === 'update') bell.close()
  })
  const stream = (await server.next('a')).open('c1')
  await bell.ready
  stream.response.write('event: a\ndata: {"scope":"a","op":"update"}\n\n'.repeat(2)) // the second comes too late
  await stream.gone
  assert.deepEqual(heard, ['reset', 'update'])
  assert.deepEqual([bell.status, server.waiting], ['closed', 0])
})

test('a listener that throws keeps no other from hearing', async (t) => {
  const errors = []
  globalThis.reportError = (e) => errors.push(e.message)
  t.after(() => delete globalThis.reportError)
  const [server, bell] = await start(t)
  bell.on('a', () => { throw new Error('mine') })
  const a = listen(bell, 'a')
  ;(await server.next()).open('c1').change('a', 'c2', {n: 1})
  assert.equal(await a.next(), 'reset joined')
  assert.equal(await a.next(), 'update 1')
  assert.deepEqual(errors, ['mine', 'mine'])
})

test('in Node a listener that throws ends nothing', async (t) => {
  const errors = []
  t.mock.method(console, 'error', (e) => errors.push(e.message))
  const [server, bell] = await start(t)
  bell.on('a', () => { throw new Error('mine') })
  const a = listen(bell, 'a')
  ;(await server.next()).open('c1')
  assert.equal(await a.next(), 'reset joined')
  assert.deepEqual(errors, ['mine'])
})

test('headers are sent with each try', async (t) => {
  let n = 0
  const [server, bell] = await start(t, {headers: async () => ({'X-Try': ++n}), token: 'secret'})
  listen(bell, 'a')
  const first = await server.next()
  assert.deepEqual([first.headers['x-try'], first.headers.authorization, first.headers.accept], ['1', 'Bearer secret', 'text/event-stream'])
  first.cut()
  assert.equal((await server.next()).headers['x-try'], '2')
  const [other, still] = await start(t, {headers: {'X-Forwarded-User': 'alice', accept: 'text/html'}})
  listen(still, 'a')
  const {headers} = await other.next()
  assert.deepEqual([headers['x-forwarded-user'], headers.accept], ['alice', 'text/event-stream'])
})

test('where a server renders the page a path is no address, and nothing happens', async (t) => {
  const bell = connect('/events', {key: 'alice', scopes: ['a']})
  t.after(() => bell.close())
  const off = [bell.on('a', () => assert.fail('it was called')), bell.live('f', {}, () => assert.fail('it was called'))]
  assert.equal(await until(bell, 'waiting'), 'a path is no address where there is no page')
  off.forEach((end) => end())
  bell.close()
  assert.equal(bell.status, 'closed')
  assert.throws(() => connect('events'), TypeError)
})

test('an event that can’t be read is a reset', async (t) => {
  const [server, bell] = await start(t, {scopes: ['a'], since: 'c0'})
  const a = listen(bell, 'a')
  ;(await server.next()).open('c1').response.write('event: a\ndata: {"scope":\n\n')
  assert.match(await a.next(), /^reset the event/)
})

test('integers that no number can hold are strings of their digits', async (t) => {
  const [server, bell] = await start(t)
  const heard = new Queue()
  bell.on('a', (e) => heard.put(e))
  const stream = (await server.next('a')).open('c1')
  assert.equal((await heard.next()).op, 'reset')
  for (const [sent, want] of [
    ['9007199254740991', 9007199254740991],
    ['9007199254740992', '9007199254740992'],
    ['9007199254740993', '9007199254740993'],
    ['-9007199254740991', -9007199254740991],
    ['-9223372036854775808', '-9223372036854775808'],
    ['[9007199254740993,1, 9007199254740993 ]', ['9007199254740993', 1, '9007199254740993']],
    ['{"9007199254740993":{"x":18446744073709551616}}', {'9007199254740993': {x: '18446744073709551616'}}],
    ['1234567890123456.5', 1234567890123456.5],
    ['0.1234567890123456', 0.1234567890123456],
    ['9007199254740993e0', 9007199254740992],
    ['"9007199254740993"', '9007199254740993'],
    [JSON.stringify('say "9007199254740993" and \\'), 'say "9007199254740993" and \\'],
    [`[${JSON.stringify(':9007199254740993,\\')},9007199254740993]`, [':9007199254740993,\\', '9007199254740993']],
    [`"${'9'.repeat(300_000)}"`, '9'.repeat(300_000)],
  ]) {
    stream.response.write(`event: a\ndata: {"scope":"a","op":"update","key":{"id":${sent}},"data":${sent}}\n\n`)
    const {key, data} = await heard.next()
    assert.deepEqual(key, {id: want}, sent.slice(0, 50))
    assert.deepEqual(data, want, sent.slice(0, 50))
  }
  assert.equal(heard.length, 0)
})

test('one’s own echo is left out, a reset never', async (t) => {
  const [server, bell] = await start(t, {scopes: ['a'], since: 'c0', origin: 'me'})
  const a = listen(bell, 'a')
  const stream = (await server.next()).open('c1')
  stream.change('a', 'c2', {n: 1, origin: 'me'})
  stream.change('a', 'c3', {n: 2, origin: 'you'})
  stream.frame('a', {scope: 'a', op: 'reset', origin: 'me', reason: 'x'})
  stream.change('a', 'c4', {n: 3}) // a burst of several origins has none
  assert.equal(await a.next(), 'update 2')
  assert.equal(await a.next(), 'reset x')
  assert.equal(await a.next(), 'update 3')
})

test('without scopes nothing is asked for, with too many it is said', async (t) => {
  const [server, bell] = await start(t)
  await until(bell, 'waiting')
  for (let i = 0; i < 100; i++) bell.on('s' + i, () => {})
  assert.throws(() => bell.on('one more', () => {}), RangeError)
  assert.equal((await server.next()).scopes.length, 100)
  assert.throws(() => connect(server.url, {scopes: Array.from({length: 50}, (_, i) => '%'.repeat(80) + i)}), RangeError)
  assert.throws(() => bell.on('ready', () => {}), TypeError)
})

test('with all listeners gone the cursor is, too', async (t) => {
  const [server, bell] = await start(t)
  const a = listen(bell, 'a')
  const first = (await server.next('a')).open('c1')
  await a.next()
  a.off()
  first.end()
  await until(bell, 'waiting')
  await until(bell, 'waiting')
  while (bell.reason !== 'no scope is asked for') await new Promise((resolve) => setTimeout(resolve, 5))
  const again = listen(bell, 'a')
  const second = await server.next('a')
  assert.equal(second.query.has('since'), false)
  second.open('c9')
  assert.equal(await again.next(), 'reset joined')
})

test('what nobody wants any more is no reason to end', async (t) => {
  const [server, bell] = await start(t)
  const a = listen(bell, 'a')
  const b = listen(bell, 'b')
  const first = (await server.next('a', 'b')).open('c1')
  await b.next()
  b.off()
  first.frame('close', {reason: 'no longer allowed'})
  const second = (await server.next('a')).open('c1')
  assert.equal(await a.next(), 'reset joined')
  second.frame('close', {reason: 'no longer allowed'})
  await until(bell, 'closed')
})

test('a scope that a stream did not carry is reset when one does', async (t) => {
  const [server, bell] = await start(t, {scopes: ['a', 'b'], since: 'c0'})
  const a = listen(bell, 'a')
  const b = listen(bell, 'b')
  ;(await server.next('a', 'b')).open('c1').end()
  ;(await server.next('a', 'b')).open('c1', ['a']).change('a', 'c2', {n: 1}).end()
  assert.equal(await a.next(), 'update 1')
  assert.equal(bell.status, 'connecting')
  ;(await server.next('a', 'b')).open('c2')
  assert.equal(await b.next(), 'reset joined')
  assert.equal(a.length, 0)
})
