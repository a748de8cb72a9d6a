// What a plugin writes to its standard error: lines of the log go on as its own, everything else is text, and neither much nor
// long nor slow nor wild output costs more than it may.

import { PassThrough } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { logEvents } from '../../../../shared/log/events.ts';
import { parseLogLine, pluginLine } from '../../../../shared/log/relay.ts';
import { readPluginOutput } from '../../../../supervisor/launch/plugin-output.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

const line = { level: 'info', ts: '2026-01-01T00:00:00.000Z', process: 'plugin', name: 'x', message: 'kms.request' };

function bench() {
  const clock = createFakeClock();
  const stream = new PassThrough();
  const said: string[] = [];
  readPluginOutput(stream, clock, {
    event: (event) => said.push(pluginLine(event, '2026-01-01T00:00:01.000Z').trim()),
    text: (text) => said.push(`text ${text}`),
    dropped: (lines) => said.push(`dropped ${lines}`),
  });
  const write = async (text: string | Buffer) => {
    stream.write(text);
    await clock.settle();
  };
  return { clock, stream, said, write };
}

test('a line of the log goes on as one of the plugin, whoever it says it is', async () => {
  const { said, write } = bench();
  await write(`${JSON.stringify({ ...line, process: 'supervisor' })}\n`);

  const { process, ts } = JSON.parse(said[0] ?? '');
  assert.equal([process, ts], ['plugin', '2026-01-01T00:00:01.000Z']);
});

test('under each event that a plugin writes a line goes on, under one of the supervisor it is text', async () => {
  for (const [message, { by }] of Object.entries(logEvents)) {
    const { said, write } = bench();
    const text = JSON.stringify({ ...line, message });
    await write(`${text}\n`);
    if (by === 'supervisor') assert.equal(said, [`text ${text}`]);
    else assert.is(JSON.parse(said[0] ?? '').message, message);
  }
});

test('a line may come in any pieces', async () => {
  const { said, write } = bench();
  for (const byte of Buffer.from(`${JSON.stringify(line)}\nlast`)) await write(Buffer.from([byte]));
  assert.is(said.length, 1);
});

for (const [what, text] of [
  ['a word', 'FATAL ERROR: out of memory'],
  ['JSON that is no object', '[1]'],
  ['JSON that is null', 'null'],
  ['JSON that is a number', '7'],
  ['an unknown member', JSON.stringify({ ...line, secret: 'x' })],
  ['an unknown level', JSON.stringify({ ...line, level: 'fatal' })],
  ['another time', JSON.stringify({ ...line, ts: 'yesterday' })],
  ['a sentence as its event', JSON.stringify({ ...line, message: 'All is well.' })],
  ['a word that is no event', JSON.stringify({ ...line, message: 'kms.answer' })],
  ['a name that every object has', JSON.stringify({ ...line, message: 'constructor' })],
  ['no event', JSON.stringify({ ...line, message: undefined })],
  ['an object as a value', JSON.stringify({ ...line, name: { a: 1 } })],
  ['a list where none belongs', JSON.stringify({ ...line, name: ['a'] })],
] as const) {
  test(`${what} is text`, async () => {
    assert.is(parseLogLine(text), undefined);
    const { said, write } = bench();
    await write(`${text}\n`);
    assert.equal(said, [`text ${text}`]);
  });
}

test('an empty line is nothing; what has no newline is told at the end', async () => {
  const { clock, stream, said, write } = bench();
  await write('\n\nlast words');
  assert.equal(said, []);
  stream.end();
  await clock.settle();
  assert.equal(said, ['text last words']);
});

test('of a line over 8 KiB the begin is kept as text, and the next line is whole', async () => {
  const { said, write } = bench();
  await write(`${JSON.stringify({ ...line, hint: 'x'.repeat(9_000) })}\n${JSON.stringify(line)}\n`);

  assert.is(said.length, 2);
  assert.is(said[0]?.length, 'text '.length + 8_192);
  assert.is(JSON.parse(said[1] ?? '').message, 'kms.request');
});

test('of each long line the same begin is kept, however many there were before', async () => {
  const { said, write } = bench();
  await write(`${'x'.repeat(9_000)}\n`.repeat(3));
  assert.equal(said, Array(3).fill(`text ${'x'.repeat(8_192)}`));
});

test('a line without end holds no more than its begin', async () => {
  const { clock, stream, said, write } = bench();
  for (let count = 0; count < 300; count += 1) await write('x'.repeat(10_000));
  stream.end();
  await clock.settle();
  assert.equal(said, [`text ${'x'.repeat(8_192)}`]);
});

test('200 lines a second go on, the rest is counted and told once a minute', async () => {
  const { clock, said, write } = bench();
  await write('a\n'.repeat(1_000));
  assert.is(said.length, 200);
  await clock.advance(1_000);
  await write('b\n');
  assert.equal(said.slice(200), ['dropped 800', 'text b']);
  await write('c\n'.repeat(300));
  await clock.advance(1_000);
  await write('d\n');
  assert.is(said.filter((text) => text.startsWith('dropped')).length, 1);
  await clock.advance(60_000);
  await write('e\n');
  assert.is(said.filter((text) => text.startsWith('dropped')).length, 2);
});

test('a single line that was dropped is told at the end, and no line that was not', async () => {
  for (const [lines, told] of [
    [200, []],
    [201, ['dropped 1']],
  ] as const) {
    const { clock, stream, said, write } = bench();
    await write('a\n'.repeat(lines));
    stream.end();
    await clock.settle();
    assert.equal(said.slice(200), told);
  }
});

test('a flood of short lines, or of none but newlines, is left in the pipe long before 4 MiB', async () => {
  for (const short of ['\n', 'a\n']) {
    const { clock, stream, said, write } = bench();
    for (let count = 0; count < 2; count += 1) await write(short.repeat(40_000));
    assert.ok(stream.isPaused(), JSON.stringify(short));
    await clock.advance(1_000);
    assert.not.ok(stream.isPaused());
    await write('the next second\n');
    assert.is(said.at(-1), 'text the next second');
  }
});

test('the rest of a line that began too late in its second is no line of the next', async () => {
  const { clock, said, write } = bench();
  await write(`${'\n'.repeat(200)}begin`);
  await write(' middle');
  await clock.advance(1_000);
  await write(' end\n');
  assert.equal(said, ['text begin middle end']);
});

test('more than 4 MiB in a second waits in the pipe', async () => {
  const { clock, stream, write } = bench();
  for (let count = 0; count < 5; count += 1) await write('x'.repeat(1_000_000));
  assert.ok(stream.isPaused());
  await clock.advance(1_000);
  assert.not.ok(stream.isPaused());
});

test.run();
