// Credentials on trial: no reachable state breaks a sentence, and each rule that is switched off breaks the one it stands for.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exploreTrials } from './trials.ts';
import { describeTrials, trialBounds, tryAllPlantedTrials } from './trials-run.ts';

for (const limits of trialBounds) {
  test(`all sentences about credentials hold with ${JSON.stringify(limits)}`, () => {
    const outcome = exploreTrials(limits);
    process.stdout.write(`${describeTrials(limits, outcome)}\n`);
    assert.is(outcome.violation, undefined);
  });
}

test('each rule about credentials that is switched off breaks the sentence it stands for', async () => {
  const results = await tryAllPlantedTrials();

  assert.ok(results.length >= 6);
  assert.equal(
    results.filter(({ found, wanted }) => found !== wanted),
    [],
  );
});

test.run();
