// What the HTTP client does about a node that cannot serve, a connection that fails, a name with several addresses and a
// balancer that behaves badly. Over real TLS connections to played nodes.

import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createAuthorizedSend } from '../../plugin/auth/authorized.ts';
import { createTrust } from '../../plugin/http/tls.ts';
import { createHttp, type Http, type HttpOptions } from '../../plugin/openbao/client.ts';
import { loginOperations, operations } from '../../plugin/openbao/operations.ts';
import { clock, random } from '../../plugin/system.ts';
import { createFakeClock } from '../support/fake-clock.ts';
import { good, type NodeAnswer, type NodeBehaviour, type PlayedNode, sealed, startNode } from '../support/node.ts';
import { createAuthority, createLeaf } from '../support/pki.ts';
import { rejectsClass } from '../support/throws.ts';

const authority = await createAuthority();
const leaf = await createLeaf(authority);
const trust = createTrust({ ca: Buffer.from(authority.pem), tlsServerName: 'localhost' });

function open(port: number, change: Partial<HttpOptions> = {}): Http {
  const address = `https://127.0.0.1:${port}`;
  return createHttp({ address, namespace: '', userAgent: 't', trust, clock, random, connections: 8, ...change });
}

const call = { operation: operations.decrypt, path: 'transit/decrypt/k', token: 's.t', body: {}, timeoutMs: 5_000 };

async function withNode(behaviour: NodeBehaviour, run: (http: Http, node: PlayedNode) => Promise<void>, change = {}) {
  const node = await startNode(leaf, behaviour);
  const http = open(node.port, change);
  try {
    await run(http, node);
  } finally {
    await node.close();
    await http.close();
  }
}

/** Opens this many connections at once and leaves them idle. */
async function warm(http: Http, connections: number): Promise<void> {
  await Promise.all(Array.from({ length: connections }, () => http.send(call)));
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  const endsAtMs = clock.nowMs() + 10_000;
  while (!isTrue()) {
    if (clock.nowMs() > endsAtMs) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const text = (errors: readonly string[]) => JSON.stringify({ errors });
const unable: readonly (readonly [string, NodeAnswer])[] = [
  ['sealed', sealed],
  ['a namespace that is sealed', { status: 503, text: text(['namespace is sealed']) }],
  ['a standby that cannot forward', { status: 307, headers: { location: 'https://10.9.9.9/v1/x' } }],
  ['any other redirect', { status: 301, headers: { location: '/v1/x' } }],
  ['308', { status: 308, headers: { location: '/v1/x' } }],
  ['472', { status: 472 }],
  ['473', { status: 473 }],
  ['a balancer with nobody behind', { status: 502, headers: { 'content-type': 'text/html' }, text: '<html>' }],
  ['503 of a balancer', { status: 503, headers: { 'content-type': 'text/html' }, text: '<html>' }],
  ['504', { status: 504 }],
  ['no active node', { status: 500, text: text(['local node not active but active cluster node not found']) }],
  ['stepping down', { status: 500, text: text(['active context canceled after getting state lock']) }],
  ['not initialised', { status: 500, text: text(['Vault is not initialized']) }],
  ['lagging', { status: 429, headers: { 'retry-after': '1' }, text: text([]) }],
  ['lagging, by its header', { status: 400, headers: { 'x-vault-inconsistent': 'true' }, text: text(['x']) }],
];

for (const [what, answer] of unable) {
  test(`${what}: sent once more on a fresh connection, and the old one and the idle ones are closed`, async () => {
    let isUnable = false;
    await withNode(
      () => {
        if (!isUnable) return good;
        isUnable = false;
        return answer;
      },
      async (http, node) => {
        await warm(http, 3);
        const before = [node.requests(), node.connections()];
        isUnable = true;
        const reply = await http.send(call);

        assert.equal([before, reply.status, reply.wasRepeated], [[3, 3], 200, true]);
        assert.equal([node.requests(), node.connections()], [5, 4]);
        await until(() => node.openConnections() === 1, 'the connections of the node that could not serve');
      },
    );
  });
}

const able: readonly (readonly [string, NodeAnswer])[] = [
  ['a quota', { status: 429, text: text(['request path "x": rate limit quota exceeded']) }],
  ['a quota with headers', { status: 429, headers: { 'retry-after': '1' }, text: text(['rate limit quota exceeded']) }],
  ['a limit of a proxy', { status: 429, headers: { 'content-type': 'text/html' }, text: '<html>' }],
  ['a refusal', { status: 403, text: text(['permission denied']) }],
  ['a plain 500', { status: 500, text: text(['1 error occurred: x']) }],
  ['a key that is not there', { status: 404, text: text([]) }],
  ['a word in a 400', { status: 400, text: text(['Vault is sealed']) }],
];

for (const [what, answer] of able) {
  test(`${what} is an answer of a node that serves: passed on, nothing closed`, async () =>
    withNode(
      ({ count }) => (count > 2 ? answer : good),
      async (http, node) => {
        await warm(http, 2);
        const reply = await http.send(call);

        assert.equal([reply.status, reply.wasRepeated], [answer.status, undefined]);
        assert.equal([node.requests(), node.openConnections()], [3, 2]);
      },
    ));
}

test('a node that cannot serve leaves connections alone that are in use', async () => {
  let finish = () => {};
  await withNode(
    async ({ count }) => {
      if (count === 1) await new Promise<void>((resolve) => (finish = resolve));
      return count === 2 ? sealed : good;
    },
    async (http, node) => {
      const busy = http.send(call);
      await until(() => node.requests() === 1, 'the busy request');
      assert.is((await http.send(call)).status, 200);
      finish();

      assert.equal([(await busy).status, node.requests()], [200, 3]);
    },
  );
});

test('who waits for the connection of a node that cannot serve gets another one', async () =>
  withNode(
    ({ connection }) => (connection === 1 ? sealed : good),
    async (http, node) => {
      const replies = await Promise.all([http.send(call), http.send(call), http.send(call)]);

      assert.equal(
        replies.map(({ status }) => status),
        [200, 200, 200],
      );
      assert.equal([node.requests(), node.connections()], [4, 2]);
    },
    { connections: 1 },
  ));

test('the second try uses a fresh connection, also beside an idle one that is proven', async () => {
  let breakOff = () => {};
  await withNode(
    async ({ count }) => {
      if (count !== 3) return good;
      await new Promise<void>((resolve) => {
        breakOff = resolve;
      });
      return 'reset';
    },
    async (http, node) => {
      await warm(http, 2);
      const breaking = http.send(call);
      await until(() => node.requests() === 3, 'the request that will break off');
      await http.send(call);
      breakOff();

      assert.is((await breaking).status, 200);
      assert.equal([node.requests(), node.connections(), node.openConnections()], [5, 3, 2]);
    },
  );
});

test('an answer that breaks off in the middle is asked for once more', async () =>
  withNode(
    ({ count }) => (count === 1 ? 'half' : good),
    async (http, node) => {
      assert.is((await http.send(call)).status, 200);
      assert.equal([node.requests(), node.connections()], [2, 2]);
    },
  ));

test('when the second try learns nothing, the first cause stands', async () =>
  withNode(
    ({ count }) => (count === 1 ? sealed : 'hang'),
    async (http) => {
      assert.is((await http.send({ ...call, timeoutMs: 300 })).status, 503);
    },
  ));

test('the caller who leaves during the second try is told why', async () =>
  withNode(
    ({ count }) => (count === 1 ? sealed : 'hang'),
    async (http, node) => {
      const leaver = new AbortController();
      const sent = http.send({ ...call, signal: leaver.signal });
      await until(() => node.requests() === 2, 'the second try');
      leaver.abort(new ProviderErrorOfCaller());

      assert.is(await sent.catch((error: unknown) => error), leaver.signal.reason);
    },
  ));

test('a login is not repeated after an answer, nor when it broke off on a fresh connection', async () => {
  const login = { operation: loginOperations.jwt, path: 'auth/jwt/login', body: {}, timeoutMs: 5_000 };
  for (const behaviour of [sealed, 'reset'] as const) {
    await withNode(
      () => behaviour,
      async (http, node) => {
        await http.send(login).catch(() => undefined);
        assert.is(node.requests(), 1);
      },
    );
  }
});

test('a login is repeated when an idle connection proves dead, and a renewal like a read', async () => {
  const login = { operation: loginOperations.jwt, path: 'auth/jwt/login', body: {}, timeoutMs: 5_000 };
  await withNode(
    ({ count }) => (count === 2 ? 'reset' : good),
    async (http, node) => {
      await http.send(login);
      assert.is((await http.send(login)).status, 200);
      assert.is(node.requests(), 3);
    },
  );
  const renewal = { operation: operations.renewSelf, path: 'auth/token/renew-self', body: {}, timeoutMs: 5_000 };
  await withNode(
    ({ count }) => (count === 1 ? sealed : good),
    async (http) => {
      assert.is((await http.send(renewal)).status, 200);
    },
  );
});

test('one call never costs more than two extra requests, a rejected token included', async () => {
  const denied = { status: 403, text: text(['permission denied']) };
  for (const answers of [
    [sealed, denied, sealed, good],
    [denied, sealed, sealed, good],
    [sealed, denied, good, good],
  ]) {
    await withNode(
      ({ count }) => answers[count - 1] ?? good,
      async (http, node) => {
        const tokens = { token: async () => 's.old', recover: async () => 's.new' } as never;
        const record = () => {};
        const send = createAuthorizedSend({ http: () => http, tokens, timeoutMs: 5_000, nowMs: clock.nowMs, record });
        await send({ operation: operations.decrypt, path: 'x', body: {} }).catch(() => undefined);

        assert.is(node.requests(), 3);
      },
    );
  }
});

test('an OpenBao that is sealed as a whole costs a burst of connections and then a trickle', async () => {
  const fake = createFakeClock();
  await withNode(
    () => sealed,
    async (http, node) => {
      for (let count = 0; count < 100; count += 1) assert.is((await http.send(call)).status, 503);
      assert.ok(node.connections() <= 8 * 2 + 1, `${node.connections()} connections`);
      const after = node.connections();
      await fake.advance(1_000);
      for (let count = 0; count < 100; count += 1) await http.send(call);
      assert.ok(node.connections() - after <= 8 + 1, `${node.connections() - after} connections in the next second`);
      assert.ok(node.connections() > after, 'it still looks for another node');
    },
    { clock: fake },
  );
});

class ProviderErrorOfCaller extends Error {}

type Addressed = { readonly nodes: readonly PlayedNode[]; readonly http: Http; readonly port: number };

/** Nodes at 127.0.0.1, 127.0.0.2, … behind one name and port. */
async function withAddresses(
  behaviours: readonly NodeBehaviour[],
  run: (addressed: Addressed) => Promise<void>,
  change: Partial<HttpOptions> = {},
): Promise<void> {
  const first = await startNode(leaf, behaviours[0] ?? (() => good));
  const others = behaviours.slice(1).map((one, index) => startNode(leaf, one, `127.0.0.${index + 2}`, first.port));
  const nodes = [first, ...(await Promise.all(others))];
  const resolve = async () => behaviours.map((_, index) => `127.0.0.${index + 1}`);
  const http = open(first.port, { address: `https://bao.test:${first.port}`, resolve, ...change });
  try {
    await run({ nodes, http, port: first.port });
  } finally {
    await Promise.all(nodes.map((node) => node.close()));
    await http.close();
  }
}

const requestsOf = (nodes: readonly PlayedNode[]) => nodes.map((node) => node.requests());

test('a fresh connection starts with another address than the one that failed last', async () =>
  withAddresses([() => sealed, () => good], async ({ nodes, http }) => {
    for (let count = 0; count < 5; count += 1) assert.is((await http.send(call)).status, 200);
    assert.equal(requestsOf(nodes), [1, 5]);

    for (const node of nodes) node.behaviour = () => 'reset';
    await http.send(call).catch(() => undefined);
    assert.equal(requestsOf(nodes), [2, 6]);
  }));

test('addresses where nobody listens are passed over within one call', async () =>
  withAddresses([() => good, () => good, () => good], async ({ nodes, http }) => {
    await Promise.all([nodes[0]?.close(), nodes[1]?.close()]);

    assert.is((await http.send(call)).status, 200);
    assert.equal(requestsOf(nodes), [0, 0, 1]);
  }));

test('an address that takes connections and says nothing is left for the next one', async () => {
  const silent = await listenTcp((socket) => socket.resume());
  const node = await startNode(leaf, () => good, '127.0.0.2', silent.port);
  const resolve = async () => ['127.0.0.1', '127.0.0.2'];
  const http = open(silent.port, { address: `https://bao.test:${silent.port}`, resolve });

  assert.is((await http.send({ ...call, timeoutMs: 5_000 })).status, 200);
  await http.handshake({ timeoutMs: 5_000 });
  assert.is(node.requests(), 1);

  await node.close();
  await http.close();
  await silent.close();
});

test('a connection that a balancer gave to a silent node gets another beside it', async () => {
  const node = await startNode(leaf, () => good);
  const balancer = await listenTcp((socket, count) => {
    if (count > 1) pass(socket, node.port);
    else socket.resume();
  });
  const http = open(balancer.port);

  await http.handshake({ timeoutMs: 5_000 });

  await http.close();
  await balancer.close();
  await node.close();
});

test('a refused certificate is told, not the address beside it where nobody listens', async () => {
  const stranger = await startNode(await createLeaf(await createAuthority('somebody else')), () => good, '127.0.0.2');
  const resolve = async () => ['127.0.0.3', '127.0.0.2'];
  const http = open(stranger.port, { address: `https://bao.test:${stranger.port}`, resolve });

  await rejectsClass(http.handshake({ timeoutMs: 5_000 }), 'bao_tls_failed');
  await rejectsClass(http.send(call), 'bao_tls_failed');

  await http.close();
  await stranger.close();
});

test('the deadline bounds the resolver, the TCP connection, the handshake and the queue', async () => {
  const silent = await listenTcp((socket) => socket.resume());
  const never = () => new Promise<readonly string[]>(() => {});
  const resolving = open(silent.port, { address: `https://bao.test:${silent.port}`, resolve: never });
  await rejectsClass(resolving.send({ ...call, timeoutMs: 100 }), 'timeout');
  await rejectsClass(resolving.handshake({ timeoutMs: 100 }), 'timeout');

  const shaking = open(silent.port, { connections: 1 });
  const [first, second] = [shaking.send({ ...call, timeoutMs: 300 }), shaking.send({ ...call, timeoutMs: 100 })];
  await Promise.all([rejectsClass(first, 'timeout'), rejectsClass(second, 'timeout')]);

  await Promise.all([resolving.close(), shaking.close()]);
  await silent.close();
});

test('a frozen node costs one call: what has been idle since before is not tried one after the other', async () => {
  let isFrozen = false;
  await withNode(
    () => (isFrozen ? 'hang' : good),
    async (http, node) => {
      await warm(http, 4);
      isFrozen = true;
      await rejectsClass(http.send({ ...call, timeoutMs: 1_200 }), 'timeout');
      isFrozen = false;

      await until(() => node.openConnections() === 0, 'the idle connections to the frozen node');
      assert.is((await http.send(call)).status, 200);
    },
  );
});

type Listening = { readonly port: number; readonly close: () => Promise<void> };

async function listenTcp(connected: (socket: Socket, count: number) => void): Promise<Listening> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server: Server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    count += 1;
    connected(socket, count);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { port: (server.address() as AddressInfo).port, close };
}

/** Passes bytes on in both directions, until `isReset` says of a chunk that it is the last. */
function pass(socket: Socket, port: number, isReset: (chunks: number) => boolean = () => false): void {
  const behind = connectTcp(port, '127.0.0.1');
  let chunks = 0;
  behind.on('error', () => socket.destroy());
  behind.on('close', () => socket.destroy());
  socket.on('close', () => behind.destroy());
  behind.pipe(socket);
  socket.on('data', (chunk: Buffer) => {
    chunks += 1;
    if (isReset(chunks)) socket.resetAndDestroy();
    else behind.write(chunk);
  });
}

/** A balancer that resets every second connection: at once, or when the bytes after the handshake come. */
async function withBalancer(isAtOnce: boolean, node: PlayedNode, run: (http: Http) => Promise<void>): Promise<void> {
  const balancer = await listenTcp((socket, count) => {
    const isBad = count % 2 === 0;
    if (isBad && isAtOnce) socket.resetAndDestroy();
    else pass(socket, node.port, (chunks) => isBad && chunks > 2);
  });
  const http = open(balancer.port);
  try {
    await run(http);
  } finally {
    await http.close();
    await balancer.close();
  }
}

for (const [isAtOnce, when] of [
  [true, 'at once'],
  [false, 'when the request comes'],
] as const) {
  test(`a balancer that resets every second connection ${when} costs no call`, async () => {
    const node = await startNode(leaf, () => ({ ...good, headers: { connection: 'close' } }));
    await withBalancer(isAtOnce, node, async (http) => {
      for (let count = 0; count < 20; count += 1) assert.is((await http.send(call)).status, 200);
    });
    await node.close();
  });
}

test('with one sealed node of three behind a balancer that takes turns, the connections come to rest', async () => {
  const nodes = await Promise.all([sealed, good, good].map((answer) => startNode(leaf, () => answer)));
  const balancer = await listenTcp((socket, count) => pass(socket, nodes[count % 3]?.port ?? 0));
  const http = open(balancer.port);
  const workers = Array.from({ length: 8 }, async () => {
    for (let count = 0; count < 60; count += 1) {
      await http.send(call);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });

  await Promise.all(workers);
  const toSealed = nodes[0]?.requests() ?? 0;
  assert.ok(toSealed < 24, `${toSealed} of 480 requests went to the sealed node`);

  await http.close();
  await balancer.close();
  await Promise.all(nodes.map((node) => node.close()));
});

test('an election is waited for: the second try comes after a pause of a quarter of the call, at most 500 ms', async () => {
  const standby = { status: 307, headers: { location: '/v1/x' } };
  for (const [timeoutMs, pauseMs] of [
    [1_000, 250],
    [60_000, 500],
  ] as const) {
    const fake = createFakeClock();
    await withNode(
      ({ count }) => (count === 1 ? standby : good),
      async (http, node) => {
        const sent = http.send({ ...call, timeoutMs });
        // The pause is the only timer beside the deadline once the connection of the standby is closed.
        await until(() => node.requests() === 1 && node.openConnections() === 0, 'the answer of the standby');
        await fake.settle();
        await fake.advance(pauseMs - 1);
        assert.is(node.connections(), 1);
        await fake.advance(1);

        assert.equal([(await sent).status, node.requests()], [200, 2]);
      },
      { clock: fake, random: () => 0.5 },
    );
  }
});

test('a sealed node is not waited for, nor anything when there is another address', async () => {
  const standby = { status: 307, headers: { location: '/v1/x' } };
  const fake = createFakeClock();
  await withNode(
    ({ count }) => (count === 1 ? sealed : good),
    async (http) => {
      assert.is((await http.send(call)).status, 200);
    },
    { clock: fake },
  );
  await withAddresses(
    [() => standby, () => good],
    async ({ http }) => {
      assert.is((await http.send(call)).status, 200);
    },
    { clock: fake },
  );
});

test('a closed client takes no call, and lets the running ones finish', async () => {
  let finish = () => {};
  await withNode(
    async () => {
      await new Promise<void>((resolve) => (finish = resolve));
      return good;
    },
    async (http, node) => {
      const running = http.send(call);
      await until(() => node.requests() === 1, 'the request');
      const closed = http.close();
      await rejectsClass(http.send(call), 'bao_unavailable');
      finish();

      assert.is((await running).status, 200);
      await closed;
      await until(() => node.openConnections() === 0, 'the end of the connection');
    },
  );
});

test.run();
