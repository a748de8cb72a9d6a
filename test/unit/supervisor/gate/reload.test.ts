// What a reload cannot take: each field that waits for a restart, and each that belongs to the identity of the data.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { requireConfig } from '../../../../shared/config/config.ts';
import { fields } from '../../../../shared/config/fields.ts';
import { ConfigInvalid } from '../../../../shared/config/problem.ts';
import { checkReloadable } from '../../../../supervisor/gate/reload.ts';
import { documentWith, minimalDocument } from '../../../support/config-document.ts';

const before = requireConfig(minimalDocument());

function refusalOf(path: string, value: unknown): string[] {
  try {
    checkReloadable(before, requireConfig(documentWith(path, value)));
    return [];
  } catch (error) {
    assert.instance(error, ConfigInvalid);
    assert.ok((error as ConfigInvalid).problems.length > 0, 'a refusal names what it refuses');
    return (error as ConfigInvalid).problems.map(({ field, code }) => `${field} ${code.split('.').at(-1)}`);
  }
}

const restart: readonly (readonly [string, unknown])[] = [
  ['server.socketPath', '/run/openbao-kms/other.sock'],
  ['server.socketMode', '0600'],
  ['server.socketGroup', 'other'],
  ['server.metricsAddress', '127.0.0.1:9001'],
  ['server.healthAddress', '127.0.0.1:9002'],
  ['state.path', '/var/lib/openbao-kms/other.json'],
  ['process.pluginUser', 'openbao-kms-other'],
];

for (const [path, value] of restart) {
  test(`${path} waits for a restart`, () => assert.equal(refusalOf(path, value), [`${path} restart`]));
}

test('process.pluginGroup waits for a restart', () => {
  const document = (group: string) => ({
    ...minimalDocument(),
    process: { pluginUser: 'openbao-kms-plugin', pluginGroup: group },
  });
  assert.throws(
    () => checkReloadable(requireConfig(document('one')), requireConfig(document('two'))),
    (error: unknown) => error instanceof ConfigInvalid && error.problems[0]?.field === 'process.pluginGroup',
  );
});

const identity: readonly (readonly [string, unknown])[] = [
  ['transit.keyIdScope.providerName', 'other'],
  ['transit.keyIdScope.clusterId', 'other'],
  ['transit.keyIdScope.transitMountId', 'other'],
  ['transit.keyIdScope.keyLineageId', 'ffffffffffffffffffffffffffffffff'],
  ['openbao.instanceId', 'other'],
  ['openbao.namespace', 'other'],
  ['transit.mountPath', 'other'],
  ['transit.keyName', 'other'],
];

for (const [path, value] of identity) {
  test(`${path} is part of the identity`, () => assert.equal(refusalOf(path, value), [`${path} identity`]));
}

test('each row that a reload cannot change is tried here, and no other', () => {
  const tried = [...restart, ...identity].map(([path]) => path);
  const rows = fields.filter(({ changes }) => changes !== 'reload').map(({ path }) => path);
  assert.equal([...tried, 'process.pluginGroup'].sort(), rows.sort());
});

test('every problem is told, the identity first, and in the same order each time', () => {
  const document = minimalDocument();
  for (const [path, value] of [...restart.slice(2), ...identity]) documentWith(path, value, document);
  assert.throws(
    () => checkReloadable(before, requireConfig(document)),
    (error: unknown) =>
      error instanceof ConfigInvalid &&
      error.lead === 'reload refused' &&
      error.problems.map(({ field }) => field).join(' ') ===
        'transit.keyIdScope.providerName transit.keyIdScope.clusterId transit.keyIdScope.transitMountId ' +
          'transit.keyIdScope.keyLineageId openbao.instanceId openbao.namespace transit.mountPath transit.keyName ' +
          'server.socketGroup server.metricsAddress server.healthAddress state.path process.pluginUser',
  );
});

test('another spelling of the same mode is no change', () => assert.equal(refusalOf('server.socketMode', '660'), []));

test('what concerns neither is taken', () => {
  assert.equal(refusalOf('status', { probeInterval: '7s' }), []);
  assert.equal(refusalOf('auth.jwt.jwtFile', '/var/lib/openbao-kms/other.jwt'), []);
});

test.run();
