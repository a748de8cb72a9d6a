// Proposals and their answers: each answer ends the proposal that it names, and no other one.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createCommits } from '../../../../plugin/keys/commits.ts';
import type { PluginMessage } from '../../../../shared/channel/messages.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { rejectsClass } from '../../../support/throws.ts';

function bench() {
  const sent: PluginMessage[] = [];
  const stopped = new AbortController();
  return { sent, stopped, commits: createCommits((message) => sent.push(message), stopped.signal) };
}

test('proposals are numbered from 1, and each is settled by its own answer only', async () => {
  const { sent, commits } = bench();
  const settled: string[] = [];
  const proposals = ['one', 'two'].map((state) =>
    commits.propose(state).then((outcome) => {
      settled.push(`${state} ${JSON.stringify(outcome)}`);
    }),
  );
  assert.equal(sent, [
    { kind: 'propose', commitId: 1, state: 'one' },
    { kind: 'propose', commitId: 2, state: 'two' },
  ]);
  commits.committed({ kind: 'committed', commitId: 3, outcome: 'saved', onDisk: 'attempted' });
  commits.committed({
    kind: 'committed',
    commitId: 2,
    outcome: 'failed',
    onDisk: 'other',
    finding: 'state_directory_gone',
  });
  await proposals[1];
  assert.equal(settled, ['two {"outcome":"failed","onDisk":"other","finding":"state_directory_gone"}']);
  commits.committed({ kind: 'committed', commitId: 1, outcome: 'saved', onDisk: 'attempted' });
  await proposals[0];
  assert.is(settled[1], 'one {"outcome":"saved","onDisk":"attempted"}');
});

test('after the stop nothing is proposed', async () => {
  const { sent, stopped, commits } = bench();
  stopped.abort(new ProviderError('canceled', 'the provider is stopping'));
  await rejectsClass(commits.propose('one'), 'canceled');
  assert.equal(sent, []);
});

test.run();
