import type { Mutation } from '../run.ts';

const file = 'shared/registry/belief.ts';
const without = (name: string, find: string, replace = ''): Mutation => ({ name, edits: [{ file, find, replace }] });

export const mutations: readonly Mutation[] = [
  {
    name: 'the supervisor believes every legal successor',
    edits: [
      {
        file: 'supervisor/custody/state-store.ts',
        find: '      checkBelief(this.#current, next, nowUnix);\n',
        replace: '',
      },
    ],
  },
  {
    name: 'a proposal may have any form',
    edits: [
      {
        file: 'supervisor/custody/state-store.ts',
        find: 'if (encodeState(next) !== text)',
        replace: 'if (text === "")',
      },
    ],
  },
  without(
    'times are not judged while the clock stands behind the state',
    'noted: (timeUnix) => timeUnix > latestUnix',
    'noted: aheadOf(predecessor, nowUnix)',
  ),
  without(
    'a record may be new in any place',
    "if (one.state !== 'retired' || !isBetween)",
    "if (one.state === 'active')",
  ),
  without('the highest version may jump', '> maxVersionJump', '> maxVersionJump * 1e9'),
  without('two versions may wait', 'if (pending.length > 1)', 'if (pending.length > 9)'),
  without(
    'a new version may be older than the active one',
    'if (one.transitVersionCreatedAtUnix < active.transitVersionCreatedAtUnix)',
    'if (one.transitVersionCreatedAtUnix < 0)',
  ),
  without(
    'times are not compared with the clock',
    'if (isAhead.created(createdUnix) || noted.some(isAhead.noted))',
    'if (noted.length === 0)',
  ),
  without('counts may jump', 'if (counted < 0 || counted > 1)', 'if (counted < 0)'),
  without('records may be rewritten', 'if (!isSame({ ...expected }, now))', 'if (expected === undefined)'),
  without('a waiting version may be given up', 'if (!isSuperseded ||', 'if ('),
  without('any number of records may be new', 'if (added.length > maxNewRecords)', 'if (added.length > 1e6)'),
];
