// Outages at scale, in virtual time: every node logs in once, probes stay spread, and docs/performance.md has the numbers.

import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadOf, phases, type Simulated, simulate, simulationTable } from './simulation.ts';

const sizes = [3, 50, 250];
let running: Promise<readonly Simulated[]> | undefined;
async function runs(): Promise<readonly Simulated[]> {
  running ??= (async () => {
    const found: Simulated[] = [];
    for (const nodes of sizes) found.push(await simulate(nodes));
    return found;
  })();
  return running;
}
const phase = (name: string) => {
  const found = phases.find((one) => one.name.startsWith(name));
  if (found === undefined) throw new Error(name);
  return found;
};
const total = ({ arrivals }: Simulated, arrival: 'login' | 'metadata', from: number, to: number) =>
  arrivals[arrival].slice(from, to).reduce((sum, one) => sum + one, 0);

test('each node logs in once at the start, and once when its token was forgotten; nobody else does', async () => {
  for (const run of await runs()) {
    assert.is(total(run, 'login', 0, 300), run.nodes);
    assert.is(total(run, 'login', 300, 600), 0, 'no login storm against an OpenBao that is away: the tokens live');
    assert.is(total(run, 'login', 600, 900), run.nodes);
  }
});

test('nodes that started together do not probe together: no second has more than chance explains', async () => {
  for (const run of (await runs()).filter(({ nodes }) => nodes >= 50)) {
    for (const name of ['calm', 'outage', 'calm again']) {
      const { peak, mean } = loadOf(run, 'metadata', phase(name));
      // Independent arrivals: five standard deviations above their mean do not happen in these few minutes.
      assert.ok(peak <= mean + 5 * Math.sqrt(mean), `${run.nodes} nodes, ${name}: ${peak} of ${mean.toFixed(2)}`);
    }
  }
});

test('when the outage ends a node probes once its first call is answered: probes come no denser than calls', async () => {
  for (const run of await runs()) {
    const name = phase('its end');
    assert.ok(loadOf(run, 'metadata', name).peak <= loadOf(run, 'decrypt', name).peak);
  }
});

test('an outage is asked after once in ten seconds by each node, and everybody is well again within 15 s', async () => {
  for (const run of await runs()) {
    assert.ok(loadOf(run, 'metadata', phase('outage')).mean <= run.nodes / 10);
    assert.ok(run.recoveredAfterSeconds <= 15, `${run.recoveredAfterSeconds} s`);
  }
});

test('docs/performance.md has this table', async () => {
  const file = new URL('../../docs/performance.md', import.meta.url).pathname;
  const begin = '<!-- simulation: generated -->\n';
  const end = '<!-- simulation: end -->';
  const text = readFileSync(file, 'utf8');
  const [before = '', rest = ''] = text.split(begin);
  const wanted = `${before}${begin}${simulationTable(await runs())}${end}${rest.split(end)[1] ?? ''}`;
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(file, wanted);
  assert.is(readFileSync(file, 'utf8'), wanted, 'run UPDATE_DOCS=1 node test/simulation/simulation.test.ts');
});

test.run();
