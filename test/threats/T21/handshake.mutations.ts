import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the peer chooses a group of finite-field Diffie-Hellman',
    edits: [{ file: 'plugin/http/tls.ts', at: 'control: tls.no-dhe', find: ':!kDHE', replace: '' }],
  },
];
