// A server and a browser's locks, as far as the tests need them.
import assert from 'node:assert/strict'
import {once} from 'node:events'
import {createServer} from 'node:http'

// Queue hands on what is put into it, to who waits for it.
export class Queue {
  #items = []
  #waiting = []

  put(item) {
    if (this.#waiting.length > 0) this.#waiting.shift()(item)
    else this.#items.push(item)
  }

  get length() {
    return this.#items.length
  }

  // next waits for the next item. What does not come is named.
  async next(what = 'something') {
    if (this.#items.length > 0) return this.#items.shift()
    let timer
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`still waiting for ${what}`)), 60_000)))
    const item = new Promise((resolve) => this.#waiting.push(resolve))
    return Promise.race([item, late]).finally(() => clearTimeout(timer))
  }
}

// Stream is a request for a stream, to be answered by the test.
class Stream {
  constructor(request, response) {
    this.response = response
    this.headers = request.headers
    this.url = request.url
    this.query = new URL(request.url, 'http://x').searchParams
    this.scopes = this.query.getAll('scope').sort()
    this.gone = once(response, 'close')
  }

  // open answers as pgbell does.
  open(cursor, scopes = this.scopes) {
    this.begin()
    const live = this.query.getAll('live')
    this.frame('ready', {cursor, scopes, ...(live.length > 0 && {live})}, cursor)
    return this
  }

  begin() {
    if (this.response.headersSent) return
    this.response.writeHead(200, {'Content-Type': 'text/event-stream'})
    this.response.write('retry: 10\n\n')
  }

  frame(type, data, id) {
    this.begin()
    this.response.write(`event: ${type}\n${id ? `id: ${id}\n` : ''}data: ${JSON.stringify(data)}\n\n`)
  }

  change(scope, id, more = {}) {
    this.frame(scope, {scope, op: 'update', ...more}, id)
    return this
  }

  refuse(status, name, more = {}, headers = {}) {
    this.response.writeHead(status, {'Content-Type': 'application/problem+json', ...headers})
    this.response.end(JSON.stringify({type: 'urn:pgbell:problem:' + name, status, detail: name, ...more}))
  }

  end() {
    this.response.end()
  }

  cut() {
    this.response.destroy()
  }
}

// serve starts a server whose streams the test answers.
export async function serve(t) {
  const streams = new Queue()
  const server = createServer((request, response) => {
    const stream = new Stream(request, response)
    if (self.answer) self.answer(stream)
    else streams.put(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const self = {
    answer: null, // takes the streams in the test's place
    url: `http://127.0.0.1:${server.address().port}/events`,
    get waiting() { return streams.length },
    async next(...scopes) {
      const stream = await streams.next(`a request for ${scopes}`)
      if (scopes.length > 0) assert.deepEqual(stream.scopes, scopes.sort())
      return stream
    },
  }
  return self
}

// listen returns a queue of what on() hears, as short texts.
export function listen(bell, scope) {
  const heard = new Queue()
  heard.off = bell.on(scope, (e) => heard.put([e.op, e.reason ?? e.n ?? e.key?.id].filter((x) => x !== undefined).join(' ')))
  return heard
}

// until waits until the status of bell is one.
export async function until(bell, status) {
  if (bell.status === status) return bell.reason
  const before = bell.onstatus
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`still waiting for ${status}: it is ${bell.status}: ${bell.reason}`)), 60_000)
    bell.onstatus = (now, reason) => {
      before?.(now, reason)
      if (now !== status) return
      bell.onstatus = before
      clearTimeout(timer)
      resolve(reason)
    }
  })
}

// Locks are Web Locks (W3C), without modes: https://w3c.github.io/web-locks/
export class Locks {
  #held = new Map()
  #queues = new Map()

  request(name, options, callback) {
    return new Promise((resolve, reject) => {
      const request = {name, callback, resolve, reject}
      if (options.signal?.aborted) return reject(options.signal.reason)
      const queue = this.#queues.get(name) ?? []
      this.#queues.set(name, queue)
      if (options.steal) {
        this.#held.get(name)?.reject(new DOMException('stolen', 'AbortError'))
        this.#held.delete(name)
        queue.unshift(request)
      } else queue.push(request)
      options.signal?.addEventListener('abort', () => {
        if (!queue.includes(request)) return
        queue.splice(queue.indexOf(request), 1)
        reject(options.signal.reason)
      })
      queueMicrotask(() => this.#grant(name))
    })
  }

  #grant(name) {
    const queue = this.#queues.get(name)
    if (this.#held.has(name) || queue.length === 0) return
    const request = queue.shift()
    this.#held.set(name, request)
    Promise.resolve(request.callback({name})).then(request.resolve, request.reject).finally(() => {
      if (this.#held.get(name) === request) this.#held.delete(name)
      this.#grant(name)
    })
  }

  async query() {
    return {held: [...this.#held.keys()].map((name) => ({name}))}
  }
}
