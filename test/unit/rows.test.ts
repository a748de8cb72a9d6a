// One new thing is one row and one file. In a copy of the sources a command, a check of the gate, a class of error and an event of the
// log are added. The compiler refuses each of them while it is incomplete; then everything that is derived from the tables has it.
// Fields of the configuration and login methods have tests of their own.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { copySources } from '../support/source-copy.ts';

const copy = copySources();
const { compile, replaceIn, write } = copy;

const command = `
  'rotation-news': {
    summary: 'shows what is new',
    flags: ['output'],
    gate: 'task',
    task: 'read_key',
    writes: 'nothing',
    exits: ['configuration', 'checkFailed'],
    load: () => import('./rotation-news.ts'),
  },
`;
const commandFile = `
import type { Command } from './command.ts';

export const run: Command['run'] = ({ name }, { print }) => {
  print(name);
  return 0;
};
`;
const checkFile = `
import type { GateCheck } from './check.ts';

export const weather: GateCheck<'loaded', never> = {
  title: 'the weather is good',
  needs: ['loaded'],
  gives: [],
  look: () => ({}),
};
`;

/** What the tables and what is derived from them say of the new things. */
const probe = `
import { errorClasses, ProviderError } from './shared/errors/error.ts';
import { classNames } from './shared/errors/words.ts';
import { policyOf } from './shared/errors/policy.ts';
import { logEvents } from './shared/log/events.ts';
import { parseArguments } from './supervisor/arguments.ts';
import { helpText } from './supervisor/commands/help-text.ts';
import { commands } from './supervisor/commands/table.ts';
import { servingChecks } from './supervisor/gate/checks/table.ts';
import { GateRefusal } from './supervisor/refusal.ts';

const { run } = await commands['rotation-news'].load();
let printed = '';
const deps = { print: (text: string) => { printed += text; } } as never;
const invocation = parseArguments(['rotation-news', '--output', 'json'], {}, '/');
const exitCode = await run(invocation, deps);
process.stdout.write(JSON.stringify({
  printed, exitCode, output: invocation.output,
  inHelp: helpText(undefined).includes('rotation-news      shows what is new'),
  ownHelp: helpText('rotation-news').includes('--output FORMAT'),
  checks: servingChecks.map(({ id }) => id).at(-1),
  refusal: new GateRefusal('gate.weather', new ProviderError('weather_bad', 'rain')).exitCode,
  policy: policyOf(new ProviderError('weather_bad', 'rain')).exitCode,
  isClass: errorClasses.includes('weather_bad'),
  mayBeSaid: classNames.includes('weather_bad'),
  event: logEvents['weather.changed'].by,
}));
`;

test('a command without its file, a check without its row, a class without its policy and an unknown event do not compile', () => {
  replaceIn('supervisor/commands/table.ts', '  config: {\n    summary', `${command}  config: {\n    summary`);
  replaceIn('supervisor/refusal.ts', "  'gate.listeners',\n", "  'gate.listeners',\n  'gate.weather',\n");
  replaceIn('shared/errors/error.ts', "  'usage_invalid',\n", "  'usage_invalid',\n  'weather_bad',\n");
  write(
    'event.ts',
    "import type { Log } from './shared/log/fields.ts';\nexport const tell = (log: Log) => log('info', 'weather.changed');\n",
  );
  const { files, output } = compile();
  const expected = [
    'supervisor/commands/table.ts',
    'supervisor/gate/checks/table.ts',
    'shared/errors/policy.ts',
    'event.ts',
  ];
  for (const file of expected) assert.ok(files.includes(file), `${file}: ${output}`);
});

test('with its row and its file each of them is known wherever the tables are read', () => {
  write('supervisor/commands/rotation-news.ts', commandFile);
  write('supervisor/gate/checks/weather.ts', checkFile);
  const checks = 'supervisor/gate/checks/table.ts';
  replaceIn(
    checks,
    "import { state } from './state.ts';\n",
    "import { state } from './state.ts';\nimport { weather } from './weather.ts';\n",
  );
  const last = "  'gate.listeners': { ...place(listeners), ...onlyServing },\n";
  replaceIn(checks, last, `${last}  'gate.weather': { ...place(weather), ...onlyServing },\n`);
  replaceIn(
    'shared/errors/policy.ts',
    '  usage_invalid: elsewhere',
    '  weather_bad: elsewhere(exitCodes.checkFailed),\n  usage_invalid: elsewhere',
  );
  replaceIn(
    'shared/log/events.ts',
    "  'auth.login': plugin(",
    "  'weather.changed': supervisor('It rains.'),\n  'auth.login': plugin(",
  );
  write('probe.ts', probe);
  const { output } = compile();
  assert.is(output, '');
  assert.equal(JSON.parse(copy.run('probe.ts')), {
    printed: 'rotation-news',
    exitCode: 0,
    output: 'json',
    inHelp: true,
    ownHelp: true,
    checks: 'gate.weather',
    refusal: 5,
    policy: 4,
    isClass: true,
    mayBeSaid: true,
    event: 'supervisor',
  });
});

test.after(copy.remove);
test.run();
