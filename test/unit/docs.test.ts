// The documents say what the code does: lists are compared both ways. `npm run docs` (UPDATE_DOCS=1) writes the generated tables.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reasons } from '../../plugin/health/verdict.ts';
import { warningCodes } from '../../plugin/health/warnings.ts';
import { profileWarningCodes } from '../../plugin/keys/profile.ts';
import { profileFindings } from '../../plugin/keys/profile-findings.ts';
import { rightFindings } from '../../plugin/keys/rights.ts';
import { kmsFailureOf } from '../../plugin/kms/failures.ts';
import { metricSeries } from '../../plugin/telemetry/metrics.ts';
import { onDiskStates } from '../../shared/channel/messages.ts';
import { type Field, fields } from '../../shared/config/fields.ts';
import { confinementProblems } from '../../shared/confinement/confinement.ts';
import { caFindings, loginDetails, tlsDetails } from '../../shared/errors/cause.ts';
import { errorClasses, ProviderError } from '../../shared/errors/error.ts';
import { loginHints } from '../../shared/errors/hints.ts';
import { kmsErrorClasses, policies, tokenStatuses } from '../../shared/errors/policy.ts';
import { logEvents } from '../../shared/log/events.ts';
import { logFieldRows } from '../../shared/log/fields.ts';
import { shutdownReasons } from '../../supervisor/commands/serve.ts';
import { lossReasons } from '../../supervisor/custody/held-directory.ts';
import { fileReasons } from '../../supervisor/custody/trusted-file.ts';
import { overridable } from '../../supervisor/environment.ts';
import { departureReasons } from '../../supervisor/lifecycle/departure.ts';
import { restartReasons } from '../../supervisor/lifecycle/events.ts';
import { checkIds } from '../../supervisor/refusal.ts';
import { stateTable } from '../support/life-machine.ts';
import { trialTable } from '../support/trial-machine.ts';

const root = new URL('../..', import.meta.url).pathname;
const read = (name: string) => readFileSync(`${root}docs/${name}`, 'utf8');

function checkGenerated(name: string, marker: string, table: string): void {
  const begin = `<!-- ${marker}: generated -->\n`;
  const end = `<!-- ${marker}: end -->`;
  const text = read(name);
  const [before = '', rest = ''] = text.split(begin);
  const [, after = ''] = rest.split(end);
  const wanted = `${before}${begin}${table}${end}${after}`;
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(`${root}docs/${name}`, wanted);
  assert.is(read(name), wanted, `docs/${name} is not what the code says; run npm run docs`);
}

function defaultOf(field: Field): string {
  if (field.kind === 'strings') return 'empty';
  const value = field.byDefault;
  if (value === undefined) return '–';
  return value === '' ? 'empty' : `\`${value}\``;
}

const changeMarks: Readonly<Record<Field['changes'], string>> = { identity: ' **C**', restart: ' **R**', reload: '' };

test('docs/configuration.md lists every field with type, default, rules, purpose and what it takes to change it', () => {
  const rows = fields.map((field) => {
    const rules = 'rules' in field ? field.rules.map(({ message }) => message).join('; ') : '';
    return `| \`${field.path}\`${changeMarks[field.changes]} | ${field.kind} | ${defaultOf(field)} | ${field.about} | ${rules.replaceAll('|', '\\|')} |\n`;
  });
  checkGenerated(
    'configuration.md',
    'fields',
    `| Field | Type | Default | Purpose | Rules |\n|---|---|---|---|---|\n${rows.join('')}`,
  );
});

test('docs/configuration.md lists every setting that can be overridden', () => {
  const rows = overridable.map(
    ({ path, flag, variables }) =>
      `| \`${path}\` | \`--${flag}\` | ${variables.map((name) => `\`${name}\``).join(', ')} |\n`,
  );
  checkGenerated('configuration.md', 'overrides', `| Setting | Flag | Variables |\n|---|---|---|\n${rows.join('')}`);
});

test('docs/metrics.md lists every series with type and labels', () => {
  const rows = metricSeries.map(
    ({ name, type, labels, help }) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |\n`,
  );
  checkGenerated('metrics.md', 'series', `| Series | Type | Labels | Meaning |\n|---|---|---|---|\n${rows.join('')}`);
});

test('docs/threat-model.md has a row for each threat that is tried, in order, and for no other', () => {
  const tried = readdirSync(`${root}test/threats`).filter((name) => /^T\d\d$/u.test(name));
  const rows = [...read('threat-model.md').matchAll(/^\| (T\d\d) \|/gmu)].map(([, id]) => id);
  assert.equal(rows, tried.sort());
});

test('docs/states.md is what the machine does in every state with every event', () => {
  checkGenerated('states.md', 'life', stateTable());
});

test('docs/states.md says what is done with a credential on trial', () => {
  checkGenerated('states.md', 'trials', trialTable());
});

/** Names in the first column of a section of docs/errors.md, in their order. */
function namesIn(section: string): string[] {
  const [, after] = read('errors.md').split(`\n## ${section}\n`);
  assert.ok(after !== undefined, `docs/errors.md has no section ${section}`);
  const [own = ''] = (after ?? '').split('\n## ');
  return [...own.matchAll(/^\| `([a-z_.]+)` \|/gmu)].map(([, name]) => name ?? '');
}

const names: Readonly<Record<string, readonly string[]>> = {
  'Error classes': Object.values(policies).map(({ probeClass }) => probeClass),
  Reasons: reasons,
  'Details of a login': loginDetails,
  'Details of TLS': tlsDetails,
  Findings: profileFindings,
  Rights: rightFindings,
  Warnings: warningCodes.filter((code) => !rightFindings.some((finding) => finding === code)),
  'Reasons for a refused file': fileReasons,
  'Findings of a CA file': caFindings,
  'Reasons for a lost directory': lossReasons,
  'Reasons for a shutdown': [...shutdownReasons, ...Object.values(departureReasons)],
  'Reasons for a failed save': onDiskStates,
  'Warnings about the key': profileWarningCodes,
  'Reasons for a restart': restartReasons,
  'Reasons for a refused plugin': confinementProblems,
  'Checks of the gate': [...checkIds],
  'Classes of KMS calls': kmsErrorClasses,
  'Status of logins in metrics': tokenStatuses,
};
for (const [section, fromCode] of Object.entries(names)) {
  test(`docs/errors.md, ${section}: every name that the code can tell once, and no other`, () => {
    assert.equal(namesIn(section).sort(), [...fromCode].sort());
  });
}

test('docs/errors.md has the sentence of each detail of a login that stands in the log', () => {
  const rows = loginDetails.map((detail) => `| \`${detail}\` | ${loginHints[detail].replaceAll('|', '\\|')} |\n`);
  checkGenerated('errors.md', 'login details', `| Detail | What to do |\n|---|---|\n${rows.join('')}`);
});

test('no class has the name of another', () => {
  const told = Object.values(policies).map(({ probeClass }) => probeClass);
  assert.is(new Set(told).size, errorClasses.length);
});

test('a class of KMS calls stands for the classes that become it', () => {
  for (const errorClass of errorClasses) {
    const { errorClass: kmsClass } = kmsFailureOf(new ProviderError(errorClass, ''), 'decrypt');
    const row = new RegExp(`^\\| \`${kmsClass}\` \\| (.*) \\|$`, 'mu').exec(kmsSection())?.[1] ?? '';
    const told = policies[errorClass].probeClass;
    const isTold = row.includes(`\`${told}\``) || (row.includes('the same') && told === kmsClass);
    const isGroup = row.includes('every `jwt_…`') && told.startsWith('jwt_');
    assert.ok(isTold || isGroup || kmsClass === 'unknown', `${told} becomes ${kmsClass}`);
  }
});

const kmsSection = () => read('errors.md').split('\n## Classes of KMS calls\n')[1]?.split('\n## ')[0] ?? '';

test('the instance unit is the unit with paths of its own, and nothing else', () => {
  const unit = (name: string) => readFileSync(`${root}deploy/systemd/${name}`, 'utf8').replace(/^#.*\n/gmu, '');
  const expected = unit('bao-kms-provider.service')
    .replace('OpenBao\n', 'OpenBao, key %i\n')
    .replace('BindReadOnlyPaths=/etc/openbao-kms ', 'BindReadOnlyPaths=/etc/openbao-kms/%i -/etc/openbao-kms/tls ')
    .replaceAll('/etc/openbao-kms/config.yaml', '/etc/openbao-kms/%i/config.yaml')
    .replaceAll(/\/run\/openbao-kms(?=\s)/gu, '/run/openbao-kms/%i')
    .replaceAll(/\/var\/lib\/openbao-kms\/(?=state|credentials)/gu, '/var/lib/openbao-kms/%i/');
  assert.is(unit('bao-kms-provider@.service'), expected);
});

test('CONTRIBUTING.md says one line of every script of package.json', () => {
  const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { scripts: Record<string, string> };
  const contributing = readFileSync(`${root}CONTRIBUTING.md`, 'utf8');
  const told = [...contributing.matchAll(/^\| `(?:run )?([a-z:]+)` \| \S/gmu)].map(([, name]) => name ?? '');
  assert.equal(told.sort(), Object.keys(scripts).sort());
});

test('docs/architecture.md names every check of the gate', () => {
  for (const id of checkIds) assert.ok(read('architecture.md').includes(`\`${id}\``), id);
});

test('docs/logs.md lists every event and every field of the log', () => {
  const events = Object.entries(logEvents).map(([name, { by, about }]) => `| \`${name}\` | ${by} | ${about} |\n`);
  checkGenerated('logs.md', 'events', `| Event | Process | Meaning |\n|---|---|---|\n${events.join('')}`);
  const rows = Object.entries(logFieldRows).map(([name, [kind, about]]) => `| \`${name}\` | ${kind} | ${about} |\n`);
  checkGenerated('logs.md', 'fields', `| Field | Kind | Meaning |\n|---|---|---|\n${rows.join('')}`);
});

/** The sources below the folders, beside the tables. */
function sourcesIn(folders: readonly string[], tables: readonly string[] = []): string[] {
  return folders.flatMap((folder) =>
    readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })
      .map((name) => `${folder}/${name}`)
      .filter((name) => name.endsWith('.ts') && !tables.includes(name))
      .map((name) => readFileSync(`${root}${name}`, 'utf8')),
  );
}

/** Those names that no source below the folders has in quotes, beside the tables that declare them. */
function unused(names: readonly string[], folders: readonly string[], tables: readonly string[] = []): string[] {
  const sources = sourcesIn(folders, tables);
  return names.filter((name) => !sources.some((text) => text.includes(`'${name}'`)));
}

test('every event of the log is written by the process that the table names, and a plugin writes no other', () => {
  const namesBy = (process: string) =>
    Object.entries(logEvents).flatMap(([name, { by }]) => (by === process || by === 'both' ? [name] : []));
  for (const process of ['supervisor', 'plugin']) assert.equal(unused(namesBy(process), [process]), []);
  const ofSupervisor = namesBy('supervisor').filter((name) => !namesBy('plugin').includes(name));
  assert.equal(unused(ofSupervisor, ['plugin']), ofSupervisor, 'the supervisor would take it for text');
});

test('every series is set somewhere', () => {
  const names = metricSeries.map(({ name }) => name.replace(/^openbao_kms_/u, ''));
  assert.equal(unused(names, ['plugin'], ['plugin/telemetry/metrics.ts']), []);
});

test('every field of the configuration is read somewhere', () => {
  // Login methods that are not available yet are checked and not read; rotation.mode has one value.
  const read = fields.filter(({ only, path }) => (only ?? 'jwt') === 'jwt' && path !== 'rotation.mode');
  const sources = sourcesIn(['supervisor', 'plugin', 'shared'], ['shared/config/fields.ts']);
  const isRead = ({ path, kind }: (typeof read)[number]) => {
    // By its path, or as a member of its section of `Config`.
    const [name = ''] = path.split('.').slice(-1);
    const member = new RegExp(`[.{,]\\s*${name}${kind === 'duration' ? 'Ms' : ''}\\b`, 'u');
    return sources.some((text) => text.includes(`'${path}'`) || member.test(text));
  };
  assert.equal(
    read.filter((field) => !isRead(field)).map(({ path }) => path),
    [],
  );
});

test.run();
