import assert from 'node:assert/strict'
import {test} from 'node:test'
import {connect, Listener} from '../pgbell.js'
import {Queue, serve} from './fake.js'

// pending is a listener whose calls the test settles, on a page whose timers it sees.
function pending(t) {
  const calls = new Queue()
  const errors = []
  const timers = []
  const fn = (event) => new Promise((resolve, reject) => calls.put({event, resolve, reject}))
  const {setTimeout: set, clearTimeout: clear} = globalThis
  globalThis.reportError = (error) => errors.push(error.message)
  globalThis.setTimeout = (run, ms) => {
    const timer = {run, ms}
    timers.push(timer)
    return timer
  }
  globalThis.clearTimeout = (timer) => {
    if (timers.includes(timer)) timers.splice(timers.indexOf(timer), 1)
  }
  t.after(() => {
    delete globalThis.reportError
    Object.assign(globalThis, {setTimeout: set, clearTimeout: clear})
  })
  return {
    listener: new Listener('a', fn, null), errors, timers,
    // the call that is under way, of which there must be one
    call() {
      assert.equal(calls.length, 1, 'calls')
      return calls.next()
    },
    none: () => assert.equal(calls.length, 0, 'calls'),
    elapse() {
      assert.equal(timers.length, 1, 'timers')
      timers.shift().run()
    },
  }
}

const settled = () => new Promise(setImmediate)
const change = (id, more = {}) => ({scope: 'a', op: 'update', table: 'public.tasks', key: {id}, ...more})
const failed = {scope: 'a', op: 'reset', reason: 'the listener failed'}

test('a listener is not called while its promise is not settled, then once for all that came', async (t) => {
  const {listener, call, none} = pending(t)
  listener.tell(change(1))
  const first = await call()
  assert.deepEqual(first.event, change(1))
  listener.tell(change(2))
  listener.tell(change(3))
  listener.tell(change(4))
  await settled()
  none()
  first.resolve()
  await settled()
  const second = await call()
  assert.deepEqual(second.event, {scope: 'a', op: 'update', table: 'public.tasks', coalesced: 3})
  listener.tell(change(5))
  second.resolve()
  await settled()
  const third = await call()
  assert.deepEqual(third.event, change(5), 'the only one that came is as it was')
  third.resolve()
  await settled()
  none()
  listener.tell(change(6))
  assert.deepEqual((await call()).event, change(6))
})

test('a listener without a promise gets each event, whatever else it returns', () => {
  for (const result of [undefined, null, 0, 'then', {then: true}]) {
    const heard = []
    const listener = new Listener('a', (event) => (heard.push(event.key.id), result), null)
    for (const id of [1, 2, 3]) listener.tell(change(id))
    assert.deepEqual(heard, [1, 2, 3], `returns ${result}`)
  }
})

test('a thenable is waited for as a promise is', async () => {
  const heard = []
  let go
  const listener = new Listener('a', (event) => (heard.push(event.key.id), {then: (done) => { go = done }}), null)
  listener.tell(change(1))
  listener.tell(change(2))
  await settled()
  assert.deepEqual(heard, [1])
  go()
  await settled()
  assert.deepEqual(heard, [1, 2])
})

test('a listener that failed is reported, and called with a reset after a while', async (t) => {
  const {listener, call, none, errors, timers, elapse} = pending(t)
  listener.tell(change(1))
  for (let i = 0; i < 8; i++) {
    const longest = Math.min(30_000, 1000 * 2 ** i)
    ;(await call()).reject(new Error(`no ${i}`))
    await settled()
    none()
    assert.equal(errors[i], `no ${i}`)
    assert.ok(timers[0].ms >= longest / 2 && timers[0].ms <= longest, `wait ${i} of ${timers[0].ms} ms, want ${longest / 2} to ${longest}`)
    elapse()
  }
  const last = await call()
  assert.deepEqual(last.event, failed)
  last.resolve()
  await settled()
  assert.equal(timers.length, 0, 'timers after a success')
  listener.tell(change(2))
  const next = await call()
  assert.deepEqual(next.event, change(2))
  next.reject(new Error('again'))
  await settled()
  assert.ok(timers[0].ms <= 1000, `after a success the wait is ${timers[0].ms} ms, want at most 1000`)
})

test('waits after a failure differ', async (t) => {
  const {listener, call, timers, elapse} = pending(t)
  const waits = new Set()
  for (let i = 0; i < 10; i++) {
    listener.tell(change(1))
    ;(await call()).reject(new Error())
    await settled()
    waits.add(timers[0].ms)
    elapse()
    ;(await call()).resolve()
    await settled()
  }
  assert.ok(waits.size > 1, `all are ${[...waits]}`)
})

test('an event brings the reset after a failure sooner', async (t) => {
  const {listener, call, none, timers} = pending(t)
  listener.tell(change(1))
  ;(await call()).reject(new Error())
  await settled()
  none()
  listener.tell(change(2)) // while it waits
  assert.equal(timers.length, 0, 'timers')
  const second = await call()
  assert.deepEqual(second.event, {...failed, coalesced: 2})
  listener.tell(change(3)) // while the call is under way that fails
  second.reject(new Error())
  await settled()
  assert.equal(timers.length, 0, 'timers')
  assert.deepEqual((await call()).event, failed)
})

test('a listener that has ended is never called again', async (t) => {
  for (const settle of ['resolve', 'reject']) {
    const {listener, call, none, timers, errors} = pending(t)
    listener.tell(change(1))
    const first = await call()
    listener.tell(change(2))
    listener.end()
    first[settle](new Error('late'))
    listener.tell(change(3))
    await settled()
    none()
    assert.equal(timers.length, 0, 'timers')
    assert.deepEqual(errors, settle === 'reject' ? ['late'] : [])
  }
  const {listener, call, none, timers} = pending(t)
  listener.tell(change(1))
  ;(await call()).reject(new Error())
  await settled()
  assert.equal(timers.length, 1, 'timers')
  listener.end()
  listener.tell(change(2))
  none()
  assert.equal(timers.length, 0, 'timers')
})

// As TestMergedEventClaimsNothingUntrueOfEither of sse has it.
for (const [name, events, want] of [
  ['one row', [change(1, {at: '1', changed: ['a']}), change(1, {at: '2', changed: ['a']})], change(1, {at: '2', changed: ['a'], coalesced: 2})],
  ['columns', [change(1, {changed: ['b', 'c']}), change(1, {changed: ['a', 'b']})], change(1, {changed: ['a', 'b', 'c'], coalesced: 2})],
  ['unknown columns', [change(1, {changed: ['a']}), change(1)], change(1, {coalesced: 2})],
  ['an insert, then an update', [change(1, {op: 'insert'}), change(1, {changed: ['a']})], change(1, {coalesced: 2})],
  ['two rows', [change(1), change(2, {data: {a: 1}, moved: 'out'})], {scope: 'a', op: 'update', table: 'public.tasks', coalesced: 2}],
  ['two tables', [change(1, {table: 'public.notes'}), change(1)], {scope: 'a', op: 'update', coalesced: 2}],
  ['rows without a key', [{scope: 'a', op: 'insert', table: 't', data: 1}, {scope: 'a', op: 'insert', table: 't', data: 2}], {scope: 'a', op: 'insert', table: 't', coalesced: 2}],
  ['published twice', [{scope: 'a', op: 'publish', data: 1}, {scope: 'a', op: 'publish', data: 2}], {scope: 'a', op: 'publish', data: 2, coalesced: 2}],
  ['a change, then published', [change(1), {scope: 'a', op: 'publish', data: 2}], {scope: 'a', op: 'publish', coalesced: 2}],
  ['one origin', [change(1, {origin: 'x'}), change(1, {origin: 'x'})], change(1, {origin: 'x', coalesced: 2})],
  ['two origins', [change(1, {origin: 'x'}), change(1, {origin: 'y'})], change(1, {coalesced: 2})],
  ['moved in, then changed', [change(1, {moved: 'in'}), change(1)], change(1, {moved: 'in', coalesced: 2})],
  ['moved in, then deleted', [change(1, {moved: 'in'}), change(1, {op: 'delete'})], change(1, {op: 'delete', coalesced: 2})],
  ['moved in, then out', [change(1, {moved: 'in'}), change(1, {moved: 'out'})], change(1, {moved: 'out', coalesced: 2})],
  ['what stands for several', [change(1, {coalesced: 3}), change(1, {coalesced: 4})], change(1, {coalesced: 7})],
  ['a reset first', [{scope: 'a', op: 'reset', reason: 'x'}, change(1)], {scope: 'a', op: 'reset', reason: 'x', coalesced: 2}],
  ['a reset last', [change(1), {scope: 'a', op: 'reset', reason: 'x'}], {scope: 'a', op: 'reset', reason: 'x', coalesced: 2}],
  ['two resets', [{scope: 'a', op: 'reset', reason: 'x'}, {scope: 'a', op: 'reset', reason: 'y'}], {scope: 'a', op: 'reset', reason: 'y', coalesced: 2}],
]) {
  test(`what came meanwhile: ${name}`, async (t) => {
    const {listener, call} = pending(t)
    listener.tell(change(0))
    const copies = structuredClone(events)
    for (const event of copies) listener.tell(event)
    ;(await call()).resolve()
    await settled()
    assert.deepEqual((await call()).event, want)
    assert.deepEqual(copies, events, 'the events, which others have too')
  })
}

test('an older answer does not overtake a newer one', async (t) => {
  const server = await serve(t)
  const bell = connect(server.url)
  t.after(() => bell.close())
  const fetches = new Queue()
  let rows = 1
  let shown = 0
  const off = bell.on('a', async () => {
    const read = rows
    await new Promise((answer) => fetches.put(answer))
    shown = read
  })
  const each = new Queue()
  bell.on('a', (event) => each.put(event.n ?? event.op))
  const stream = (await server.next('a')).open('c1')
  const slow = await fetches.next('the first fetch')
  await each.next()
  rows = 2
  stream.change('a', 'c2', {n: 2}).change('a', 'c3', {n: 3})
  assert.deepEqual([await each.next(), await each.next()], [2, 3], 'another listener does not wait')
  assert.equal(fetches.length, 0, 'fetches at the same time')
  slow()
  ;(await fetches.next('another fetch'))()
  await settled()
  assert.equal(shown, 2)

  stream.change('a', 'c4', {n: 4})
  const last = await fetches.next('the last fetch')
  stream.change('a', 'c5', {n: 5})
  assert.deepEqual([await each.next(), await each.next()], [4, 5])
  off()
  last()
  await settled()
  assert.equal(fetches.length, 0, 'fetches after off()')
})

test('a closed connection calls nobody again', async (t) => {
  const server = await serve(t)
  const bell = connect(server.url)
  t.after(() => bell.close())
  const calls = new Queue()
  bell.on('a', () => new Promise((_, reject) => calls.put(reject)))
  ;(await server.next('a')).open('c1')
  const reject = await calls.next('a call')
  bell.close()
  const {timers} = pending(t)
  reject(new Error())
  await settled()
  assert.equal(timers.length, 0, 'timers after close()')
})

test('on without a function throws at once, and asks for nothing', async (t) => {
  const server = await serve(t)
  const bell = connect(server.url)
  t.after(() => bell.close())
  for (const fn of [undefined, null, {}, 'refetch']) assert.throws(() => bell.on('b', fn), TypeError)
  bell.on('a', () => {})
  await server.next('a')
})
