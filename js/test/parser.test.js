import assert from 'node:assert/strict'
import {test} from 'node:test'
import {canonical, Parser} from '../pgbell.js'

// frames parses bytes that come in pieces.
function frames(...pieces) {
  const seen = []
  const parser = new Parser((frame) => seen.push({...frame}), (ms) => seen.push(ms))
  for (const piece of pieces) parser.push(piece)
  return seen
}

const bytes = (text) => new TextEncoder().encode(text)
const f = (data, id = '', type = 'message') => ({type, data, id})

for (const [name, text, want] of [
  ['one line of data', 'data: a\n\n', [f('a')]],
  ['lines of data are joined', 'data: a\ndata:b\ndata\n\n', [f('a\nb\n')]],
  ['CR ends a line', 'data: a\rdata: b\r\rdata: c\r\r', [f('a\nb'), f('c')]],
  ['CRLF is one end', 'data: a\r\ndata: b\r\n\r\n', [f('a\nb')]],
  ['ends are mixed', 'data: a\r\n\ndata: b\n\r\n', [f('a'), f('b')]],
  ['one blank is dropped', 'data:  a\n\ndata:b\n\n', [f(' a'), f('b')]],
  ['a byte order mark is dropped once', '\ufeffdata: a\n\n\ufeffdata: b\n\ndata: c\n\n', [f('a'), f(null), f('c')]],
  ['comments are nothing', ':\n\n: x\ndata: a\n:\n\n', [f(null), f('a')]],
  ['an id stays', 'id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n', [f('a', '1'), f('b', '1'), f('c')]],
  ['an id moves without data', 'id: 7\n\n', [f(null, '7')]],
  ['an id with NUL is ignored', 'id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n', [f('a', '1'), f('b', '1')]],
  ['an event has its name once', 'event: x\ndata: a\n\ndata: b\n\n', [f('a', '', 'x'), f('b')]],
  ['a name is gone without data', 'event: x\n\ndata: b\n\n', [f(null, '', 'x'), f('b')]],
  ['retry is digits', 'retry: 25\nretry: 2s\nretry: -1\nretry:\n\n', [25, f(null)]],
  ['fields have exact names', 'Data: a\ndata : b\n data: c\nx: y\ndata: d\n\n', [f('d')]],
  ['what has no end is nothing', 'data: a\n\ndata: b\n', [f('a')]],
  ['text is UTF-8', 'data: é€😀\u2028\n\n', [f('é€😀\u2028')]],
  ['colons may follow', 'data: a:b: c\n\n', [f('a:b: c')]],
]) {
  test(`parser: ${name}, in whatever pieces`, () => {
    const all = bytes(text)
    assert.deepEqual(frames(all), want)
    assert.deepEqual(frames(...Array.from(all, (b) => Uint8Array.of(b))), want, 'byte by byte')
    for (let i = 0; i <= all.length; i++) {
      for (let j = i; j <= all.length; j++) {
        assert.deepEqual(frames(all.slice(0, i), all.slice(i, j), all.slice(j)), want, `split at ${i} and ${j}`)
      }
    }
  })
}

test('parser: bytes that are no UTF-8 spoil no other', () => {
  assert.deepEqual(frames(Uint8Array.of(0x64, 0x61, 0x74, 0x61, 0x3a, 0xff, 0x0a, 0x0a), bytes('data: a\n\n')), [f('\ufffd'), f('a')])
})

// The same table as in journal/scope_test.go.
test('scopes are brought to the server’s form', () => {
  for (const [scope, want] of Object.entries({
    'a b': 'a%20b',
    '100%': '100%25',
    '%4': '%254',
    '%41': '%41',
    '%e2%82%ac': '%E2%82%AC',
    '€': '%E2%82%AC',
    '%%41': '%25%41',
    '%zz': '%25zz',
    'a,b;c': 'a%2Cb%3Bc',
    'x\r\ndata: y': 'x%0D%0Adata:%20y',
    '\0': '%00',
    'ſ\u212a😀': '%C5%BF%E2%84%AA%F0%9F%98%80',
    'user:{id}': 'user:%7Bid%7D',
    'project:7/task:9': 'project:7/task:9',
    'A_z.:@/+=~-': 'A_z.:@/+=~-',
  })) {
    assert.equal(canonical(scope), want)
    assert.equal(canonical(want), want)
  }
  for (const bad of ['', 'ready', 'close', 'message', 'x'.repeat(257), '€'.repeat(29)]) assert.throws(() => canonical(bad), TypeError)
})
