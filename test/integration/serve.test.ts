// The real `serve` in its own processes, over its real socket, against the development OpenBao: what an operator would see.

import { randomBytes } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until, withInstallation } from '../support/installation.ts';
import { refusalOf } from '../support/kms-client.ts';
import { type Provider, startProvider, untilHealthy } from '../support/provider.ts';
import type { ConfigDocument } from '../support/workplace.ts';

/** Waits until that many calls are in the provider at the same time. */
const untilInFlight = (provider: Provider, method: string, count: number) =>
  until(async () => {
    const line = new RegExp(`^openbao_kms_grpc_in_flight\\{method="${method}"\\} (\\d+)$`, 'mu');
    return Number(line.exec(await provider.metrics())?.[1]) === count;
  }, `${count} calls in flight`);

/** Long enough for a busy machine to bring many calls, so that no call ends before the test lets it. */
const patientOpenBao = (config: ConfigDocument) => {
  Object.assign(config['openbao'] ?? {}, { timeout: '30s' });
};

test('Status, Encrypt and Decrypt work over the socket, and a thousand Status calls ask OpenBao nothing', () =>
  withInstallation(async ({ start, bao, workplace }) => {
    const { client, event } = start();
    const keyId = await untilHealthy({ client, text: () => '' });
    const seed = randomBytes(32);
    const encrypted = await client.encrypt(seed);
    assert.is(encrypted.keyId, keyId);
    assert.is(encrypted.annotations.size, 7);
    assert.ok((await client.decrypt(encrypted)).plaintext.equals(seed));
    const socket = lstatSync(workplace.socketPath);
    assert.is((socket.mode & 0o777).toString(8), '660');
    assert.equal(readdirSync(`${workplace.directory}/run`).sort(), ['.kms.sock.lock', 'kms.sock']);
    assert.is((statSync(workplace.statePath).mode & 0o777).toString(8), '640');
    await event('serve.ready');
    // Probes of the background go on; Status itself must cause none.
    const encryptsBefore = bao.requests.length;
    const startedAtMs = performance.now();
    for (let index = 0; index < 1000; index += 1) await client.status();
    const probesMeanwhile = 4 * Math.ceil((performance.now() - startedAtMs) / 1000) + 4;
    assert.ok(bao.requests.length - encryptsBefore <= probesMeanwhile, 'no OpenBao call for Status');
  }));

test('a hundred identical Decrypts at once cost one OpenBao call, a thousand distinct ones all succeed', () =>
  withInstallation(
    async ({ start, bao }) => {
      const provider = start();
      const { client } = provider;
      await untilHealthy(provider);
      const encrypted = await client.encrypt(randomBytes(32));
      const arrived = Promise.withResolvers<void>();
      bao.fault = () => arrived.promise.then(() => undefined);
      bao.requests.length = 0;
      const identical = Array.from({ length: 100 }, () => client.decrypt(encrypted));
      await untilInFlight(provider, 'decrypt', identical.length);
      arrived.resolve();
      await Promise.all(identical);
      const ciphertext = encrypted.ciphertext.toString();
      assert.ok(ciphertext.startsWith('vault:v1:'));
      const decrypts = bao.requests.filter(({ path }) => path.includes('/decrypt/'));
      assert.ok(decrypts.length <= 2, `one call, and perhaps one of a deep probe: ${decrypts.length}`);
      bao.fault = undefined;
      const many = await Promise.all(Array.from({ length: 32 }, () => client.encrypt(randomBytes(32))));
      for (let round = many.length; round < 1000; round += 25) {
        many.push(...(await Promise.all(Array.from({ length: 25 }, () => client.encrypt(randomBytes(32))))));
      }
      const answers = await Promise.allSettled(many.slice(0, 1000).map((one) => client.decrypt(one, 'u', 10_000)));
      const refused = answers.filter(({ status }) => status === 'rejected');
      assert.equal(
        refused.map((one) => String((one as PromiseRejectedResult).reason)),
        [],
      );
    },
    { change: patientOpenBao },
  ));

test('limits of the transport: a message over 64 KiB is refused and nothing reaches Transit', () =>
  withInstallation(async ({ start, bao }) => {
    const { client } = start();
    await untilHealthy({ client, text: () => '' });
    bao.requests.length = 0;
    const { code } = await refusalOf(client.encrypt(Buffer.alloc(70_000)));
    assert.is(code, 8);
    assert.is((await refusalOf(client.raw('Encrypt', Buffer.from([0x0a, 0xff, 0xff])))).code !== 0, true);
    assert.is((await refusalOf(client.raw('Rotate', Buffer.alloc(0)))).code, 12);
    assert.equal(
      bao.requests.filter(({ path }) => path.includes('encrypt') && !path.includes('probe')).length <= 2,
      true,
    );
    assert.is((await client.status()).healthz, 'ok', 'the service goes on');
  }));

test('a plugin killed under load: the socket stays, the next calls are served, nobody helps', () =>
  withInstallation(async ({ start, workplace }) => {
    const provider = start();
    const { client } = provider;
    await untilHealthy(provider);
    const inode = lstatSync(workplace.socketPath).ino;
    const first = provider.pluginPid();
    let failed = 0;
    let served = 0;
    let isOver = false;
    const load = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        await client.encrypt(randomBytes(32)).then(
          () => (served += 1),
          () => (failed += 1),
        );
      }
    });
    await until(() => served > 50, 'load');
    process.kill(first, 'SIGKILL');
    await until(() => provider.pluginPid() !== first, 'a new plugin');
    await untilHealthy(provider);
    const servedAfter = served;
    await until(() => served > servedAfter + 50, 'load after the crash');
    isOver = true;
    await Promise.all(load);
    assert.is(lstatSync(workplace.socketPath).ino, inode);
    const metrics = await provider.metrics();
    assert.match(metrics, /openbao_kms_plugin_restarts_total\{reason="signal"\} 1/u);
    assert.ok(failed < served, `${failed} failed, ${served} served`);
  }));

test('SIGTERM lets running calls finish, removes the name, leaves no file but the lock, exit 0', () =>
  withInstallation(
    async ({ start, bao, workplace }) => {
      const provider = start();
      await untilHealthy(provider);
      const encrypted = await provider.client.encrypt(randomBytes(32));
      const stopping = Promise.withResolvers<void>();
      bao.fault = ({ path }) => (path.includes('/decrypt/') ? stopping.promise.then(() => undefined) : undefined);
      const running = Array.from({ length: 5 }, (_, index) =>
        provider.client.decrypt({
          ...encrypted,
          annotations: new Map([...encrypted.annotations, [`a${index}.example.org`, Buffer.from('x')]]),
        }),
      );
      await untilInFlight(provider, 'decrypt', running.length);
      provider.child.kill('SIGTERM');
      await until(() => !existsSync(workplace.socketPath), 'the end of the name');
      stopping.resolve();
      const answers = await Promise.allSettled(running);
      assert.equal(
        answers.map(({ status }) => status),
        ['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled', 'fulfilled'],
      );
      assert.is(await provider.exited, 0);
      assert.equal(readdirSync(`${workplace.directory}/run`), ['.kms.sock.lock']);
      assert.equal(readdirSync(`${workplace.directory}/state`).sort(), [
        'key-registry.json',
        'key-registry.json.checkpoint',
        'key-registry.json.lock',
      ]);
    },
    { change: patientOpenBao },
  ));

test('a restart finds its state again and keeps the same key_id', () =>
  withInstallation(async ({ start, engine, workplace }) => {
    const first = start();
    const keyId = await untilHealthy(first);
    const encrypted = await first.client.encrypt(randomBytes(32));
    await first.stop();
    const state = readFileSync(workplace.statePath, 'utf8');
    assert.is(engine.keys.size, 1);
    const second = start();
    assert.is(await untilHealthy(second), keyId);
    assert.is((await second.client.decrypt(encrypted)).plaintext.length, 32);
    assert.is(readFileSync(workplace.statePath, 'utf8'), state);
  }));

test('a killed supervisor takes its plugin along; the next start proves the old socket dead and replaces it', () =>
  withInstallation(async ({ start, workplace }) => {
    const first = start();
    await untilHealthy(first);
    const plugin = first.pluginPid();
    first.child.kill('SIGKILL');
    await first.exited;
    await until(() => !existsSync(`/proc/${plugin}`), 'the end of the plugin');
    assert.ok(existsSync(workplace.socketPath));
    const second = start();
    await untilHealthy(second);
    await second.event('socket.stale_removed');
    assert.match(await second.metrics(), /openbao_kms_socket_restarts_total 1/u);
  }));

test('a second provider with the same state or the same socket is refused and names the first', () =>
  withInstallation(async ({ start, workplace }) => {
    const first = start();
    await untilHealthy(first);
    const inode = lstatSync(workplace.socketPath).ino;
    const second = startProvider(workplace);
    assert.is(await second.exited, 5);
    second.client.close();
    const refusal = second.log.find(({ message }) => message === 'gate.refused');
    assert.is(refusal?.['check'], 'gate.lock');
    assert.ok(String(refusal?.['hint']).includes(`process id ${first.child.pid}`));
    assert.is(lstatSync(workplace.socketPath).ino, inode);
    assert.is((await first.client.status()).healthz, 'ok');
  }));

test('the supervisor’s health metrics carry no raw key id, and /metrics answers while unhealthy', () =>
  withInstallation(async ({ start, bao }) => {
    bao.fault = () => 'close';
    const provider = start();
    await provider.client.status(5_000);
    assert.match(await provider.metrics(), /openbao_kms_status_healthy 0/u);
    bao.fault = undefined;
    const keyId = await untilHealthy(provider);
    const metrics = await provider.metrics();
    assert.match(metrics, /openbao_kms_status_healthy 1/u);
    assert.not.ok(metrics.includes(keyId));
  }));

test('a changed JWT and a changed CA come into use without a restart', () =>
  withInstallation(async ({ start, workplace, issuer, authority }) => {
    const provider = start();
    await untilHealthy(provider);
    workplace.replaceFile(workplace.jwtPath, issuer.issue({ jti: 'second' }));
    await provider.line(
      (line) => line.message === 'credential.in_use' && line['name'] === 'jwt' && line['credential_generation'] === 2,
    );
    workplace.replaceFile(workplace.caPath, `${authority.pem}\n`, 0o644);
    await provider.line(
      (line) =>
        line.message === 'credential.in_use' && line['name'] === 'openbao_ca' && line['credential_generation'] === 2,
    );
    workplace.replaceFile(workplace.jwtPath, issuer.issue({ iss: 'https://other' }));
    await provider.line((line) => line.message === 'credential.refused' && line['name'] === 'jwt');
    assert.is((await provider.client.status()).healthz, 'ok', 'a refused generation changes nothing');
  }));

test.run();
