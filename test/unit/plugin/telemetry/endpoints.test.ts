// The diagnostics over a real connection: what a client gets, whatever it sends and however it reads.

import net, { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  createHealthEndpoint,
  createMetricsEndpoint,
  type HttpEndpoint,
  sharedTextMs,
} from '../../../../plugin/telemetry/endpoints.ts';
import { heardMs } from '../../../../plugin/telemetry/visitors.ts';
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts';

type Handle = { readonly fd: number; readonly getsockname: (out: { port?: number }) => number };
type Bench = {
  readonly clock: FakeClock;
  readonly reached: string[];
  readonly port: number;
  readonly endpoint: HttpEndpoint;
};

async function withEndpoint(
  create: (deps: { clock: FakeClock; reached: (name: string) => void }) => HttpEndpoint,
  run: (bench: Bench) => Promise<void>,
): Promise<void> {
  const clock = createFakeClock();
  const reached: string[] = [];
  const endpoint = create({ clock, reached: (name) => void reached.push(name) });
  const bind = Reflect.get(net, '_createServerHandle') as (host: string, port: number, family: number) => Handle;
  const handle = bind('127.0.0.1', 0, 4);
  const found: { port?: number } = {};
  handle.getsockname(found);
  const port = found.port ?? 0;
  await endpoint.listen(handle.fd, { host: '127.0.0.1', port });
  try {
    await run({ clock, reached, port, endpoint });
  } finally {
    void endpoint.close();
  }
}

/** Sends it and reads until the end. */
function ask(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk.toString();
    });
    socket.once('error', reject);
    socket.once('close', () => resolve(answer));
  });
}

/** Sends it, says that nothing more comes, and reads until the end. */
function askAndEnd(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => socket.end(text));
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk.toString();
    });
    socket.once('error', reject);
    socket.once('close', () => resolve(answer));
  });
}

const open = (port: number) =>
  new Promise<Socket>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', () => {});
  });
const get = (path: string, method = 'GET') => `${method} ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3})/u.exec(answer)?.[1]);
const withMetrics = (text: () => Promise<string>, run: (bench: Bench) => Promise<void>) =>
  withEndpoint((deps) => createMetricsEndpoint(deps, text), run);
const withHealth = (run: (bench: Bench) => Promise<void>) =>
  withEndpoint(
    (deps) =>
      createHealthEndpoint(
        deps,
        () => true,
        () => {
          throw new Error('no facts');
        },
      ),
    run,
  );

test('each path and method has its status, and every answer closes the connection', () =>
  withHealth(async ({ port }) => {
    const asked: readonly (readonly [string, number])[] = [
      [get('/live'), 200],
      [get('/live?verbose'), 200],
      [get('/ready'), 503],
      [get('/metrics'), 404],
      [get('/live', 'POST'), 405],
      ['nonsense\r\n\r\n', 400],
      [`GET /live HTTP/1.1\r\nx: ${'a'.repeat(9_000)}\r\n\r\n`, 431],
    ];
    for (const [text, status] of asked) {
      const answer = await ask(port, text);
      assert.is(statusOf(answer), status, text.slice(0, 40));
      assert.match(answer, /\r\nconnection: close\r\n/u);
    }
  }));

test('HEAD gets the length and no body', () =>
  withHealth(async ({ port }) => {
    const answer = await ask(port, get('/live', 'HEAD'));
    assert.match(answer, /\r\ncontent-length: 15\r\n/u);
    assert.ok(answer.endsWith('\r\n\r\n'));
  }));

test('a request that comes byte by byte is answered', () =>
  withHealth(async ({ port }) => {
    const socket = await open(port);
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk.toString();
    });
    const closed = new Promise((resolve) => socket.once('close', resolve));
    for (const byte of get('/live')) {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await closed;
    assert.is(statusOf(answer), 200);
  }));

test('one text serves everybody who asks within a second, and the next one is new', () => {
  let renderings = 0;
  const text = async () => {
    renderings += 1;
    return `n ${renderings}\n`;
  };
  return withMetrics(text, async ({ clock, port }) => {
    const answers = await Promise.all([1, 2, 3].map(() => ask(port, get('/metrics'))));
    assert.ok(answers.every((answer) => answer.endsWith('n 1\n')));
    await clock.advance(sharedTextMs - 1);
    assert.ok((await ask(port, get('/metrics'))).endsWith('n 1\n'));
    await clock.advance(1);
    assert.ok((await ask(port, get('/metrics'))).endsWith('n 2\n'));
    assert.is(renderings, 2);
  });
});

test('a text that cannot be made is an answer too', () =>
  withMetrics(
    () => Promise.reject(new Error('secret')),
    async ({ port }) => {
      const answer = await ask(port, get('/metrics'));
      assert.is(statusOf(answer), 500);
      assert.not.match(answer, /secret/u);
    },
  ));

test('a client that says nothing more gets its answer when it has asked, and is ended at once when it has not', () =>
  withMetrics(
    async () => 'text\n',
    async ({ clock, port }) => {
      assert.is(statusOf(await askAndEnd(port, get('/metrics'))), 200);
      let isEnded = false;
      const silent = askAndEnd(port, 'GET /metr').then((answer) => {
        isEnded = true;
        return answer;
      });
      for (let turn = 0; turn < 100 && !isEnded; turn += 1) await clock.settle();
      assert.ok(isEnded, 'without waiting for the end of its visit');
      assert.is(await silent, '');
    },
  ));

test('a client that reads slowly gets all of a long answer; the time after it begins when it is sent', () => {
  const long = 'x'.repeat(32 * 1024 * 1024);
  return withMetrics(
    async () => long,
    async ({ clock, port }) => {
      const socket = await open(port);
      socket.pause();
      socket.write(get('/metrics'));
      await clock.advance(1_000);
      let sizeBytes = 0;
      socket.on('data', (chunk) => {
        sizeBytes += chunk.length;
      });
      socket.resume();
      await new Promise((resolve) => socket.once('end', resolve));
      assert.ok(sizeBytes > long.length, `${sizeBytes} bytes`);
      socket.destroy();
    },
  );
});

test('when the listener closes, who has asked gets the answer and who asks at once too; who says nothing is ended', async () => {
  const answered = Promise.withResolvers<string>();
  await withMetrics(
    () => answered.promise,
    async ({ endpoint, clock, port }) => {
      const silent = await open(port);
      const ended = new Promise((resolve) => silent.once('close', resolve));
      const late = await open(port);
      let text = '';
      late.on('data', (chunk) => {
        text += chunk.toString();
      });
      const lateEnded = new Promise((resolve) => late.once('close', resolve));
      const asking = ask(port, get('/metrics'));
      await clock.settle();
      const closed = endpoint.close();
      late.write(get('/metrics'));
      await clock.settle();
      await clock.advance(heardMs);
      await ended;
      answered.resolve('late\n');
      assert.ok((await asking).endsWith('late\n'));
      await lateEnded;
      assert.ok(text.endsWith('late\n'));
      await closed;
    },
  );
});

test.run();
