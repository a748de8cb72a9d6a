import type { Mutation } from '../run.ts';

const skip = (name: string, file: string, at: string): Mutation => ({
  name,
  edits: [{ file: `supervisor/custody/${file}`, at, find: '.fill(0)', replace: '.at(0)' }],
});

export const mutations: readonly Mutation[] = [
  skip('the buffer of the reading stays', 'trusted-file.ts', 'control: trusted-file.wipe'),
  skip('what was passed on stays', 'credentials.ts', 'control: credentials.wipe-sent'),
  skip('what was only checked stays', 'credentials.ts', 'control: credentials.wipe-checked'),
];
