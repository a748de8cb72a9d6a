import type { Mutation } from '../run.ts';

const output = 'supervisor/launch/plugin-output.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'what is no line of the log goes on as it came',
    needsBuild: true,
    edits: [
      {
        file: 'supervisor/commands/serve.ts',
        find: "text: (text) => current('error', 'plugin.output', { output: text }),",
        replace: "text: (text) => deps.writeLine(text.concat('\\n')),",
      },
    ],
  },
  {
    name: 'a line names its process itself',
    needsBuild: true,
    edits: [
      {
        file: 'shared/log/relay.ts',
        find: "process: 'plugin', ...allowedFields(fields), message",
        replace: "process: 'supervisor', ...allowedFields(fields), message",
      },
    ],
  },
  {
    name: 'any number of lines goes on',
    needsBuild: true,
    edits: [
      {
        file: output,
        find: 'if (this.#second.lines <= maxLinesPerSecond)',
        replace: 'if (this.#second.lines <= 1e9)',
      },
    ],
  },
  {
    name: 'descriptors from outside stay open',
    needsBuild: true,
    edits: [{ file: 'supervisor/main.ts', find: '  system.closeInherited();\n', replace: '' }],
  },
];
