// The documents say what the code does: lists are compared both ways. UPDATE_DOCS=1 writes the generated tables.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { metricSeries } from '../../plugin/metrics/metrics.ts';
import { type Field, fields } from '../../shared/config/fields.ts';
import { errorClasses } from '../../shared/errors/error.ts';
import { checkIds } from '../../supervisor/gate/gate.ts';
import { stateTable } from '../support/life-machine.ts';

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
  assert.is(
    read(name),
    wanted,
    `docs/${name} is not what the code says; run UPDATE_DOCS=1 node test/unit/docs.test.ts`,
  );
}

function defaultOf(field: Field): string {
  if (field.kind === 'strings') return 'empty';
  const value = field.byDefault;
  if (value === undefined) return '–';
  return value === '' ? 'empty' : `\`${value}\``;
}

test('docs/configuration.md lists every field with type, default, rules and purpose', () => {
  const rows = fields.map((field) => {
    const rules = 'rules' in field ? field.rules.map(({ message }) => message).join('; ') : '';
    const mark = field.isIdentity === true ? ' **C**' : '';
    return `| \`${field.path}\`${mark} | ${field.kind} | ${defaultOf(field)} | ${field.about} | ${rules.replaceAll('|', '\\|')} |\n`;
  });
  checkGenerated(
    'configuration.md',
    'fields',
    `| Field | Type | Default | Purpose | Rules |\n|---|---|---|---|---|\n${rows.join('')}`,
  );
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

test('docs/errors.md lists every class once, and no other', () => {
  const listed = [...read('errors.md').matchAll(/^\| `([a-z_]+)` \|/gmu)].map(([, name]) => name);

  assert.equal(listed.sort(), [...errorClasses].sort());
});

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

test('docs/architecture.md names every check of the gate', () => {
  for (const id of checkIds) assert.ok(read('architecture.md').includes(`\`${id}\``), id);
});

test.run();
