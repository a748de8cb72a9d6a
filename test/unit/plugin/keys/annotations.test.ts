// Received annotations: each wrong one is refused by the check that is about it.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { annotationNames, buildAnnotations, parseAnnotations } from '../../../../plugin/keys/annotations.ts';
import { throwsClass } from '../../../support/throws.ts';
import { snapshot } from '../../../support/vectors.ts';

const right = buildAnnotations(snapshot(1), '1.0.0');

test('those that were built are taken', () => assert.is(parseAnnotations(right).transitKeyVersion, 1));

const wrong: readonly (readonly [number, string, ReadonlyMap<string, string>])[] = [
  [1, 'none at all', new Map()],
  [2, 'a malformed name', new Map([...right, ['A', 'x']])],
  [3, 'another provider', new Map([...right, [annotationNames.provider, 'other']])],
  [4, 'a hash of the key_id that is none', new Map([...right, [annotationNames.keyIdHash, 'x']])],
  [5, 'a hash of the mount that is none', new Map([...right, [annotationNames.transitMountHash, 'x']])],
  [6, 'a hash of the key that is none', new Map([...right, [annotationNames.transitKeyHash, 'x']])],
  [7, 'a hash of the namespace that is none', new Map([...right, [annotationNames.namespaceHash, 'x']])],
  [8, 'a version that is none', new Map([...right, [annotationNames.transitKeyVersion, '01']])],
  [9, 'no version of the plugin', new Map([...right, [annotationNames.pluginVersion, '']])],
  [10, 'another version of the AAD', new Map([...right, [annotationNames.aadVersion, 'v2']])],
];

for (const version of [1, 9, 10, 100, 2_147_483_647]) {
  test(`version ${version} is taken as it is written`, () => {
    const written = new Map([...right, [annotationNames.transitKeyVersion, String(version)]]);
    assert.is(parseAnnotations(written).transitKeyVersion, version);
  });
}

for (const version of ['', '0', '+1', '-1', ' 1', '1 ', '1e1', '0x1', '1.0', '2147483648', '99999999999']) {
  test(`the version "${version}" is none: check 8`, () => {
    const written = new Map([...right, [annotationNames.transitKeyVersion, version]]);
    assert.is(throwsClass(() => parseAnnotations(written), 'annotation_invalid').facts['check'], 8);
  });
}

for (const [check, what, annotations] of wrong) {
  test(`${what}: check ${check}`, () => {
    const { facts } = throwsClass(() => parseAnnotations(annotations), 'annotation_invalid');
    assert.is(facts['check'], check);
  });
}

test.run();
