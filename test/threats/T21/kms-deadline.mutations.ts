import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'who waits for a connection has no deadline',
    edits: [
      {
        file: 'plugin/openbao/exchange.ts',
        at: 'control: exchange.acquire',
        find: 'signal',
        replace: 'new AbortController().signal',
      },
    ],
  },
  {
    name: 'a connection may be made for ever',
    edits: [
      {
        file: 'plugin/openbao/client.ts',
        at: 'control: client.connect-timeout',
        find: 'connectTimeoutMs',
        replace: '1_000 * connectTimeoutMs',
      },
    ],
  },
];
