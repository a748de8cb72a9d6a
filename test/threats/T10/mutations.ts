import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'Transit is asked anyway',
    edits: [
      {
        file: 'plugin/key-service.ts',
        find: '  if (found === undefined) throw unknown();\n  return found;',
        replace:
          '  const fallback = found ?? deps.cache.active;\n  if (fallback === undefined) throw unknown();\n  return fallback;',
      },
    ],
  },
  {
    name: 'base64url is decoded leniently',
    edits: [
      {
        file: 'shared/text/base64url.ts',
        find: "return bytes.toString('base64url') === text ? bytes : undefined;",
        replace: 'return bytes;',
      },
    ],
  },
  {
    name: 'removed records decrypt',
    edits: [
      {
        file: 'plugin/health/status-cache.ts',
        find: "kind === 'active' || kind === 'pending' || kind === 'retired'",
        replace: "kind !== 'rejected'",
      },
    ],
  },
];
