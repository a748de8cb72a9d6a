// Variables with our prefix: the few that are read, and every other one told, with what was probably meant.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readConfig } from '../../../shared/config/config.ts';
import { parseArguments } from '../../../supervisor/arguments.ts';
import { environmentProblems, firstOf, overridable } from '../../../supervisor/environment.ts';
import { minimalDocument } from '../../support/config-document.ts';

const told = (environment: Record<string, string>) =>
  environmentProblems(environment).map(({ field, message }) => `${field}: ${message}`);

for (const [name, message] of [
  ['BAO_KMS_PROVIDER_LOGLEVEL', '; did you mean BAO_KMS_PROVIDER_LOG_LEVEL?'],
  ['BAO_KMS_PROVIDER_LOG_LEVL', '; did you mean BAO_KMS_PROVIDER_LOG_LEVEL?'],
  ['bao_kms_provider_config', '; did you mean BAO_KMS_PROVIDER_CONFIG?'],
  ['BAO_KMS_PROVIDER_METRICS_ADDRESS', '; did you mean BAO_KMS_PROVIDER_SERVER_METRICS_ADDRESS?'],
  ['BAO_KMS_PROVIDER_LOGGINGLEVEL', '; did you mean BAO_KMS_PROVIDER_LOGGING_LEVEL?'],
  ['BAO_KMS_PROVIDER_OPENBAO_ADDRESS', ': openbao.address can be set in the file only'],
  ['BAO_KMS_PROVIDER_AUTH_JWT_JWTFILE', ': auth.jwt.jwtFile can be set in the file only'],
  ['BAO_KMS_PROVIDER_SOMETHING_QUITE_DIFFERENT', '; docs/configuration.md names the three settings that have one'],
] as const) {
  test(`the variable ${name} is a problem`, () => {
    assert.equal(told({ [name]: 'x' }), [`${name}: is not a known environment variable${message}`]);
  });
}

test('the message counts the settings that have a variable', () => assert.is(overridable.length, 3));

test('known, empty and foreign variables are no problem', () => {
  const environment = {
    BAO_KMS_PROVIDER_CONFIG: '/a',
    BAO_KMS_PROVIDER_CONFIG_PATH: '/a',
    BAO_KMS_PROVIDER_LOG_LEVEL: 'info',
    BAO_KMS_PROVIDER_LOGGING_LEVEL: 'info',
    BAO_KMS_PROVIDER_SERVER_METRICS_ADDRESS: '',
    BAO_KMS_PROVIDER_SERVER_METRICSADDRESS: '',
    BAO_KMS_PROVIDER_SERVER_HEALTH_ADDRESS: '',
    BAO_KMS_PROVIDER_SERVER_HEALTHADDRESS: '',
    BAO_KMS_PROVIDER_NOPE: '',
    BAO_ADDR: 'https://x',
    PATH: '/usr/bin',
  };

  assert.equal(told(environment), []);
});

test('a name that would write on a terminal is told with its characters escaped', () => {
  const [first = ''] = told({ 'BAO_KMS_PROVIDER_\u001b[2J\n': 'x' });

  assert.ok(first.startsWith('BAO_KMS_PROVIDER_\\u{1b}[2J\\u{a}: is not'), first);
});

test('they are problems of the configuration, before those of the file, and of no other command', () => {
  const parsed = parseArguments(['serve'], { BAO_KMS_PROVIDER_LOGLEVEL: 'debug' }, '/');
  const document = { ...minimalDocument(), configVersion: 'v2' };

  assert.equal(
    readConfig(document, { foundBefore: parsed.options.foundBefore ?? [] }).problems.map(({ field }) => field),
    ['BAO_KMS_PROVIDER_LOGLEVEL', 'configVersion'],
  );
  assert.is(parseArguments(['version'], { BAO_KMS_PROVIDER_LOGLEVEL: 'debug' }, '/').name, 'version');
});

test('no word at all is help, and --version alone is no call for help', () => {
  const nameOf = (...words: string[]) => parseArguments(words, {}, '/').name;
  assert.equal([nameOf(), nameOf('--version'), nameOf('--version', '--help')], ['help', 'version', 'help']);
});

test('an empty variable leaves the next name its word', () => {
  assert.is(firstOf({ A: '', B: 'b', C: 'c' }, ['A', 'B', 'C']), 'b');
  assert.is(firstOf({ A: '' }, ['A', 'B']), undefined);
});

test('problems stand in the order of the names, however the environment is ordered', () => {
  const environment = { BAO_KMS_PROVIDER_ZZZZ_QQQQ: 'x', BAO_KMS_PROVIDER_AAAA_QQQQ: 'x' };
  assert.equal(
    environmentProblems(environment).map(({ field }) => field),
    ['BAO_KMS_PROVIDER_AAAA_QQQQ', 'BAO_KMS_PROVIDER_ZZZZ_QQQQ'],
  );
});

test.run();
