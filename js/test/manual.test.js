// What docs/javascript.md shows is run, or compared to what it is copied from.
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {test} from 'node:test'
import {connect} from '../pgbell.js'
import {listen, Queue, serve} from './fake.js'

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8')
const blocks = [...read('../../docs/javascript.md').matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, lang, text]) => ({lang, text}))

// run runs the one block that has a text in it, with what it doesn't say by itself.
const tried = new Set()
async function run(part, names) {
  const found = blocks.filter((b) => b.lang === 'js' && b.text.includes(part))
  assert.equal(found.length, 1, `blocks with ${part}`)
  tried.add(found[0])
  const AsyncFunction = (async () => {}).constructor
  await new AsyncFunction(...Object.keys(names), `{${found[0].text}}`)(...Object.values(names))
}

async function open(t) {
  const server = await serve(t)
  const bells = []
  const connectHere = (_, options) => {
    bells.push(connect(server.url, options))
    t.after(() => bells.at(-1).close())
    return bells.at(-1)
  }
  return {server, bells, connectHere}
}

test('manual: a listener is told what happened', async (t) => {
  const {server, connectHere} = await open(t)
  const bell = connectHere()
  const said = new Queue()
  await run("event.op === 'reset'", {bell, log: (text) => said.put(text)})
  await run('bell.onstatus', {bell, log: (text) => said.put(text)})
  const stream = await server.next('project:7')
  stream.open('c1').frame('project:7', {scope: 'project:7', op: 'insert', table: 'public.tasks', key: {id: 1}})
  stream.frame('project:7', {scope: 'project:7', op: 'update', table: 'public.tasks', coalesced: 2})
  stream.frame('project:7', {scope: 'project:7', op: 'publish', data: 1})
  const all = []
  while (all.length < 5) all.push(await said.next())
  assert.deepEqual(all.sort(), ['fetch: joined', 'insert of public.tasks 1', 'live', 'publish of no table ', 'update of public.tasks '])
})

test('manual: a scope comes and goes', async (t) => {
  const {server, connectHere} = await open(t)
  const bell = connectHere()
  const other = listen(bell, 'project:7')
  const off = []
  await run("bell.on('task:9'", {bell: {on: (...args) => { off.push(args[0]); return bell.on(...args) }}, showTask() { assert.fail('it was called') }})
  assert.deepEqual(off, ['task:9'])
  ;(await server.next('project:7')).open('c1')
  await other.next()
})

test('manual: a live query', async (t) => {
  const {server, connectHere} = await open(t)
  const shown = new Queue()
  await run("bell.live('board'", {bell: connectHere(), show: (rows) => shown.put(rows), warn: (text) => shown.put(text)})
  const stream = await server.next()
  stream.frame('live:board?p=7', {live: 'board?p=7', op: 'rows', rows: [{id: 1}]})
  assert.deepEqual(await shown.next(), [{id: 1}])
  stream.frame('live:board?p=7', {live: 'board?p=7', op: 'reset', reason: 'it failed'})
  assert.equal(await shown.next(), 'old: it failed')
})

test('manual: in Node', async (t) => {
  const {server, connectHere} = await open(t)
  const heard = new Queue()
  await run("X-Forwarded-User", {connect: connectHere, log: (op) => heard.put(op)})
  const stream = await server.next('project:7')
  assert.equal(stream.headers['x-forwarded-user'], 'alice')
  stream.open('c1')
  assert.equal(await heard.next(), 'reset')
})

test('manual: a page that knows its cursor', async (t) => {
  const {server, connectHere} = await open(t)
  const rung = new Queue()
  await run('since: cursor', {connect: connectHere, cursor: 'c0', refetch: (e) => rung.put(e.op)})
  const stream = await server.next('project:7')
  assert.equal(stream.query.get('since'), 'c0')
  stream.open('c0').change('project:7', 'c1')
  assert.equal(await rung.next(), 'update')
})

test('manual: signing out', async () => {
  const did = []
  const signOut = {}
  const location = {set href(to) { did.push(to) }}
  await run('signOut.onclick', {signOut, location, bell: {close: () => did.push('closed')}})
  signOut.onclick()
  assert.deepEqual(did, ['closed', '/sign-out'])
})

test('manual: a token', async (t) => {
  const {server, connectHere, bells} = await open(t)
  const modes = []
  const fetchToken = async (path, {cache}) => ({text: async () => `t${modes.push(cache)}`})
  await run('token: async', {connect: connectHere, user: {id: 'alice'}, fetch: fetchToken})
  listen(bells[0], 'a')
  ;(await server.next()).refuse(401, 'bad-credentials')
  assert.equal((await server.next()).headers.authorization, 'Bearer t2')
  assert.deepEqual(modes, ['default', 'reload'])
})

test('manual: EventSource is opened anew when it gives up, and a fetch that fails is made again', async () => {
  const sources = []
  class EventSource extends EventTarget {
    static CLOSED = 2
    readyState = 1
    constructor(url) {
      super()
      assert.equal(url, '/events?scope=project:7')
      sources.push(this)
    }
    close() { this.readyState = 2 }
    ring(name) { this.dispatchEvent(new Event(name)) }
  }
  const later = []
  let fetches = 0
  let fails = false
  const refetch = async () => {
    fetches++
    if (fails) throw new Error('502')
  }
  await run('new EventSource', {EventSource, refetch, setTimeout: (fn) => later.push(fn)})
  sources[0].ring('ready')
  sources[0].ring('project:7')
  sources[0].ring('error') // it comes back by itself
  assert.deepEqual([fetches, later.length], [2, 0])
  sources[0].readyState = 2
  sources[0].ring('error')
  later.shift()()
  assert.equal(sources.length, 2)
  fails = true
  sources[1].ring('project:7')
  await new Promise(setImmediate)
  fails = false
  later.shift()()
  await new Promise(setImmediate)
  assert.deepEqual([fetches, later.length], [4, 0])
  sources[1].ring('close')
  assert.equal(sources[1].readyState, 2)
})

test('manual: integers that no number can hold, without the module', () => {
  const [, text] = read('../../docs/clients.md').match(/^```js\n(const exact = .*?)^```$/ms)
  const exact = new Function(`${text}; return exact`)()
  const data = String.raw`{"key":{"id":9007199254740993},"data":{"n":-3,"f":1234567890123456.5,"say":"\"9007199254740993\\"}}`
  assert.deepEqual(exact(data), {key: {id: '9007199254740993'}, data: {n: -3, f: 1234567890123456.5, say: '"9007199254740993\\'}})
})

test('manual: all that it shows of React is in the example', () => {
  const source = ['live.ts', 'Tasks.tsx', 'main.tsx'].map((name) => read(`../../examples/react/src/${name}`)).join('')
  const shown = blocks.filter((b) => b.lang.startsWith('ts'))
  assert.ok(shown.length > 0)
  for (const {text} of shown) assert.ok(source.includes(text), `not in the example:\n${text}`)
})

test('manual: each block of JavaScript is tried', () => {
  assert.deepEqual(blocks.filter((b) => b.lang === 'js' && !tried.has(b)).map((b) => b.text), [])
  assert.deepEqual([...new Set(blocks.map((b) => b.lang))].sort(), ['html', 'js', 'ts', 'tsx'])
})
