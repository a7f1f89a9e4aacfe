import assert from 'node:assert/strict'
import {webcrypto} from 'node:crypto'
import {test} from 'node:test'
import {connect, timing} from '../pgbell.js'
import {listen, Locks, Queue, serve, until} from './fake.js'

Object.assign(timing, {retry: 10, cap: 50, again: 10, silence: 4000, beat: 0, quiet: 1500, look: 300, grace: 1000})

const ann = {id: 1, name: 'Ann'}
const bob = {id: 2, name: 'Bob'}
const cid = {id: 3, name: 'Cid'}

// show returns a queue of the rows that live() gives, as JSON, and of the reasons why there are none.
function show(bell, name, args) {
  const shown = new Queue()
  shown.off = bell.live(name, args, (rows) => shown.put(JSON.stringify(rows)), (reason) => shown.put(reason))
  return shown
}

const rows = (stream, live, all, id) => stream.frame('live:' + live, {live, op: 'rows', key: ['id'], rows: all}, id)

test('live gives the rows, and those that a difference makes of them', async (t) => {
  const server = await serve(t)
  const bell = connect(server.url)
  t.after(() => bell.close())
  const shown = show(bell, 'board', {p: 7, 'ä': "a b'"})
  const live = "board?p=7&%C3%A4=a%20b%27"
  const stream = await server.next()
  assert.deepEqual([stream.query.getAll('live'), stream.query.get('rows'), stream.query.get('whole')], [[live], 'delta', null])
  rows(stream, live, [ann, bob])
  stream.open('c1')
  assert.equal(await shown.next(), JSON.stringify([ann, bob]))
  await until(bell, 'open')
  stream.frame('live:' + live, {live, op: 'delta', set: [cid]}, 'c2')
  assert.equal(await shown.next(), JSON.stringify([ann, bob, cid]))
  stream.frame('live:' + live, {live, op: 'delta', gone: [1], set: [{id: 2, name: 'Bo'}], order: [3, 2]}, 'c3')
  assert.equal(await shown.next(), JSON.stringify([cid, {id: 2, name: 'Bo'}]))
  // It comes back with the rows of its last id.
  stream.cut()
  const again = (await server.next()).open('c3')
  assert.deepEqual([again.query.get('since'), again.query.get('whole')], ['c3', null])
  again.frame('live:' + live, {live, op: 'delta', gone: [3]}, 'c4')
  assert.equal(await shown.next(), JSON.stringify([{id: 2, name: 'Bo'}]))
  // After a reset it has none.
  again.frame('live:' + live, {live, op: 'reset', reason: 'it failed'}, 'c5')
  assert.equal(await shown.next(), 'it failed')
  again.cut()
  const third = (await server.next()).open('c5')
  assert.deepEqual(third.query.getAll('whole'), [live])
  rows(third, live, [ann], 'c5')
  assert.equal(await shown.next(), JSON.stringify([ann]))
  assert.equal(shown.length, 0)
})

test('keys are of one column, of several, or whole rows', async (t) => {
  const server = await serve(t)
  const bell = connect(server.url)
  t.after(() => bell.close())
  const shown = show(bell, 'f')
  const stream = await server.next()
  const a = {a: 1, b: 2}
  const b = {a: 1, b: 3}
  for (const [key, gone] of [[undefined, a], [['a', 'b'], [1, 2]], [['b'], 2]]) {
    stream.frame('live:f', {live: 'f', op: 'rows', key, rows: [a, b]})
    assert.equal(await shown.next(), JSON.stringify([a, b]))
    stream.frame('live:f', {live: 'f', op: 'delta', gone: [gone]})
    assert.equal(await shown.next(), JSON.stringify([b]))
  }
})

test('one that is asked for later gets all rows, also one that was asked for before', async (t) => {
  const server = await serve(t)
  const bell = connect(server.url)
  t.after(() => bell.close())
  listen(bell, 'a')
  ;(await server.next('a')).open('c1')
  await until(bell, 'open')
  const first = show(bell, 'f')
  const two = (await server.next('a')).open('c1')
  assert.deepEqual([two.query.getAll('live'), two.query.getAll('whole')], [['f'], ['f']])
  rows(two, 'f', [ann], 'c2')
  assert.equal(await first.next(), JSON.stringify([ann]))
  // Another listener needs nobody but this tab.
  const second = show(bell, 'f')
  assert.equal(await second.next(), JSON.stringify([ann]))
  first.off()
  second.off()
  show(bell, 'g')
  const three = (await server.next('a')).open('c2')
  assert.deepEqual([three.query.getAll('live'), three.query.getAll('whole')], [['g'], ['g']])
  show(bell, 'f')
  const four = (await server.next('a')).open('c9')
  assert.deepEqual(four.query.getAll('whole').sort(), ['f', 'g'])
})

test('what fails to show rows is given the latest again', async (t) => {
  const server = await serve(t)
  const bell = connect(server.url)
  t.after(() => bell.close())
  globalThis.reportError = () => {}
  const calls = new Queue()
  bell.live('f', {}, (all) => new Promise((resolve, reject) => calls.put({all, resolve, reject})))
  const heard = listen(bell, 'a')
  const stream = await server.next('a')
  rows(stream, 'f', [ann])
  stream.open('c1')
  const one = await calls.next()
  assert.equal(await heard.next(), 'reset joined')
  rows(stream, 'f', [bob])
  stream.change('a', 'c2', {n: 2})
  assert.equal(await heard.next(), 'update 2') // so the rows came
  one.reject(new Error('no room'))
  const two = await calls.next()
  assert.deepEqual([one.all, two.all], [[ann], [bob]])
  two.reject(new Error('no room'))
  const three = await calls.next()
  assert.deepEqual(three.all, [bob])
  three.resolve()
  rows(stream, 'f', [cid], 'c3')
  assert.deepEqual((await calls.next()).all, [cid])
})

test('a reset that nobody asked for is reported', async (t) => {
  const server = await serve(t)
  const bell = connect(server.url)
  t.after(() => bell.close())
  const reported = new Queue()
  globalThis.reportError = (error) => reported.put(error.message)
  bell.live('f', {}, () => {})
  const stream = await server.next()
  stream.frame('live:f', {live: 'f', op: 'reset', reason: 'it is slow'})
  assert.equal(await reported.next(), 'pgbell: f is not live: it is slow')
})

test('what can’t be asked for throws', () => {
  const bell = connect('http://127.0.0.1:1/events')
  const fn = () => {}
  assert.throws(() => bell.live('', {}, fn), TypeError)
  assert.throws(() => bell.live('f', {a: null}, fn), TypeError)
  assert.throws(() => bell.live('f', {a: 'x'.repeat(1024)}, fn), TypeError)
  assert.throws(() => bell.live('f', {}), TypeError)
  for (let i = 0; i < 20; i++) bell.live('f', {i}, fn)
  assert.throws(() => bell.live('f', {i: 20}, fn), RangeError)
  bell.close()
})

test('a tab that joins gets the rows from the one that has the stream, and all go on from a new one', async (t) => {
  const server = await serve(t)
  Object.defineProperty(globalThis, 'navigator', {value: {locks: new Locks()}, configurable: true})
  globalThis.crypto ??= webcrypto // Node 18 has none
  const one = connect(server.url, {key: 'alice'})
  t.after(() => one.close())
  const first = show(one, 'f')
  const stream = await server.next()
  rows(stream, 'f', [ann])
  stream.open('c1')
  assert.equal(await first.next(), JSON.stringify([ann]))
  const two = connect(server.url, {key: 'alice'}) // only now: who comes first leads
  t.after(() => two.close())
  const second = show(two, 'f')
  assert.equal(await second.next(), JSON.stringify([ann]))
  stream.frame('live:f', {live: 'f', op: 'delta', set: [bob]}, 'c2')
  for (const shown of [first, second]) assert.equal(await shown.next(), JSON.stringify([ann, bob]))
  one.close()
  const next = (await server.next()).open('c2')
  assert.deepEqual([next.query.get('since'), next.query.getAll('whole')], ['c2', ['f']])
  rows(next, 'f', [cid], 'c3')
  assert.equal(await second.next(), JSON.stringify([cid]))
  assert.equal(server.waiting, 0)
})
