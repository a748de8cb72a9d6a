// T21 exhaustion, the ports of the diagnostics: any local user reaches them, and takes neither the service nor a liveness probe away.

import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import net, { connect, createServer, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Installed, until, withInstallation } from '../../support/installation.ts';
import { limitOf } from '../../support/patience.ts';
import { freePort } from '../../support/ports.ts';
import { type Provider, startProvider, untilHealthy } from '../../support/provider.ts';

type Handle = { readonly listen: (backlog: number) => number; readonly close: (done: () => void) => void };

const floodMs = 4_000;
const pipelined = 'GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(1_500);

async function addressOf(provider: Provider, name: 'metrics' | 'health') {
  const [host = '', port = ''] = String((await provider.event('serve.start'))[`${name}_address`]).split(':');
  return { host, port: Number(port) };
}

const residentMb = (pid: number) =>
  Number(/^VmRSS:\s+(\d+)/mu.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

/** Keeps so many connections busy for a while; each of them starts anew when it has ended. */
async function flood(count: number, address: { host: string; port: number }, begin: (socket: Socket) => void) {
  const endsAtMs = performance.now() + floodMs;
  const visit = () =>
    new Promise<void>((resolve) => {
      const socket = connect(address);
      socket.on('connect', () => begin(socket));
      socket.on('error', () => {});
      socket.on('close', () => resolve());
      setTimeout(() => socket.destroy(), endsAtMs - performance.now());
    });
  const stay = async () => {
    while (performance.now() < endsAtMs) await visit();
  };
  await Promise.all(Array.from({ length: count }, stay));
}

function statusOf(address: { host: string; port: number }, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request({ ...address, path, agent: false, timeout: limitOf(1_000) }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    call.on('timeout', () => call.destroy(new Error('no answer within a second')));
    call.on('error', reject);
    call.end();
  });
}

test('fifteen hundred pipelined requests on each of forty connections, again and again: the plugin lives and every Decrypt is served', () =>
  withInstallation(async ({ start }: Installed) => {
    const provider = start();
    await untilHealthy(provider);
    const sealed = await provider.client.encrypt(Buffer.alloc(32, 1));
    const address = await addressOf(provider, 'metrics');
    const pid = provider.pluginPid();
    let isOver = false;
    const flooding = flood(40, address, (socket) => {
      socket.resume();
      socket.write(pipelined);
    }).then(() => {
      isOver = true;
    });
    let decrypts = 0;
    while (!isOver) {
      await provider.client.decrypt(sealed);
      decrypts += 1;
    }
    await flooding;
    assert.ok(decrypts > 0);
    assert.is(provider.pluginPid(), pid, 'no relaunch');
    assert.ok(residentMb(pid) < 220, `${residentMb(pid)} MB`);
    assert.match(await provider.metrics(), /bound_reached_total\{bound="diagnostics_pipelining"\} \d/u);
    assert.ok(
      provider.log.some(({ message, name }) => message === 'bound.reached' && name === 'diagnostics_pipelining'),
    );
  }));

test('what is pipelined behind a request is refused and not forgotten', () =>
  withInstallation(async ({ start }: Installed) => {
    const provider = start();
    await untilHealthy(provider);
    const socket = connect(await addressOf(provider, 'health'));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write('GET /live HTTP/1.1\r\n\r\n'.repeat(3));
    await closed;
    const answers = [...text.matchAll(/HTTP\/1\.1 (\d+)/gu)].map(([, status]) => status);
    assert.equal(answers, ['200', '503']);
  }));

test('sixty-four connections that never finish a request: /live is answered within a second, and so are /ready and a scrape', () =>
  withInstallation(async ({ start }: Installed) => {
    const provider = start();
    await untilHealthy(provider);
    const [health, metrics] = [await addressOf(provider, 'health'), await addressOf(provider, 'metrics')];
    const slowly = (socket: Socket) => void socket.write('GET /live HTTP/1.1\r\nx: ');
    let isOver = false;
    const flooding = Promise.all([flood(64, health, slowly), flood(64, metrics, slowly)]).then(() => {
      isOver = true;
    });
    let answered = 0;
    while (!isOver) {
      assert.is(await statusOf(health, '/live'), 200);
      assert.is(await statusOf(health, '/ready'), 200);
      assert.is(await statusOf(metrics, '/metrics'), 200);
      answered += 1;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await flooding;
    assert.ok(answered > 5, `${answered} rounds`);
    assert.match(await provider.metrics(), /bound_reached_total\{bound="diagnostics_connections"\} \d/u);
  }));

test('ports that somebody else has at the start: the socket opens, it is told, and they are served when they are free', () =>
  withInstallation(async ({ workplace }: Installed) => {
    const [metricsPort, healthPort] = [await freePort(), await freePort()];
    const thieves = [metricsPort, healthPort].map((port) => createServer().listen(port, '127.0.0.1'));
    await Promise.all(thieves.map((thief) => new Promise((resolve) => thief.once('listening', resolve))));
    const addresses = ['--metrics-address', `127.0.0.1:${metricsPort}`, '--health-address', `127.0.0.1:${healthPort}`];
    const provider = startProvider(workplace, addresses);
    try {
      await untilHealthy(provider);
      const taken = provider.log.filter(({ message }) => message === 'port.taken').map(({ name }) => name);
      assert.equal(taken, ['metrics', 'health']);
      const sealed = await provider.client.encrypt(Buffer.alloc(32, 1));
      for (const thief of thieves) thief.close();
      await provider.event('port.served');
      const address = { host: '127.0.0.1', port: healthPort };
      await until(async () => (await statusOf(address, '/ready').catch(() => 0)) === 200, '/ready');
      assert.is(await statusOf({ ...address, port: metricsPort }, '/metrics'), 200);
      await provider.client.decrypt(sealed);
    } finally {
      for (const thief of thieves) thief.close();
      await provider.stop();
    }
  }));

test('a port that somebody begins to serve between our bind and our listen: the socket opens, and the port is served when it is free', () =>
  withInstallation(async ({ workplace }: Installed) => {
    const port = await freePort();
    const create = Reflect.get(net, '_createServerHandle') as (host: string, port: number, family: number) => Handle;
    // Bound and not listening: our own bind succeeds beside it.
    const thief = create('127.0.0.1', port, 4);
    const provider = startProvider(workplace, ['--health-address', `127.0.0.1:${port}`]);
    try {
      await provider.event('serve.start');
      assert.is(thief.listen(1), 0, 'the thief is first');
      await untilHealthy(provider);
      await provider.event('port.taken');
      assert.match(await provider.metrics(), /openbao_kms_port_taken\{port="health"\} 1/u);
      await new Promise<void>((resolve) => thief.close(resolve));
      await provider.event('port.served');
      const address = { host: '127.0.0.1', port };
      await until(async () => (await statusOf(address, '/ready').catch(() => 0)) === 200, '/ready');
    } finally {
      await provider.stop();
    }
  }));

test.run();
