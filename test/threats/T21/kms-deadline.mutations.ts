import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'who waits for a connection has no deadline',
    edits: [
      {
        file: 'plugin/openbao/exchange.ts',
        find: 'connection = await deps.pool.acquire(signal, isFresh);',
        replace: 'connection = await deps.pool.acquire(new AbortController().signal, isFresh);',
      },
    ],
  },
  {
    name: 'a connection may be made for ever',
    edits: [
      {
        file: 'plugin/openbao/client.ts',
        find: 'timeoutMs: connectTimeoutMs, signal }',
        replace: 'timeoutMs: 1_000 * connectTimeoutMs, signal }',
      },
    ],
  },
];
