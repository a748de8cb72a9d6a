// Each way in which OpenBao can be away or wrong, at the start and while serving: what the API server and an operator see, what
// recovers it, without a restart, and how long that takes. With a real OpenBao when one is found, else the development server.
// docs/failure-modes.md is this table; UPDATE_DOCS=1 writes it.
// A few run at a time: most of them wait for the circuit breaker, which keeps probes away for 10 s after three failures.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../support/installation.ts';
import { type Administration, openAdministration } from '../support/key-administration.ts';
import { limitOf } from '../support/patience.ts';
import { untilHealthy, untilSealed } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';
import { backUp, baoName, hostsFile, type Mode, modes, prepareName, rotate } from './modes.ts';
import { answerOf, observe, type Seen } from './observe.ts';

type Phase = 'serving' | 'start';
type Row = Seen & {
  /** From the repair to the first healthy Status. */
  readonly seconds: number;
};

const isRoot = process.geteuid?.() === 0;
/** Each is an OpenBao, two processes of ours and this one, and mostly waits. */
const sideBySide = 3 * availableParallelism();

/** A provider that sees its own /etc/hosts. */
const ownHosts = (administration: Administration) => [
  'unshare',
  '-m',
  'sh',
  '-c',
  `mount --bind ${hostsFile(administration)} /etc/hosts && exec "$@"`,
  'sh',
];

async function prepare(mode: Mode, administration: Administration, wrap: readonly string[]) {
  const provider = administration.start([], wrap);
  let sealed = await untilSealed(provider);
  if (mode.isBackedUp === true) await backUp(administration);
  if (mode.isRotated === true) {
    await rotate(administration);
    await until(async () => {
      const { healthz, keyId } = await provider.client.status();
      return healthz === 'ok' && keyId !== sealed.keyId;
    }, 'the promotion');
    sealed = await untilSealed(provider);
  }
  return { provider, sealed };
}

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
    const seen = await observe(provider, administration.workplace, first.sealed);
    if (mode.needsStop === true) await provider.stop();
    const mendedAtMs = performance.now();
    await mode.mend?.(administration);
    if (mode.needsStop === true) provider = administration.start([], wrap);
    await untilHealthy(provider, 60_000);
    const seconds = (performance.now() - mendedAtMs) / 1000;
    const isServed = async () => (await answerOf(provider.client.decrypt(first.sealed))) === 'served';
    await until(isServed, 'what was encrypted before is readable again');
    return { ...seen, seconds };
  } finally {
    await close();
  }
}

const phases: readonly Phase[] = ['serving', 'start'];
type Key = `${string} / ${Phase}`;
const outcomes = new Map<Key, PromiseWithResolvers<Row>>();
const keyOf = (mode: Mode, phase: Phase): Key => `${mode.name} / ${phase}`;
for (const mode of modes) for (const phase of phases) outcomes.set(keyOf(mode, phase), Promise.withResolvers());
const missingFor = (mode: Mode): string | undefined => {
  return mode.byName === true && !isRoot ? 'root' : undefined;
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
const inSeconds = (ms: number) => Math.floor(ms / 1000);
/** Between two probes of this test nobody can know better; a refused call that brings the next one forward makes it less. */
const maxWronglyOkMs = limitOf(2_000);

function lineOf(mode: Mode, phase: Phase, row: Row): string {
  const { status, encrypt, decrypt, reasons } = mode.isUnsteady === true ? unsteady : row;
  const wronglyOk = String(inSeconds(row.wronglyOkMs));
  const cells = [
    mode.name,
    phase,
    status,
    encrypt,
    decrypt,
    reasons,
    wronglyOk,
    mode.recovery,
    `${row.seconds.toFixed(0)} s`,
  ];
  return `| ${cells.join(' | ')} |`;
}

/** Both times are measurements and differ from run to run; everything else must not. */
const withoutTimes = (line: string) => line.replace(/ \| \d+ \| ([^|]+) \| \d+ s \|$/u, ' | $1 |');
const isUpdating = process.env['UPDATE_DOCS'] === '1';
const documentedLines = (existsSync(file) ? readFileSync(file, 'utf8') : '').split('\n');
const documented = documentedLines.map(withoutTimes);
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
      const line = lineOf(mode, phase, row);
      lines.push(line);
      assert.is(row.status === 'ok' && row.encrypt === 'status unhealthy', false, 'Status and Encrypt agree');
      assert.ok(
        row.wronglyOkMs < maxWronglyOkMs,
        `Status said ok for ${row.wronglyOkMs} ms while calls got a wrong answer`,
      );
      if (!isUpdating)
        assert.ok(documented.includes(withoutTimes(line)), `docs/failure-modes.md says otherwise:\n${line}`);
    });
  }
}

test('the table is written when it is asked for', () => {
  if (!isUpdating) return;
  const [before = '', rest = ''] = readFileSync(file, 'utf8').split(begin);
  const [, after = ''] = rest.split(end);
  const head =
    '| What | When | Status | Encrypt | Decrypt of known keys | `/ready` | Status wrongly ok, seconds | What recovers it | Time |\n|---|---|---|---|---|---|---|---|---|\n';
  writeFileSync(file, `${before}${begin}${head}${lines.join('\n')}\n${end}${after}`);
});

test.run();
