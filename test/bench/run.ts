// `npm run bench`: what we promise in numbers, measured side by side in one run: KMS calls through the socket beside raw
// Transit calls with the same HTTP client to the same server, as ratios; CPU and memory of both processes; launch times.
// Uses a real OpenBao when one is found, else the development server, and says which.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { createTrust } from '../../plugin/http/tls.ts';
import { createHttp } from '../../plugin/openbao/client.ts';
import { readReply } from '../../plugin/openbao/response.ts';
import { clock, random } from '../../plugin/system.ts';
import { createTransit } from '../../plugin/transit/transit.ts';
import { createJwtIssuer, issuerDefaults } from '../support/jwt-issuer.ts';
import { createKmsClient } from '../support/kms-client.ts';
import { startLoad } from '../support/load.ts';
import { findBao, startOpenBao } from '../support/openbao/process.ts';
import { createAdmin, defaultInstallation, provision } from '../support/openbao/provision.ts';
import { type Provider, startProvider, untilHealthy } from '../support/provider.ts';
import { createWorkplace } from '../support/workplace.ts';

const secondsEach = Number(process.env['BENCH_SECONDS'] ?? 2);
const isJson = process.argv.includes('--json');
const lines: string[] = [];
const results: Record<string, number | string> = {};

function say(line: string): void {
  lines.push(line);
  if (!isJson) process.stdout.write(`${line}\n`);
}

/** What refused calls said, over the whole run. */
const failures = new Map<string, number>();

type Measured = { readonly perSecond: number; readonly p50Ms: number; readonly p99Ms: number; readonly failed: number };

/** Runs a call with n in flight for the set time. */
async function measure(inFlight: number, call: () => Promise<unknown>): Promise<Measured> {
  for (let warm = 0; warm < 50; warm += 1) await call();
  const times: number[] = [];
  let failed = 0;
  const startedAtMs = performance.now();
  const endsAtMs = startedAtMs + secondsEach * 1000;
  const worker = async () => {
    while (performance.now() < endsAtMs) {
      const beganAtMs = performance.now();
      await call().catch((error: unknown) => {
        failed += 1;
        const text = error instanceof Error ? error.message : 'unknown';
        failures.set(text, (failures.get(text) ?? 0) + 1);
      });
      times.push(performance.now() - beganAtMs);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const seconds = (performance.now() - startedAtMs) / 1000;
  times.sort((one, other) => one - other);
  const at = (share: number) => times[Math.floor(times.length * share)] ?? 0;
  return { perSecond: times.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99), failed };
}

/** User and system time of a process, milliseconds. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function pssMb(pid: number): number {
  return Number(/^Pss:\s+(\d+)/mu.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) / 1024;
}

async function launchTimes(
  provider: () => Provider,
  socketPath: string,
): Promise<{ answeredMs: number; healthyMs: number }> {
  const startedAtMs = performance.now();
  const running = provider();
  const client = createKmsClient(socketPath);
  let answeredMs = 0;
  while (answeredMs === 0) {
    const isThere = await client.status(2_000).then(
      () => true,
      () => false,
    );
    if (isThere) answeredMs = performance.now() - startedAtMs;
  }
  await untilHealthyQuick(client);
  const healthyMs = performance.now() - startedAtMs;
  process.kill(running.pluginPid(), 'SIGKILL');
  const killedAtMs = performance.now();
  while (
    !(await client.status(5_000).then(
      () => true,
      () => false,
    ))
  );
  gaps.push(performance.now() - killedAtMs);
  client.close();
  await running.stop();
  return { answeredMs, healthyMs };
}

async function untilHealthyQuick(client: ReturnType<typeof createKmsClient>): Promise<void> {
  while ((await client.status()).healthz !== 'ok') await new Promise((resolve) => setTimeout(resolve, 5));
}

/** What an operator, or bad luck, does to a serving provider; each resolves when it is over. */
function disturbances(running: Provider): readonly (readonly [string, (round: number) => Promise<void>])[] {
  const count = (message: string) => running.log.filter((line) => line.message === message).length;
  const after = async (message: string, act: () => void) => {
    const before = count(message);
    act();
    while (count(message) === before) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  return [
    ['none', () => new Promise((resolve) => setTimeout(resolve, 500))],
    ['plugin replaced', () => after('reload.done', () => running.child.kill('SIGHUP'))],
    [
      'JWT rotated',
      (round) =>
        after('credential.in_use', () =>
          workplace.replaceFile(workplace.jwtPath, issuer.issue({ jti: `${Date.now()} ${round}` })),
        ),
    ],
    [
      'CA rotated',
      (round) =>
        after('credential.in_use', () =>
          workplace.replaceFile(workplace.caPath, `${bao.ca}${'\n'.repeat(round + 1)}`, 0o644),
        ),
    ],
    ['plugin killed', () => after('plugin.started', () => process.kill(running.pluginPid(), 'SIGKILL'))],
  ];
}

/** Five events under load: calls lost in all, and the median of the longest pauses around each. */
async function disturb(event: (round: number) => Promise<void>): Promise<{ lost: number; gapMs: number }> {
  const pauses: number[] = [];
  const load = await startLoad(provider.client, { inFlight: 16, methods: ['decrypt'] });
  for (let round = 0; round < 5; round += 1) {
    let longest = 0;
    let last = performance.now();
    let served = load.served();
    const watch = setInterval(() => {
      if (load.served() !== served) {
        served = load.served();
        last = performance.now();
      }
      longest = Math.max(longest, performance.now() - last);
    }, 1);
    await event(round);
    const servedAtEnd = load.served();
    while (load.served() < servedAtEnd + 50) await new Promise((resolve) => setTimeout(resolve, 5));
    clearInterval(watch);
    pauses.push(longest);
  }
  const errors = await load.stop();
  for (const text of errors) failures.set(text, (failures.get(text) ?? 0) + 1);
  return { lost: errors.length, gapMs: median(pauses) };
}

const isReal = findBao() !== undefined;
const bao = await startOpenBao(isReal);
const issuer = createJwtIssuer();
const admin = createAdmin({ address: bao.address, token: bao.rootToken, ca: bao.ca });
await provision(admin, defaultInstallation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
await admin.close();
const workplace = createWorkplace({ address: bao.address, ca: bao.ca, jwt: issuer.issue() });
say(
  `server: ${isReal ? 'real OpenBao' : 'development server (not the target of the promises)'}; ${cpus().length} × ${cpus()[0]?.model ?? '?'}; Node ${process.version}`,
);

workplace.writeConfig((config) => {
  // Measured without refusals: 64 in flight of each method.
  Object.assign(config['server'] ?? {}, { maxConcurrentStatus: 128, maxConcurrentEncrypt: 128 });
});
const gaps: number[] = [];
const launches = [];
for (let round = 0; round < 5; round += 1)
  launches.push(await launchTimes(() => startProvider(workplace), workplace.socketPath));
const median = (values: number[]) => values.sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
results['launch_answered_ms'] = median(launches.map(({ answeredMs }) => answeredMs));
results['launch_healthy_ms'] = median(launches.map(({ healthyMs }) => healthyMs));
say(
  `launch to first answered Status ${results['launch_answered_ms'].toFixed(0)} ms (target 350), to first healthy ${results['launch_healthy_ms'].toFixed(0)} ms`,
);

const provider = startProvider(workplace);
await untilHealthy(provider);
const pids = { supervisor: provider.child.pid ?? 0, plugin: provider.pluginPid() };
await new Promise((resolve) => setTimeout(resolve, 3_000));
const idle = { supervisor: pssMb(pids.supervisor), plugin: pssMb(pids.plugin) };
results['idle_pss_mb'] = idle.supervisor + idle.plugin;
say(
  `idle memory (PSS): supervisor ${idle.supervisor.toFixed(1)} MB, plugin ${idle.plugin.toFixed(1)} MB, together ${results['idle_pss_mb'].toFixed(1)} MB (target 95)`,
);

const trust = createTrust({ ca: Buffer.from(bao.ca), tlsServerName: 'localhost' });
const http = createHttp({
  address: bao.address,
  namespace: '',
  userAgent: 'bench',
  trust,
  clock,
  random,
  connections: 32,
});
const raw = createTransit(
  defaultInstallation.mountPath,
  defaultInstallation.keyName,
  async ({ operation, path, body }) =>
    readReply(operation, await http.send({ operation, path, body, token: bao.rootToken, timeoutMs: 5_000 })),
);
const aad = randomBytes(527);
const sealed = await raw.encrypt({ keyVersion: 1, plaintext: randomBytes(32), aad });
const encrypted: Awaited<ReturnType<typeof provider.client.encrypt>>[] = [];
for (let count = 0; count < 200; count += 1) encrypted.push(await provider.client.encrypt(randomBytes(32)));
let next = 0;
const distinct = () => {
  next = (next + 1) % encrypted.length;
  return encrypted[next];
};

say('                in flight   calls/s    p50 ms    p99 ms   of raw   µs CPU/call (plugin)  failed');
for (const inFlight of [1, 16, 64]) {
  const rawEncrypt = await measure(inFlight, () => raw.encrypt({ keyVersion: 1, plaintext: randomBytes(32), aad }));
  const rawDecrypt = await measure(inFlight, () => raw.decrypt({ ciphertext: sealed, aad }));
  const rows: readonly (readonly [string, () => Promise<unknown>, Measured | undefined])[] = [
    ['raw encrypt', () => Promise.resolve(), undefined],
    ['raw decrypt', () => Promise.resolve(), undefined],
    ['Status', () => provider.client.status(), undefined],
    ['Encrypt', () => provider.client.encrypt(randomBytes(32)), rawEncrypt],
    [
      'Decrypt',
      () => provider.client.decrypt(distinct() ?? { ciphertext: Buffer.alloc(0), keyId: '', annotations: new Map() }),
      rawDecrypt,
    ],
  ];
  for (const [name, call, beside] of rows) {
    const cpuBefore = cpuMs(pids.plugin);
    const isRaw = name.startsWith('raw');
    const measured = isRaw ? (name === 'raw encrypt' ? rawEncrypt : rawDecrypt) : await measure(inFlight, call);
    const cpu = isRaw
      ? ''
      : (((cpuMs(pids.plugin) - cpuBefore) * 1000) / (measured.perSecond * secondsEach)).toFixed(0);
    const ratio = beside === undefined ? '' : (measured.perSecond / beside.perSecond).toFixed(2);
    const key = `${name.toLowerCase().replace(' ', '_')}_${inFlight}`;
    results[`${key}_per_second`] = measured.perSecond;
    results[`${key}_p50_ms`] = measured.p50Ms;
    const columns = [
      String(inFlight).padStart(9),
      measured.perSecond.toFixed(0).padStart(9),
      measured.p50Ms.toFixed(3).padStart(9),
      measured.p99Ms.toFixed(3).padStart(9),
      ratio.padStart(8),
      cpu.padStart(12),
      String(measured.failed).padStart(13),
    ];
    say(`${name.padEnd(16)}${columns.join(' ')}`);
    if (name === 'Decrypt' && beside !== undefined) {
      const above = measured.p50Ms - beside.p50Ms;
      results[`decrypt_${inFlight}_above_raw_ms`] = above;
      if (inFlight === 1) say(`  Decrypt p50 at 1 in flight: ${above.toFixed(3)} ms above raw (target 0.3)`);
      if (inFlight === 16) say(`  Decrypt throughput at 16: ${ratio} of raw (target 0.65)`);
    }
    if (name === 'Status' && inFlight === 16) say(`  Status: ${measured.perSecond.toFixed(0)} a second (target 5000)`);
  }
}
results['crash_gap_ms'] = median(gaps);
say(
  `plugin killed: next call answered after ${results['crash_gap_ms'].toFixed(0)} ms (median of 5, each the first crash of its provider)`,
);
say('under 16 in flight          lost calls   longest gap between answers, ms   per event, median of 5');
for (const [name, event] of disturbances(provider)) {
  const found = await disturb(event);
  results[`${name.replaceAll(' ', '_')}_lost`] = found.lost;
  results[`${name.replaceAll(' ', '_')}_gap_ms`] = found.gapMs;
  say(`${name.padEnd(24)}${String(found.lost).padStart(14)}${found.gapMs.toFixed(0).padStart(20)}`);
}
for (const [text, count] of failures) say(`  ${count} × ${text}`);
await http.close();
await provider.stop();
await bao.stop();
workplace.remove();
if (isJson) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
process.exit(0);
