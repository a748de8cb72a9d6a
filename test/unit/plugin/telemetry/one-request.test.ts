// What is read of a client of the diagnostics: one request, of bounded size, whatever stands behind it.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { maxHeadBytes, readRequest } from '../../../../plugin/telemetry/one-request.ts';

const read = (text: string) => readRequest(Buffer.from(text, 'latin1'));

test('a request is known when its head has ended, and not before', () => {
  const head = 'GET /ready?verbose HTTP/1.1\r\nhost: localhost\r\n\r\n';
  for (let length = 0; length < head.length; length += 1) assert.is(read(head.slice(0, length)), 'incomplete');
  assert.equal(read(head), { method: 'GET', path: '/ready', isFollowed: false });
});

test('bare line feeds end lines too', () => {
  for (const end of ['\n\n', '\r\n\n', '\n\r\n']) {
    assert.equal(
      read(`HEAD /live HTTP/1.0${end}`),
      { method: 'HEAD', path: '/live', isFollowed: false },
      JSON.stringify(end),
    );
  }
});

test('what stands behind the head is noticed and not read', () => {
  const request = 'GET /metrics HTTP/1.1\r\n\r\n';
  assert.equal(read(request.repeat(1_500)), { method: 'GET', path: '/metrics', isFollowed: true });
});

test('a head beyond the bound is refused, ended or not', () => {
  const start = 'GET /live HTTP/1.1\r\nx: ';
  const longest = `${start}${'a'.repeat(maxHeadBytes - start.length - 4)}\r\n\r\n`;
  assert.equal(read(longest), { method: 'GET', path: '/live', isFollowed: false });
  assert.is(read(longest.replace('\r\n\r\n', 'a\r\n\r\n')), 'too_large');
  assert.is(read('a'.repeat(maxHeadBytes)), 'incomplete');
  assert.is(read('a'.repeat(maxHeadBytes + 1)), 'too_large');
});

for (const line of [
  '',
  'GET /live',
  'GET  /live HTTP/1.1',
  'get /live HTTP/1.1',
  'GET /live HTTP/2.0',
  'PRI * HTTP/2.0',
]) {
  test(`no request: ${JSON.stringify(line)}`, () => {
    assert.is(read(`${line}\r\n\r\n`), 'malformed');
  });
}

test.run();
