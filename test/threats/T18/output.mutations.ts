import type { Mutation } from '../run.ts';

const events = 'shared/log/events.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'what is no line of the log goes on as it came',
    edits: [
      {
        file: 'supervisor/commands/serve.ts',
        at: 'control: serve.plugin-output',
        replace: "text: (text) => deps.writeLine(text.concat('\\n')),",
      },
    ],
  },
  {
    name: 'a line names its process itself',
    edits: [{ file: 'shared/log/relay.ts', at: 'control: relay.process', find: "'plugin'", replace: "'supervisor'" }],
  },
  {
    name: 'a plugin says what only the supervisor says',
    edits: [{ file: events, at: 'control: events.by-plugin', find: "'supervisor'", replace: "'both'" }],
  },
  {
    name: 'any word is an event',
    edits: [{ file: events, at: 'control: events.known', find: ' && pluginEvents.has(name)', replace: '' }],
  },
  {
    name: 'any number of lines goes on',
    edits: [
      {
        file: 'supervisor/launch/plugin-output.ts',
        at: 'control: plugin-output.lines',
        find: 'maxLinesPerSecond',
        replace: '1e9',
      },
    ],
  },
  {
    name: 'descriptors from outside stay open',
    edits: [{ file: 'supervisor/main.ts', at: 'control: main.close-inherited', replace: '' }],
  },
];
