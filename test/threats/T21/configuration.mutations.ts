import type { Mutation } from '../run.ts';

const skip = (name: string, what: string): Mutation => ({
  name,
  edits: [{ file: 'supervisor/gate/yaml-bounds.ts', at: `control: yaml.${what}`, replace: '' }],
});

export const mutations: readonly Mutation[] = [
  {
    name: 'nothing is counted before parsing',
    edits: [
      {
        file: 'supervisor/gate/yaml.ts',
        at: 'control: yaml.counted-before',
        find: 'yamlExcessOf(text)',
        replace: 'undefined as ReturnType<typeof yamlExcessOf>',
      },
    ],
  },
  skip('keys are not counted', 'keys'),
  skip('depth is not looked at', 'depth'),
  skip('scalars may be long', 'scalar'),
  skip('signs are not counted', 'tokens'),
  {
    name: 'each fault copies a part of the text',
    edits: [{ file: 'supervisor/gate/yaml.ts', at: 'control: yaml.pretty-errors', find: 'false', replace: 'true' }],
  },
];
