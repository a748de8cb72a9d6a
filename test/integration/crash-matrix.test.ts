// Either process killed at every step of start, bind, commit, rotation, promotion, replacement and stop. Afterwards the next
// start (of the plugin: the relaunch) works without help, old data is readable, and nothing is left lying about.

import { readdirSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CrashStep, createCrashingDistribution } from '../support/crashing-distribution.ts';
import { type Installed, install } from '../support/installation.ts';
import { type Provider, type Sealed, untilHealthy, untilSealed } from '../support/provider.ts';

type Scenario = 'start' | 'rotation' | 'promotion' | 'replacement' | 'stop';
type Case = CrashStep & { readonly scenario: Scenario };

const checks = 'supervisor/gate/checks';
const serve = 'supervisor/commands/serve.ts';
const holdings = 'supervisor/gate/holdings.ts';
const socket = 'supervisor/custody/socket.ts';
const store = 'supervisor/custody/state-store.ts';
const loop = 'supervisor/lifecycle/loop.ts';
const incumbent = 'supervisor/lifecycle/incumbent.ts';
const running = 'supervisor/launch/running.ts';
const pluginServe = 'plugin/serve.ts';
const commits = 'plugin/keys/commits.ts';

const starting: readonly CrashStep[] = [
  { file: `${checks}/config.ts`, at: '  const document = await readFor(', side: 'before' },
  { file: `${checks}/credentials.ts`, at: '    const custody = createCredentialCustody(', side: 'before' },
  { file: `${checks}/identity.ts`, at: '    const resolve = ', side: 'before' },
  { file: `${checks}/runtime-directory.ts`, at: '    const { directory: path, name } = ', side: 'before' },
  { file: `${checks}/lock.ts`, at: '    const stateDirectory = pinState(facts, visit);\n    const', side: 'before' },
  { file: `${checks}/lock.ts`, at: '  visit.hold(lock);', side: 'after' },
  { file: `${checks}/state.ts`, at: '    const store = openStore(', side: 'before' },
  { file: `${checks}/socket.ts`, at: '    const socketFinding = ', side: 'before' },
  { file: holdings, at: '    const listeners = bindListeners(', side: 'before' },
  { file: socket, at: '  const privatePath = directory.at(privateName);', side: 'after' },
  { file: socket, at: '    chmodSync(privatePath, options.mode);', side: 'before' },
  { file: socket, at: '    renameSync(privatePath, directory.at(name));', side: 'before' },
  { file: socket, at: '    renameSync(privatePath, directory.at(name));', side: 'after' },
  { file: running, at: '  const child = custody.launch();', side: 'before' },
  { file: running, at: '  const child = custody.launch();', side: 'after' },
  { file: running, at: '  greet(running, greeting.listen, greeting.counters);', side: 'after' },
  { file: incumbent, at: '    if (isNext) return void this.#nextReady(from);', side: 'before' },
  { file: 'plugin/main.ts', at: 'system.ignoreSignals();', side: 'after' },
  { file: pluginServe, at: '    this.#server = createKmsServer(this.#kms, clock, server);', side: 'before' },
  { file: pluginServe, at: "    send({ kind: 'ready', ...confinement(), portsUnopened });", side: 'before' },
  { file: pluginServe, at: "    send({ kind: 'ready', ...confinement(), portsUnopened });", side: 'after' },
];

const committing: readonly CrashStep[] = [
  { file: store, at: '      await this.#saveText(this.#options.name, encodeState(next));', side: 'before' },
  { file: store, at: '      await this.#saveText(this.#options.name, encodeState(next));', side: 'after' },
  { file: store, at: '    this.#noteStable(next);\n    return', side: 'before' },
  {
    file: incumbent,
    at: "      running.channel.send({ kind: 'committed', commitId, ...result, ...(finding === undefined ? {} : { finding }) });",
    side: 'before',
  },
  {
    file: incumbent,
    at: "      running.channel.send({ kind: 'committed', commitId, ...result, ...(finding === undefined ? {} : { finding }) });",
    side: 'after',
  },
  { file: commits, at: "        send({ kind: 'propose', commitId, state });", side: 'before' },
  { file: commits, at: "        send({ kind: 'propose', commitId, state });", side: 'after' },
  { file: commits, at: '      waiting.get(message.commitId)?.({', side: 'before' },
];

/** Inside one save, of the state and of the checkpoint. */
const saving: readonly CrashStep[] = [
  { file: store, at: '        await file.write(text);', side: 'before' },
  { file: store, at: '        await file.sync();', side: 'before' },
  { file: store, at: '      await files.rename(temporaryName, name);', side: 'before' },
  { file: store, at: '      await files.rename(temporaryName, name);', side: 'after' },
  { file: store, at: '    await files.syncDirectory();', side: 'after' },
];

const replacing: readonly CrashStep[] = [
  {
    file: incumbent,
    at: "    this.#setNext(this.#start(custody, !isLost && this.#isWell() ? 'when_healthy' : 'now'));",
    side: 'before',
  },
  {
    file: incumbent,
    at: "    this.#setNext(this.#start(custody, !isLost && this.#isWell() ? 'when_healthy' : 'now'));",
    side: 'after',
  },
  { file: loop, at: '    this.#prepared?.adopt();', side: 'before' },
  { file: incumbent, at: '    if (before !== undefined) this.#retire(before, deadlineMs, killMs);', side: 'before' },
  { file: incumbent, at: '    if (before !== undefined) this.#retire(before, deadlineMs, killMs);', side: 'after' },
  {
    file: pluginServe,
    at: "  if (start.listen === 'when_healthy') await",
    side: 'before',
    when: "start.listen === 'when_healthy'",
  },
  {
    file: pluginServe,
    at: "    send({ kind: 'ready', ...confinement(), portsUnopened });",
    side: 'before',
    when: "this.#start.listen === 'when_healthy'",
  },
  {
    file: pluginServe,
    at: "    send({ kind: 'ready', ...confinement(), portsUnopened });",
    side: 'after',
    when: "this.#start.listen === 'when_healthy'",
  },
  { file: pluginServe, at: '    this.#cache.isShuttingDown = true;', side: 'before', when: 'isReplaced' },
  { file: pluginServe, at: '    this.#cache.isShuttingDown = true;', side: 'after', when: 'isReplaced' },
  { file: pluginServe, at: "    this.#deps.send({ kind: 'drained', cut });", side: 'before', when: 'isReplaced' },
  { file: pluginServe, at: "    this.#deps.send({ kind: 'drained', cut });", side: 'after', when: 'isReplaced' },
];

const stopping: readonly CrashStep[] = [
  { file: serve, at: '      this.#notifier.stopping();', side: 'before' },
  {
    file: incumbent,
    at: "    this.#running?.channel.send({ kind: 'drain', reason: 'stop', deadlineMs });",
    side: 'before',
  },
  {
    file: incumbent,
    at: "    this.#running?.channel.send({ kind: 'drain', reason: 'stop', deadlineMs });",
    side: 'after',
  },
  { file: serve, at: '    await this.#holdings.passed?.store.idle();', side: 'before' },
  {
    file: holdings,
    at: '    for (const lock of Object.values(this.#passed?.locks ?? {})) lock.release();',
    side: 'after',
  },
  { file: pluginServe, at: '    this.#cache.isShuttingDown = true;', side: 'after' },
  { file: pluginServe, at: "    this.#deps.send({ kind: 'drained', cut });", side: 'after' },
];

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
    committing.filter(({ at }) => !at.includes('waiting')),
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
  test(`${one.scenario}: ${process} killed ${one.side} ${JSON.stringify(one.at.trim().slice(0, 60))}`, () => {
    runAll();
    return outcomes.get(one)?.promise;
  });
}

test.run();
