// Guards of the product switched off one at a time, and the sentence that each of them breaks.

import type { Mutation } from '../threats/run.ts';
import type { sentences } from './node.ts';

export type Planted = Mutation & { readonly breaks: keyof typeof sentences };

const observe = 'plugin/keys/rotation.ts';
const ledger = 'plugin/keys/ledger.ts';

export const planted: readonly Planted[] = [
  {
    name: 'a promotion does not wait for its activation delay',
    breaks: 'honest',
    edits: [
      {
        file: observe,
        find: 'input.promotable === candidate.kubernetesKeyId',
        replace: 'candidate.transitVersion > 0',
      },
    ],
  },
  {
    name: 'a superseded candidate is forgotten',
    breaks: 'honest',
    edits: [
      {
        file: observe,
        find: "    .map((snapshot) => (snapshot.state === 'pending' ? { ...snapshot, state: 'retired' as const } : snapshot));",
        replace: "    .filter((snapshot) => snapshot.state !== 'pending');",
      },
    ],
  },
  {
    name: 'versions that were jumped over are not recorded',
    breaks: 'readable',
    edits: [
      {
        file: observe,
        find: '.filter((version) => version < newest)',
        replace: '.filter((version) => version < Math.min(newest, 0))',
      },
    ],
  },
  {
    name: 'a state is published before it is saved',
    breaks: 'accepted',
    edits: [
      {
        file: ledger,
        find: "  const isSaved = result.outcome === 'unchanged'",
        replace:
          "  yield* publish(ledger, result.state, result.outcome === 'promoted');\n  const isSaved = result.outcome === 'unchanged'",
      },
    ],
  },
  {
    name: 'a candidate is promoted without its probe',
    breaks: 'equal',
    edits: [
      {
        file: ledger,
        find: "found.outcome !== 'promoted' || (yield* prove(found))",
        replace: 'found.outcome.length > 0',
      },
    ],
  },
  {
    name: 'a blocked active version ends the observation',
    breaks: 'free',
    edits: [
      {
        file: observe,
        find: '  const candidate = candidateOf(input, active);\n',
        replace: '  if (isBlocked) return unchanged(state, true);\n  const candidate = candidateOf(input, active);\n',
      },
    ],
  },
  {
    name: 'a promotion removes the version before',
    breaks: 'honest',
    edits: [
      {
        file: observe,
        find: "return { ...snapshot, state: 'retired', stableObservationCount: 0, stableAtUnix: 0 };",
        replace: "return { ...snapshot, state: 'removed', stableObservationCount: 0, stableAtUnix: 0 };",
      },
    ],
  },
  {
    name: 'the rule of succession lets records go',
    breaks: 'history',
    edits: [
      {
        file: observe,
        find: "    .map((snapshot) => (snapshot.state === 'pending' ? { ...snapshot, state: 'retired' as const } : snapshot));",
        replace: "    .filter((snapshot) => snapshot.state !== 'pending');",
      },
      {
        file: 'shared/registry/successor.ts',
        find: "if (now === undefined) throw illegal('drops a record');",
        replace: 'if (now === undefined) return;',
      },
    ],
  },
  {
    name: 'a state that is one ahead of its checkpoint is refused',
    breaks: 'restart',
    edits: [
      {
        file: 'shared/registry/pair.ts',
        find: '  if (state.previousHash !== checkpoint.currentHash) throw rollback(',
        replace: '  if (state.previousHash !== checkpoint.generation.toString()) throw rollback(',
      },
    ],
  },
  {
    name: 'a wait that is just over does not count',
    breaks: 'free',
    edits: [
      {
        file: 'plugin/keys/activation-wait.ts',
        find: 'nowMs >= waiting.endsAtMs ? waiting.keyId',
        replace: 'nowMs > waiting.endsAtMs ? waiting.keyId',
      },
    ],
  },
];
