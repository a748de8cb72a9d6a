// Each way in which OpenBao can be away or wrong, at the start and while serving: what the API server and an operator see, what
// recovers it, without a restart, and how long that takes. With a real OpenBao when one is found, else the development server.
// docs/failure-modes.md is this table; UPDATE_DOCS=1 writes it.
// A few run at a time: most of them wait for the circuit breaker, which keeps probes away for 10 s after three failures.

import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../support/installation.ts';
import { type Administration, openAdministration } from '../support/key-administration.ts';
import { refusalOf } from '../support/kms-client.ts';
import { findBao } from '../support/openbao/process.ts';
import { type Provider, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';
import { baoName, hostsFile, type Mode, modes, prepareName, rotate } from './modes.ts';

type Phase = 'serving' | 'start';
type Row = {
  readonly status: string;
  readonly encrypt: string;
  readonly decrypt: string;
  readonly reasons: string;
  /** Undefined: what mends it is not there. */
  readonly seconds: number | undefined;
};

const isRoot = process.geteuid?.() === 0;
const isReal = findBao() !== undefined;
/** Longer than `statusMaxStaleness` of the test: evidence that only ages has aged by then. */
const settleMs = 8_000;
const sideBySide = 10;

/** A provider that sees its own /etc/hosts. */
const ownHosts = (administration: Administration) => [
  'unshare',
  '-m',
  'sh',
  '-c',
  `mount --bind ${hostsFile(administration)} /etc/hosts && exec "$@"`,
  'sh',
];

async function sealWith(provider: Provider) {
  await untilHealthy(provider);
  return provider.client.encrypt(randomBytes(32));
}

async function prepare(mode: Mode, administration: Administration, wrap: readonly string[]) {
  const provider = administration.start([], wrap);
  let sealed = await sealWith(provider);
  if (mode.isRotated === true) {
    await rotate(administration);
    await until(async () => {
      const { healthz, keyId } = await provider.client.status();
      return healthz === 'ok' && keyId !== sealed.keyId;
    }, 'the promotion');
    sealed = await sealWith(provider);
  }
  return { provider, sealed };
}

const answerOf = (call: Promise<unknown>) =>
  call.then(
    () => 'served',
    async (error: unknown) => (await refusalOf(Promise.reject(error))).message,
  );

async function runMode(mode: Mode, phase: Phase): Promise<Row> {
  const { administration, close } = await openAdministration((config) => {
    config['rotation'] = { activationDelay: '1s', requireStableObservationCount: 1 };
    if (mode.byName !== true) return;
    const openbao = config['openbao'] as Record<string, unknown>;
    openbao['address'] = String(openbao['address']).replace('127.0.0.1', baoName);
  });
  try {
    if (mode.byName === true) await prepareName(administration);
    const wrap = mode.byName === true ? ownHosts(administration) : [];
    const first = await prepare(mode, administration, wrap);
    let { provider } = first;
    if (phase === 'start') await provider.stop();
    await mode.bring(administration);
    if (phase === 'start') {
      provider = administration.start([], wrap);
      // Answered from the kernel's queue once the plugin listens.
      await provider.client.status(10_000);
    }
    const row = await observe(provider, administration, first.sealed);
    if (isReal && mode.needsBackup !== undefined) return { ...row, seconds: undefined };
    if (mode.needsStop === true) await provider.stop();
    const mendedAtMs = performance.now();
    await mode.mend?.(administration);
    if (mode.needsStop === true) provider = administration.start([], wrap);
    await untilHealthy(provider, 60_000);
    const seconds = (performance.now() - mendedAtMs) / 1000;
    const back = await answerOf(provider.client.decrypt(first.sealed, 'u', 10_000));
    assert.is(back, 'served', 'what was encrypted before is readable again');
    return { ...row, seconds };
  } finally {
    await close();
  }
}

/** What is seen once it has settled; the socket answers all the while. */
async function observe(
  provider: Provider,
  { workplace }: Administration,
  sealed: Awaited<ReturnType<Provider['client']['encrypt']>>,
): Promise<Omit<Row, 'seconds'>> {
  const endsAtMs = performance.now() + settleMs;
  const statuses = new Set<string>();
  const reasons = new Set<string>();
  while (performance.now() < endsAtMs) {
    const { healthz } = await provider.client.status(5_000);
    statuses.add(healthz);
    for (const reason of ((await provider.ready()).body['reasons'] as string[] | undefined) ?? []) reasons.add(reason);
    assert.ok(existsSync(workplace.socketPath), 'the socket never disappears');
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  const { healthz } = await provider.client.status(5_000);
  const encrypt = await answerOf(provider.client.encrypt(randomBytes(32), 'u', 5_000));
  const decrypt = await answerOf(provider.client.decrypt(sealed, 'u', 5_000));
  const told = ((await provider.ready()).body['reasons'] as string[] | undefined) ?? [];
  // The breaker opens and closes meanwhile, and staleness follows from the rest: what stands behind them is what matters.
  const behind = [...reasons].filter(
    (reason) => !['circuit_breaker_open', 'status_stale', 'metadata_unverified'].includes(reason),
  );
  // What was only told until the first probes had passed is no sign of the failure.
  const lasting = behind.filter((reason) => healthz !== 'ok' || reason !== 'deep_probe_pending');
  // OpenBao may go away between the two reads of a probe; from the next one on it is the first that fails.
  const isFirstRead = lasting.includes('upsert_check_failed');
  const settled = lasting.filter((reason) => !isFirstRead || reason !== 'metadata_read_failed');
  const shown = settled.length > 0 ? settled.sort() : told;
  return { status: healthz, encrypt, decrypt, reasons: shown.join(', ') || '–' };
}

const phases: readonly Phase[] = ['serving', 'start'];
type Key = `${string} / ${Phase}`;
const outcomes = new Map<Key, PromiseWithResolvers<Row>>();
const keyOf = (mode: Mode, phase: Phase): Key => `${mode.name} / ${phase}`;
for (const mode of modes) for (const phase of phases) outcomes.set(keyOf(mode, phase), Promise.withResolvers());
const missingFor = (mode: Mode): string | undefined => {
  if (mode.byName === true && !isRoot) return 'root';
  return isReal && mode.needsBackup === 'to bring' ? 'a storage that can be changed from outside' : undefined;
};

let isRunning = false;
function runAll(): void {
  if (isRunning) return;
  isRunning = true;
  const queue = modes
    .filter((mode) => missingFor(mode) === undefined)
    .flatMap((mode) => phases.map((phase) => ({ mode, phase })));
  for (const { promise } of outcomes.values()) promise.catch(() => {});
  const worker = async () => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      const outcome = outcomes.get(keyOf(one.mode, one.phase));
      await runMode(one.mode, one.phase).then(outcome?.resolve, outcome?.reject);
    }
  };
  for (let count = 0; count < sideBySide; count += 1) void worker();
}

const file = new URL('../../docs/failure-modes.md', import.meta.url).pathname;
const begin = '<!-- modes: generated -->\n';
const end = '<!-- modes: end -->';

const unsteady = { status: 'varies', encrypt: 'varies', decrypt: 'varies', reasons: 'varies' };

function lineOf(mode: Mode, phase: Phase, row: Row): string {
  const { seconds } = row;
  const { status, encrypt, decrypt, reasons } = mode.isUnsteady === true ? unsteady : row;
  return `| ${mode.name} | ${phase} | ${status} | ${encrypt} | ${decrypt} | ${reasons} | ${mode.recovery} | ${seconds === undefined ? '–' : `${seconds.toFixed(0)} s`} |`;
}

/** The time is a measurement and differs from run to run; everything else must not. */
const withoutTime = (line: string) => line.replace(/ \| (?:\d+ s|–) \|$/u, ' |');
const isUpdating = process.env['UPDATE_DOCS'] === '1';
const documentedLines = (existsSync(file) ? readFileSync(file, 'utf8') : '').split('\n');
const documented = documentedLines.map(withoutTime);
const lines: string[] = [];

for (const mode of modes) {
  for (const phase of phases) {
    test(`${mode.name}, ${phase === 'start' ? 'at the start' : 'while serving'}: as documented, and it recovers`, async () => {
      const missing = missingFor(mode);
      if (skipWithout(missing === undefined, `failure mode: ${mode.name}`, missing ?? '')) {
        // What cannot be tried here stays as it was seen elsewhere.
        lines.push(...documentedLines.filter((line) => line.startsWith(`| ${mode.name} | ${phase} |`)));
        return;
      }
      runAll();
      const row = await outcomes.get(keyOf(mode, phase))?.promise;
      assert.ok(row);
      if (row.seconds === undefined)
        process.stdout.write(`\nnot mended: ${mode.name} (needs a backup of the storage)\n`);
      const line = lineOf(mode, phase, row);
      lines.push(line);
      assert.is(row.status === 'ok' && row.encrypt === 'status unhealthy', false, 'Status and Encrypt agree');
      if (!isUpdating)
        assert.ok(documented.includes(withoutTime(line)), `docs/failure-modes.md says otherwise:\n${line}`);
    });
  }
}

test('the table is written when it is asked for', () => {
  if (!isUpdating) return;
  const [before = '', rest = ''] = readFileSync(file, 'utf8').split(begin);
  const [, after = ''] = rest.split(end);
  const head =
    '| What | When | Status | Encrypt | Decrypt of known keys | `/ready` | What recovers it | Time |\n|---|---|---|---|---|---|---|---|\n';
  writeFileSync(file, `${before}${begin}${head}${lines.join('\n')}\n${end}${after}`);
});

test.run();
