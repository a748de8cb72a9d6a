import type { Mutation } from '../run.ts';

const file = 'supervisor/gate/yaml-bounds.ts';
const skip = (name: string, find: string, replace = ''): Mutation => ({ name, edits: [{ file, find, replace }] });

export const mutations: readonly Mutation[] = [
  {
    name: 'nothing is counted before parsing',
    edits: [
      {
        file: 'supervisor/gate/yaml.ts',
        find: 'const excess = yamlExcessOf(text);',
        replace: 'const excess = undefined as ReturnType<typeof yamlExcessOf>;',
      },
    ],
    needsBuild: true,
  },
  skip('keys are not counted', '    if (keys > maxYamlKeys) return excesses.keys;\n'),
  skip('depth is not looked at', '    if (depth + 1 > maxYamlDepth) return excesses.depth;\n'),
  skip('scalars may be long', '    if (token.length > maxYamlScalarLength) return excesses.scalar;\n'),
  skip('signs are not counted', '    if (tokens > maxYamlTokens) return excesses.tokens;\n'),
  {
    name: 'each fault copies a part of the text',
    edits: [{ file: 'supervisor/gate/yaml.ts', find: 'prettyErrors: false', replace: 'prettyErrors: true' }],
  },
];
