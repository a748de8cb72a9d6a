// Whether anybody can still connect to a listener that a plugin was given: refused is shut down, a hang is so twice in a row, and what
// nobody has listened on yet is neither.

import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { maxVisitMs } from '../../../../plugin/telemetry/visitors.ts';
import type { Clock } from '../../../../shared/time/clock.ts';
import type { BoundTcp } from '../../../../supervisor/custody/bound-handle.ts';
import { createListenerLook } from '../../../../supervisor/custody/listener-look.ts';
import type { Listeners } from '../../../../supervisor/custody/listeners.ts';

/** An answer comes, however busy this host is. */
const patient: Pick<Clock, 'after'> = { after: () => () => {} };
/** Every connect hangs: its time is over before its answer. */
const hanging = (limits: number[]): Pick<Clock, 'after'> => ({
  after: (ms, run) => {
    limits.push(ms);
    queueMicrotask(run);
    return () => {};
  },
});

async function listen(server: Server, at: string | number): Promise<Server> {
  await new Promise<void>((resolve) => {
    if (typeof at === 'string') server.listen(at, resolve);
    else server.listen(at, '127.0.0.1', resolve);
  });
  return server;
}

const close = (server: Server) => new Promise<unknown>((resolve) => server.close(resolve));

/** A socket and one port, bound and served. */
async function createBench() {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-look-'));
  const path = join(directory, 'kms.sock');
  const ends = new Set<Socket>();
  const server = () =>
    createServer((socket) => {
      socket.on('error', () => {});
      socket.once('close', () => ends.add(socket));
      socket.resume();
    });
  const socketServer = await listen(server(), path);
  const portServer = await listen(server(), 0);
  const address = portServer.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const handle = () => ({ fd: 9, close: () => {} });
  const metrics: BoundTcp = { handle: handle(), host: '127.0.0.1', port };
  const socket = { handle: handle(), isOurs: () => true, removeName: () => {} };
  const listeners: Listeners = { socket, metrics, health: undefined };
  const end = async () => {
    await Promise.all([socketServer, portServer].filter(({ listening }) => listening).map(close));
    rmSync(directory, { recursive: true, force: true });
  };
  return { path, listeners, metrics, socketServer, portServer, ends, end };
}

async function withBench(run: (bench: Awaited<ReturnType<typeof createBench>>) => Promise<void>): Promise<void> {
  const bench = await createBench();
  try {
    await run(bench);
  } finally {
    await bench.end();
  }
}

test('while somebody listens nothing was shut down, and the connections of the look end by themselves', () =>
  withBench(async ({ path, listeners, ends }) => {
    const look = createListenerLook(patient);
    look.served(listeners);
    assert.is(await look.isSocketShut(listeners, path), false);
    for (const when of ['launch', 'resting'] as const) assert.equal(await look.shutPorts(listeners, when), []);
    for (let tries = 0; tries < 400 && ends.size < 3; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 5));
    assert.is(ends.size, 3);
  }));

test('what refuses was shut down, at a launch as at a look, once it was served', () =>
  withBench(async ({ path, listeners, socketServer, portServer }) => {
    const look = createListenerLook(patient);
    // A name without a listener refuses; the name itself stays.
    renameSync(path, `${path}.kept`);
    await Promise.all([close(socketServer), close(portServer)]);
    renameSync(`${path}.kept`, path);
    assert.equal([await look.isSocketShut(listeners, path), await look.shutPorts(listeners, 'resting')], [false, []]);
    look.served(listeners);
    assert.is(await look.isSocketShut(listeners, path), true);
    assert.equal(await look.shutPorts(listeners, 'launch'), ['metrics']);
    assert.equal(await look.shutPorts(listeners, 'resting'), ['metrics']);
  }));

test('another error than a refusal says nothing against a listener', () =>
  withBench(async ({ path, listeners }) => {
    const look = createListenerLook(patient);
    look.served(listeners);
    assert.is(await look.isSocketShut(listeners, `${path}.missing`), false);
  }));

test('a connect that hangs counts for a port at the second look in a row, never before a launch, never for the socket', () =>
  withBench(async ({ path, listeners, metrics }) => {
    const limits: number[] = [];
    let isHanging = true;
    const slow = hanging(limits);
    const look = createListenerLook({ after: (ms, run) => (isHanging ? slow : patient).after(ms, run) });
    look.served(listeners);
    assert.is(await look.isSocketShut(listeners, path), false);
    for (let count = 0; count < 3; count += 1) assert.equal(await look.shutPorts(listeners, 'launch'), []);
    assert.equal(limits, [1_000, 100, 100, 100]);
    assert.equal(await look.shutPorts(listeners, 'resting'), []);
    isHanging = false;
    assert.equal(await look.shutPorts(listeners, 'resting'), [], 'an answer ends the row');
    isHanging = true;
    assert.equal(await look.shutPorts(listeners, 'resting'), []);
    assert.equal(await look.shutPorts(listeners, 'resting'), ['metrics']);
    const anew = { ...listeners, metrics: { ...metrics, handle: { fd: 10, close: () => {} } } };
    assert.equal(await look.shutPorts(anew, 'resting'), [], 'one that was bound anew was not served yet');
  }));

test('while a plugin serves, a port whose requests nobody answers counts at the second look in a row; any answer will do', () =>
  withBench(async ({ listeners, portServer }) => {
    let answer: (socket: Socket) => void = () => {};
    portServer.on('connection', (socket) => answer(socket));
    // The time of the look is over only for who does not answer.
    const look = createListenerLook({
      after: (_, run) => {
        const timer = setTimeout(run, 300);
        return () => clearTimeout(timer);
      },
    });
    look.served(listeners);
    assert.equal(await look.shutPorts(listeners, 'serving'), []);
    for (const answers of [(socket: Socket) => socket.write('HTTP'), (socket: Socket) => socket.end()]) {
      answer = answers;
      assert.equal(await look.shutPorts(listeners, 'serving'), []);
      answer = () => {};
      assert.equal(await look.shutPorts(listeners, 'serving'), [], 'an answer ended the row');
    }
    look.served(listeners);
    assert.equal(await look.shutPorts(listeners, 'serving'), [], 'another plugin begins anew');
    assert.equal(await look.shutPorts(listeners, 'serving'), ['metrics']);
    assert.equal(await look.shutPorts(listeners, 'resting'), [], 'without a plugin nobody has to answer');
  }));

test('who waits for an answer gives up before the plugin closes a connection on which it heard nothing', () =>
  withBench(async ({ listeners }) => {
    const limits: number[] = [];
    const look = createListenerLook(hanging(limits));
    look.served(listeners);
    await look.shutPorts(listeners, 'serving');
    assert.is(limits.length, 1);
    assert.ok((limits[0] ?? 0) <= maxVisitMs - 1_000, `${limits} ms`);
  }));

test.run();
