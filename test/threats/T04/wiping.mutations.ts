import type { Mutation } from '../run.ts';

const skip = (name: string, file: string, find: string, replace = ''): Mutation => ({
  name,
  edits: [{ file: `supervisor/custody/${file}`, find, replace }],
});

export const mutations: readonly Mutation[] = [
  skip('the buffer of the reading stays', 'trusted-file.ts', '    buffer.fill(0);\n', '    buffer.at(0);\n'),
  skip(
    'what was passed on stays',
    'credentials.ts',
    "    const base64 = bytes.toString('base64');\n    bytes.fill(0);\n",
    "    const base64 = bytes.toString('base64');\n",
  ),
  skip('what was only checked stays', 'credentials.ts', '      read.bytes.fill(0);\n', '      read.bytes.at(0);\n'),
];
