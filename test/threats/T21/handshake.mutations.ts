import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the peer chooses a group of finite-field Diffie-Hellman',
    edits: [{ file: 'plugin/http/tls.ts', at: 'control: tls.no-dhe', find: ':!kDHE', replace: '' }],
  },
  {
    name: 'an address whose certificate was refused is tried as often as anybody asks',
    edits: [
      {
        file: 'plugin/http/dial.ts',
        at: 'control: dial.refused-pace',
        find: 'pace.takeTurn(address, clock.nowMs())',
        replace: 'Number(pace.takeTurn(address, clock.nowMs())) * 0',
      },
    ],
  },
];
