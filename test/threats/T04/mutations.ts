import type { Mutation } from '../run.ts';

const file = 'supervisor/custody/trusted-file.ts';
const skip = (name: string, what: string, edit: { find?: string; replace: string } = { replace: '' }): Mutation => ({
  name,
  edits: [{ file, at: `control: trusted-file.${what}`, ...edit }],
});

export const mutations: readonly Mutation[] = [
  skip('modes are not checked', 'mode', {
    find: '(stats.mode & rules.forbiddenBits) !== 0',
    replace: 'stats.mode < 0',
  }),
  skip('ancestors are not checked', 'ancestors'),
  skip('the descriptor is not checked again', 'descriptor'),
  skip('links are followed', 'no-follow', { find: ' | constants.O_NOFOLLOW', replace: '' }),
  {
    name: 'a JWT near its end is used',
    edits: [
      {
        file: 'plugin/auth/methods/jwt-claims.ts',
        at: 'control: jwt.near-expiry',
        find: 'claims.expMs - nowUnixMs > rules.minRemainingTtlMs',
        replace: 'claims.expMs > 0',
      },
    ],
  },
];
