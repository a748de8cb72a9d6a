// Guards of the product switched off one at a time, and the sentence that each of them breaks.

import type { Mutation } from '../threats/run.ts';
import type { sentences } from './node.ts';

export type Planted = Mutation & { readonly breaks: keyof typeof sentences };

const rotation = 'plugin/keys/rotation.ts';
const ledger = 'plugin/keys/ledger.ts';
const supersededForgotten = {
  file: rotation,
  at: 'control: rotation.superseded',
  replace: ".filter((snapshot) => snapshot.state !== 'pending');",
};

export const planted: readonly Planted[] = [
  {
    name: 'a promotion does not wait for its activation delay',
    breaks: 'honest',
    edits: [
      {
        file: rotation,
        at: 'control: rotation.promotable',
        replace: 'candidate.transitVersion > 0',
      },
    ],
  },
  {
    name: 'a superseded candidate is forgotten',
    breaks: 'honest',
    edits: [supersededForgotten],
  },
  {
    name: 'versions that were jumped over are not recorded',
    breaks: 'readable',
    edits: [
      {
        file: rotation,
        at: 'control: rotation.jumped-over',
        find: '< newest',
        replace: '< Math.min(newest, 0)',
      },
    ],
  },
  {
    name: 'a state is published before it is saved',
    breaks: 'accepted',
    edits: [
      {
        file: ledger,
        at: 'control: ledger.save-first',
        find: 'const isSaved',
        replace: "yield* publish(ledger, result.state, result.outcome === 'promoted');\n  const isSaved",
      },
    ],
  },
  {
    name: 'a candidate is promoted without its probe',
    breaks: 'equal',
    edits: [
      {
        file: ledger,
        at: 'control: ledger.prove',
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
        file: rotation,
        at: 'control: rotation.candidate',
        find: 'const candidate',
        replace: 'if (isBlocked) return unchanged(state, true);\n  const candidate',
      },
    ],
  },
  {
    name: 'a promotion removes the version before',
    breaks: 'honest',
    edits: [{ file: rotation, at: 'control: rotation.retired', find: "'retired'", replace: "'removed'" }],
  },
  {
    name: 'the rule of succession lets records go',
    breaks: 'history',
    edits: [
      supersededForgotten,
      {
        file: 'shared/registry/successor.ts',
        at: 'control: successor.no-record-lost',
        find: "throw illegal('drops a record')",
        replace: 'return',
      },
    ],
  },
  {
    name: 'a state that is one ahead of its checkpoint is refused',
    breaks: 'restart',
    edits: [
      {
        file: 'shared/registry/pair.ts',
        at: 'control: pair.predecessor',
        find: 'checkpoint.currentHash',
        replace: 'checkpoint.generation.toString()',
      },
    ],
  },
  {
    name: 'a wait that is just over does not count',
    breaks: 'free',
    edits: [{ file: 'plugin/keys/activation-wait.ts', at: 'control: activation-wait.over', find: '>=', replace: '>' }],
  },
];
