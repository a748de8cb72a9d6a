// Every control switched off in turn lets its attack succeed: the threat tests can tell the difference.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hasKubernetes } from '../support/kubernetes-binaries.ts';
import { threatIds, threatParts, tryThreats } from './run.ts';

test('each mutation of each threat is noticed by its attack', async () => {
  const results = await tryThreats(threatParts(threatIds()), true);
  const unnoticed = results.flatMap(({ id, mutations }) =>
    mutations.filter(({ isNoticed }) => !isNoticed).map(({ name }) => `${id}: ${name}`),
  );
  const needsServer = !hasKubernetes() ? ['T01'] : [];
  const without = results
    .filter(({ id, mutations }) => mutations.length === 0 && !needsServer.includes(id))
    .map(({ id }) => id);

  assert.equal(unnoticed, []);
  assert.equal(without, []);
});

test.run();
