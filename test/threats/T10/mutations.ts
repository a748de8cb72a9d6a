import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'Transit is asked anyway',
    edits: [
      {
        file: 'plugin/key-service.ts',
        at: 'control: key-service.unknown-id',
        find: 'throw unknown();',
        replace: '{ if (deps.cache.active === undefined) throw unknown(); return deps.cache.active; }',
      },
    ],
  },
  {
    name: 'base64url is decoded leniently',
    edits: [
      {
        file: 'shared/text/base64url.ts',
        at: 'control: base64url.strict',
        replace: 'return bytes;',
      },
    ],
  },
  {
    name: 'removed records decrypt',
    edits: [
      {
        file: 'plugin/health/status-cache.ts',
        at: 'control: status-cache.usable',
        find: "kind === 'active' || kind === 'pending' || kind === 'retired'",
        replace: "kind !== 'rejected'",
      },
    ],
  },
];
