import type { Mutation } from '../run.ts';

const file = 'supervisor/custody/trusted-file.ts';
const skip = (name: string, find: string, replace = ''): Mutation => ({ name, edits: [{ file, find, replace }] });

export const mutations: readonly Mutation[] = [
  skip('modes are not checked', '(stats.mode & rules.forbiddenBits) !== 0', 'stats.mode < 0'),
  skip('ancestors are not checked', '  checkAncestors(path, rules, reader);\n'),
  skip(
    'the descriptor is not checked again',
    '    const stats = fstatSync(descriptor);\n    checkStats(stats, rules, reader);',
    '    const stats = fstatSync(descriptor);',
  ),
  skip(
    'links are followed',
    'constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK',
    'constants.O_RDONLY | constants.O_NONBLOCK',
  ),
  {
    name: 'a JWT near its end is used',
    edits: [
      {
        file: 'plugin/auth/methods/jwt-claims.ts',
        find: 'claims.expMs - nowUnixMs > rules.minRemainingTtlMs',
        replace: 'claims.expMs > 0',
      },
    ],
  },
];
