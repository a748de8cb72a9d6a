import type { Mutation } from '../run.ts';

const without = (name: string, what: string, find: string, replace: string): Mutation => ({
  name,
  edits: [{ file: 'shared/registry/belief.ts', at: `control: belief.${what}`, find, replace }],
});

export const mutations: readonly Mutation[] = [
  {
    name: 'the supervisor believes every legal successor',
    edits: [{ file: 'supervisor/custody/state-store.ts', at: 'control: state.belief', replace: '' }],
  },
  {
    name: 'a proposal may have any form',
    edits: [
      {
        file: 'supervisor/custody/state-store.ts',
        at: 'control: state.encoding',
        find: 'encodeState(next) !== text',
        replace: 'text === ""',
      },
    ],
  },
  without(
    'times are not judged while the clock stands behind the state',
    'noted-ahead',
    '(timeUnix) => timeUnix > latestUnix',
    'aheadOf(predecessor, nowUnix)',
  ),
  without('a first state may be of any time', 'first-seen', ' && observedAtUnix >= nowUnix - firstBehindSeconds', ''),
  without(
    'a record may be new in any place',
    'new-between',
    "one.state !== 'retired' || !isBetween",
    "one.state === 'active'",
  ),
  without('the highest version may jump', 'version-jump', 'maxVersionJump', 'maxVersionJump * 1e9'),
  without('two versions may wait', 'one-pending', '> 1', '> 9'),
  without(
    'a new version may be older than the active one',
    'newer-than-active',
    '< active.transitVersionCreatedAtUnix',
    '< 0',
  ),
  without(
    'times are not compared with the clock',
    'times',
    'isAhead.created(createdUnix) || noted.some(isAhead.noted)',
    'noted.length === 0',
  ),
  without('counts may jump', 'counts', ' || counted > 1', ''),
  without('records may be rewritten', 'rewritten', '!isSame({ ...expected }, now)', 'expected === undefined'),
  without('a waiting version may be given up', 'superseded', '!isSuperseded || ', ''),
  without('any number of records may be new', 'added', 'maxNewRecords', '1e6'),
];
