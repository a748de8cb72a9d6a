// Either process killed at every step of start, bind, commit, rotation, promotion, replacement and stop. Afterwards the next
// start (of the plugin: the relaunch) works without help, old data is readable, and nothing is left lying about.

import { readdirSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CrashStep, createCrashingDistribution } from '../support/crashing-distribution.ts';
import { type Installed, install } from '../support/installation.ts';
import { type Provider, type Sealed, untilHealthy, untilSealed } from '../support/provider.ts';
import { committing, incumbent, replacing, saving, starting, stopping, store } from './crash-steps.ts';

type Scenario = 'start' | 'rotation' | 'promotion' | 'replacement' | 'stop';
type Case = CrashStep & { readonly scenario: Scenario };

const inScenario = (scenario: Scenario, steps: readonly CrashStep[], when?: (step: CrashStep) => string): Case[] =>
  steps.map((step) => ({ ...step, scenario, ...(when === undefined ? {} : { when: when(step) }) }));

/** A step of a commit dies at the second generation only: that of the newer version that was seen. */
const atRotation = ({ file }: CrashStep) => {
  if (file === store) return 'next.generation === 2';
  return file === incumbent
    ? 'running.custody.store.current?.generation === 2'
    : 'state.includes("\\"generation\\": 2,")';
};
/** And this one at the state in which version 2 is active. */
const isPromoted = '/"transitVersion": 2,[^}]*"state": "active"/u.test(text)';

const cases: readonly Case[] = [
  ...inScenario('start', starting),
  ...inScenario('start', committing),
  ...inScenario('start', saving),
  ...inScenario(
    'rotation',
    committing.filter(({ at }) => at !== 'step: commit.settled'),
    atRotation,
  ),
  ...inScenario('promotion', saving, () => isPromoted),
  ...inScenario('replacement', replacing),
  ...inScenario('stop', stopping),
];

const rotate = ({ engine }: Installed) =>
  engine.handle('write', 'keys/k8s-demo-etcd/rotate', {}, Math.floor(Date.now() / 1000));

async function runCase(one: Case): Promise<void> {
  const distribution = await createCrashingDistribution(one);
  const installed = await install({
    distribution: distribution.directory,
    change: (config) => {
      config['rotation'] = { activationDelay: '1s', requireStableObservationCount: 1 };
    },
  });
  try {
    const provider = installed.start();
    const isOfPlugin = one.file.startsWith('plugin/');
    const sealed = one.scenario === 'start' ? undefined : await untilSealed(provider);
    if (one.scenario === 'rotation' || one.scenario === 'promotion') rotate(installed);
    if (one.scenario === 'replacement') provider.child.kill('SIGHUP');
    if (one.scenario === 'stop') provider.child.kill('SIGTERM');
    if (isOfPlugin) {
      await provider.line((line) => line.message === 'plugin.exited' && line['signal'] === 'SIGKILL');
      if (one.scenario === 'stop') assert.is(await provider.exited, 0);
    } else {
      await provider.exited;
      assert.is(provider.child.signalCode, 'SIGKILL', 'the crash happened');
    }
    distribution.heal();
    const survivor = isOfPlugin && one.scenario !== 'stop' ? provider : installed.start();
    await untilHealthy(survivor);
    await check(installed, survivor, sealed);
  } finally {
    await installed.close();
    distribution.remove();
  }
}

async function check({ workplace }: Installed, survivor: Provider, sealed: Sealed | undefined) {
  if (sealed !== undefined) assert.is((await survivor.client.decrypt(sealed)).plaintext.length, 32);
  const fresh = await untilSealed(survivor);
  assert.is((await survivor.client.decrypt(fresh)).plaintext.length, 32);
  assert.is(await survivor.stop(), 0);
  assert.equal(readdirSync(`${workplace.directory}/run`), ['.kms.sock.lock']);
  const name = 'key-registry.json';
  assert.equal(readdirSync(`${workplace.directory}/state`).sort(), [name, `${name}.checkpoint`, `${name}.lock`]);
}

/** A few at a time; each test waits for its own. */
const outcomes = new Map<Case, PromiseWithResolvers<void>>(cases.map((one) => [one, Promise.withResolvers<void>()]));
let isRunning = false;
function runAll(): void {
  if (isRunning) return;
  isRunning = true;
  const queue = [...cases];
  const worker = async () => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      const outcome = outcomes.get(one);
      await runCase(one).then(outcome?.resolve, outcome?.reject);
    }
  };
  for (const { promise } of outcomes.values()) promise.catch(() => {});
  for (let count = 0; count < 4; count += 1) void worker();
}

for (const one of cases) {
  const process = one.file.startsWith('plugin/') ? 'plugin' : 'supervisor';
  test(`${one.scenario}: ${process} killed ${one.side} ${one.at}`, () => {
    runAll();
    return outcomes.get(one)?.promise;
  });
}

test.run();
