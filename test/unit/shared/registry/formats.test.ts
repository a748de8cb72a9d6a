// The worked examples of the wire format and of the registry state, byte for byte.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { buildAad } from '../../../../plugin/keys/aad.ts';
import { buildAnnotations } from '../../../../plugin/keys/annotations.ts';
import { annotationBytes } from '../../../../plugin/kms/limits.ts';
import { deriveFingerprint } from '../../../../shared/registry/fingerprint.ts';
import { deriveKeyId, parseKeyId } from '../../../../shared/registry/key-id.ts';
import { encodeState, hashState, parseState, sealState } from '../../../../shared/registry/state.ts';
import { throwsClass } from '../../../support/throws.ts';
import { content, fingerprint, firstState, identity, snapshot } from '../../../support/vectors.ts';

const version = { transitVersion: 12, transitVersionCreatedAtUnix: 1_750_000_000 };
const twelve = snapshot(12, version);

test('the worked example derives its key_id', () => {
  assert.is(deriveKeyId(identity, version), 'obk2.-5i4ftmmJPUE7Y1xoRoKKMZOFj49nj1CMn_IUgoiQ98');
});

test('without a namespace the part is left out, and the key_id is another', () => {
  const without = deriveKeyId({ ...identity, openbaoNamespace: '' }, version);

  assert.is(without, 'obk2.b-8toy6A16FqYVXumLKG2N6OstdA0vYpxDsFCeHtUaE');
});

for (const label of [
  'providerName',
  'clusterId',
  'openbaoInstanceId',
  'transitMountId',
  'transitKeyLineageId',
] as const) {
  test(`an empty ${label} derives nothing`, () => {
    throwsClass(() => deriveKeyId({ ...identity, [label]: '' }, version), 'profile_invalid');
  });
  test(`a NUL in ${label} derives nothing`, () => {
    throwsClass(() => deriveKeyId({ ...identity, [label]: 'a\0b' }, version), 'profile_invalid');
  });
}

for (const [field, value] of [
  ['transitVersion', 0],
  ['transitVersion', 1.5],
  ['transitVersionCreatedAtUnix', 0],
] as const) {
  test(`${field} ${value} derives nothing`, () => {
    throwsClass(() => deriveKeyId(identity, { ...version, [field]: value }), 'profile_invalid');
  });
}

for (const namespace of [' a', 'a ', '\ufeffa', 'a\u0085', '/a', 'a//b', 'a/', 'a/./b', '../a', 'a%2fb', 'a\tb']) {
  test(`namespace ${JSON.stringify(namespace)} derives nothing`, () => {
    throwsClass(() => deriveKeyId({ ...identity, openbaoNamespace: namespace }, version), 'profile_invalid');
  });
}

test('one second of creation time is another identity', () => {
  const later = deriveKeyId(identity, { ...version, transitVersionCreatedAtUnix: 1_750_000_001 });

  assert.is.not(later, deriveKeyId(identity, version));
});

test('a derived key_id parses to itself', () => {
  assert.is(parseKeyId(twelve.kubernetesKeyId), twelve.kubernetesKeyId);
});

for (const [what, keyId] of [
  ['empty', ''],
  ['47 bytes', 'obk2.-5i4ftmmJPUE7Y1xoRoKKMZOFj49nj1CMn_IUgoiQ9'],
  ['49 bytes', 'obk2.-5i4ftmmJPUE7Y1xoRoKKMZOFj49nj1CMn_IUgoiQ98A'],
  ['another prefix', 'obk1.-5i4ftmmJPUE7Y1xoRoKKMZOFj49nj1CMn_IUgoiQ98'],
  ['padding', 'obk2.-5i4ftmmJPUE7Y1xoRoKKMZOFj49nj1CMn_IUgoiQ9='],
  ['a foreign character', 'obk2.+5i4ftmmJPUE7Y1xoRoKKMZOFj49nj1CMn_IUgoiQ98'],
  ['non-zero unused bits', 'obk2.-5i4ftmmJPUE7Y1xoRoKKMZOFj49nj1CMn_IUgoiQ99'],
] as const) {
  test(`a key_id with ${what} is malformed`, () => {
    throwsClass(() => parseKeyId(keyId), 'key_id_malformed');
  });
}

test('the worked example has its eight annotations in 443 bytes', () => {
  const annotations = buildAnnotations(twelve, '1.4.0');

  assert.equal(Object.fromEntries(annotations), {
    'provider.kms.openbao.org': 'openbao-transit',
    'key-id-hash.kms.openbao.org': '-7HYmUBdBfDtbSxDJ8xM-_L1xOCu-QNWQ4YDTWTVCQg',
    'transit-key-version.kms.openbao.org': '12',
    'transit-mount-hash.kms.openbao.org': 'vLz5QrK1vzpolHFZG80gzqySYLxnz_awjXtnHYx2ti0',
    'transit-key-hash.kms.openbao.org': 'fGl-WVEngGJ6TuQcUmHWqGcCyr1TFteyPdpHTW4czrE',
    'openbao-namespace-hash.kms.openbao.org': 'JXYo-c6JKZCAjDTGh1gBSSU7ta_LO2IftcjnvXLacJk',
    'plugin-version.kms.openbao.org': '1.4.0',
    'aad-version.kms.openbao.org': 'v1',
  });
  assert.is(annotationBytes(annotations), 443);
});

test('without a namespace there are seven annotations', () => {
  assert.is(buildAnnotations(snapshot(12, { ...version, openbaoNamespace: '' }), '1.4.0').size, 7);
});

test('the worked example has its AAD in 527 bytes', () => {
  const aad = buildAad(twelve).toString('utf8');

  assert.is(
    aad,
    '{"aad_version":"v1","purpose":"kubernetes-etcd-kms-v2","provider":"openbao-transit","provider_name":"edge-kms",' +
      '"cluster_id_hash":"j6E9BG7mg-mhFMo3_Ru9_yDTaA-t3-SsBg9-QxnpnMg",' +
      '"openbao_instance_hash":"SS6ojMhRiatafuEARFbphCVTrjw_fEMZirO6By0tRP4",' +
      '"openbao_namespace_hash":"JXYo-c6JKZCAjDTGh1gBSSU7ta_LO2IftcjnvXLacJk",' +
      '"transit_mount_hash":"vLz5QrK1vzpolHFZG80gzqySYLxnz_awjXtnHYx2ti0",' +
      '"transit_key_hash":"fGl-WVEngGJ6TuQcUmHWqGcCyr1TFteyPdpHTW4czrE",' +
      '"key_id_hash":"-7HYmUBdBfDtbSxDJ8xM-_L1xOCu-QNWQ4YDTWTVCQg","key_version":"12"}',
  );
  assert.is(aad.length, 527);
  const sent = Buffer.from(aad).toString('base64');
  assert.is(sent.length, 704);
  assert.ok(sent.startsWith('eyJhYWRfdmVyc2lvbiI6InYxIiwi') && sent.endsWith('ZXlfdmVyc2lvbiI6IjEyIn0='));
});

test('the five characters of Go escaping are escaped in the AAD, others stay literal', () => {
  const name = 'a<b>&\u2028\u2029"\\/ü';
  const aad = buildAad({ ...twelve, providerName: name }).toString('utf8');

  assert.ok(aad.includes('"provider_name":"a\\u003cb\\u003e\\u0026\\u2028\\u2029\\"\\\\/ü"'));
});

test('the worked example of the state has its hash', () => {
  assert.is(hashState(content()), 'krs1.JR5MjdMJrZ8IHch-e9V5DiDT64t-S5EHUUFLotS9N4o');
});

test('a state file is read back to the same state', () => {
  const state = firstState();

  assert.equal(parseState(encodeState(state)), state);
  assert.ok(encodeState(state).endsWith('}\n'));
});

test('the fingerprints of the worked examples', () => {
  assert.is(deriveFingerprint(identity), fingerprint);
  const without = deriveFingerprint({ ...identity, openbaoNamespace: '' });
  assert.is(without, 'cfg1.F8tlY-jKSOLOojdCbpvG4EO1_3w8o5Bf7OktcXGs8sU');
});

const golden = {
  providerName: 'kms-workload-a',
  clusterId: 'workload-a',
  openbaoInstanceId: 'bao-prod-a',
  openbaoNamespace: '',
  transitMountId: 'transit-prod',
  transitKeyLineageId: '0123456789abcdef0123456789abcdef',
  transitMountPath: 'transit',
  transitKeyName: 'k8s-workload-a-etcd',
};

test('the golden fingerprints of the configuration', () => {
  assert.is(deriveFingerprint(golden), 'cfg1.GhON5wWV3NJUtO1blvd7KyDIyOdz9chXGUZncdMcd2g');
  const inNamespace = deriveFingerprint({ ...golden, openbaoNamespace: 'admin/team-a' });
  assert.is(inNamespace, 'cfg1.ZYBcU1o-L0dMQrb7P-givdHPMqWRHD6fFEAIbFIUfjY');
  const exotic = {
    ...golden,
    providerName: 'kms<a>&b',
    clusterId: 'cl\u00fcster',
    transitKeyLineageId: 'lineage',
    transitMountPath: 'kms/transit',
    transitKeyName: 'key_1.2-x',
  };
  assert.is(deriveFingerprint(exotic), 'cfg1.CeLVABySZBmlNWH94QRwSejvpcWVXLm7xr91l-2ktHE');
});

test('an empty identity value has no fingerprint', () => {
  throwsClass(() => deriveFingerprint({ ...golden, clusterId: ' ' }), 'config_invalid');
});

/** Changes the file's text and gives it the hash that a careful forger would. */
function mutated(change: (text: string) => string): string {
  return change(encodeState(firstState()));
}

for (const [what, change] of [
  ['truncated', (text: string) => text.slice(0, -20)],
  ['with trailing text', (text: string) => `${text}x`],
  ['with an unknown member', (text: string) => text.replace('{', '{"extra":1,')],
  ['with a member twice', (text: string) => text.replace('{', '{"generation":1,')],
  ['with null', (text: string) => text.replace('"generation": 1', '"generation": null')],
  ['with a fraction', (text: string) => text.replace('"generation": 1', '"generation": 1.0')],
  ['with an exponent', (text: string) => text.replace('"generation": 1', '"generation": 1e0')],
  ['with a number beyond 2^53', (text: string) => text.replace('"generation": 1', '"generation": 9007199254740993')],
  ['of the older schema', (text: string) => text.replace('v1alpha2', 'v1alpha1')],
  ['of a newer schema', (text: string) => text.replace('v1alpha2', 'v1alpha3')],
  ['with members in other case', (text: string) => text.replace('"generation"', '"Generation"')],
  ['with an altered member', (text: string) => text.replace('edge-cluster-07', 'edge-cluster-08')],
  ['with a hash of wrong shape', (text: string) => text.replace('krs1.', 'krs2.')],
  ['with another AAD mode', (text: string) => text.replace('aad.required', 'aad.optional')],
  ['with an unknown state', (text: string) => text.replace('"active"', '"busy"')],
] as const) {
  test(`a state file ${what} is corrupt`, () => {
    throwsClass(() => parseState(mutated(change)), 'state_corrupt');
  });
}

const pending = snapshot(2, { state: 'pending', promotedAtUnix: 0 });
for (const [what, change] of [
  ['no records', { snapshots: [] }],
  ['two active records', { snapshots: [snapshot(1), snapshot(2)] }],
  ['no active record', { snapshots: [pending], activeKeyId: pending.kubernetesKeyId }],
  ['a record twice', { snapshots: [snapshot(1), snapshot(1, { state: 'retired' })] }],
  ['an activeKeyId of a pending record', { snapshots: [snapshot(1), pending], activeKeyId: pending.kubernetesKeyId }],
  ['a foreign key_id', { snapshots: [{ ...snapshot(1), kubernetesKeyId: pending.kubernetesKeyId }] }],
  ['generation 0', { generation: 0 }],
  ['a malformed fingerprint', { identityFingerprint: 'cfg1.x' }],
  [
    'a count without an observation',
    { snapshots: [snapshot(1, { observedAtUnix: 0, promotedAtUnix: 0, stableObservationCount: 1 })] },
  ],
  ['a stable time without a count', { snapshots: [snapshot(1, { stableAtUnix: 1_750_000_200 })] }],
  ['a promotion before the observation', { snapshots: [snapshot(1, { promotedAtUnix: 1_750_000_099 })] }],
  ['a negative time', { snapshots: [snapshot(1, { promotedAtUnix: -1 })] }],
] as const) {
  test(`a state with ${what} cannot be sealed`, () => {
    throwsClass(() => sealState(content(change)), 'state_corrupt');
  });
}

test.run();
