// How OpenBao answers, as far as the client relies on it: the same cases against the development server always, and against
// a real OpenBao when one is found (BAO_BIN or `bao` on the path). Mounts have random names and are removed.

import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import { findRights, rightPaths } from '../../plugin/keys/rights.ts';
import { createJwtIssuer, issuerDefaults } from '../support/jwt-issuer.ts';
import { createAdmin } from '../support/openbao/provision.ts';
import { base64, dataOf, errorsOf, nowSeconds, onBoth, type World, wrap } from './world.ts';

onBoth((test) => {
  const encrypt = (w: World, body: unknown) => w.provider.call('POST', `${w.names.mountPath}/encrypt/k`, body, true);
  const decrypt = (w: World, body: unknown) => w.provider.call('POST', `${w.names.mountPath}/decrypt/k`, body, true);

  test('the envelope has its members in order, and 204 answers have no body', async (w) => {
    const reply = await w.provider.call('GET', `${w.names.mountPath}/config/keys`);
    assert.equal(Object.keys(reply.body), [
      'request_id',
      'lease_id',
      'renewable',
      'lease_duration',
      'data',
      'wrap_info',
      'warnings',
      'auth',
    ]);
    assert.equal(dataOf(reply), { disable_upsert: true });
    assert.is(reply.headers['cache-control'], 'no-store');
  });

  test('C1: the metadata of a fresh key', async (w) => {
    const data = dataOf(await w.provider.call('GET', `${w.names.mountPath}/keys/k`));
    const { keys, ...rest } = data;
    assert.equal(Object.keys(keys as object), ['1']);
    for (const [member, value] of Object.entries({
      name: 'k',
      type: 'aes256-gcm96',
      latest_version: 1,
      min_available_version: 0,
      min_decryption_version: 1,
      min_encryption_version: 0,
      derived: false,
      exportable: false,
      allow_plaintext_backup: false,
      deletion_allowed: false,
      imported_key: false,
      soft_deleted: false,
      supports_encryption: true,
      supports_decryption: true,
      supports_derivation: true,
      supports_signing: false,
      auto_rotate_period: 0,
    }))
      assert.is(rest[member], value, member);
  });

  test('C2: lengths of ciphertext, and the way back, with and without associated data', async (w) => {
    for (const size of [0, 1, 16, 31, 32, 33, 48, 64, 65]) {
      for (const aad of [undefined, base64('aad')]) {
        const plaintext = randomBytes(size);
        const { ciphertext, key_version: version } = dataOf(
          await encrypt(w, { plaintext: base64(plaintext), associated_data: aad }),
        ) as { ciphertext: string; key_version: number };
        assert.is(version, 1);
        assert.is(ciphertext.length, 9 + 4 * Math.ceil((size + 28) / 3));
        const back = dataOf(await decrypt(w, { ciphertext, associated_data: aad }));
        assert.equal(back, { plaintext: base64(plaintext) });
      }
    }
  });

  test('C3: wrong, missing and additional associated data', async (w) => {
    const sealed = async (aad?: string) =>
      dataOf(await encrypt(w, { plaintext: base64('x'), associated_data: aad }))['ciphertext'];
    for (const [made, used] of [
      ['YQ==', 'Yg=='],
      ['YQ==', undefined],
      [undefined, 'YQ=='],
    ] as const) {
      const reply = await decrypt(w, { ciphertext: await sealed(made), associated_data: used });
      assert.equal([reply.status, errorsOf(reply)], [400, ['cipher: message authentication failed']]);
    }
  });

  const encryptFaults: readonly (readonly [string, unknown, number, string[]])[] = [
    ['no plaintext', {}, 400, ['missing plaintext to encrypt']],
    ['bad base64', { plaintext: '!abc' }, 400, ['illegal base64 data at input byte 0']],
    ['bad base64 later', { plaintext: 'YWJj=' }, 400, ['illegal base64 data at input byte 4']],
    ['bad padding', { plaintext: 'ab=' }, 400, ['illegal base64 data at input byte 3']],
    [
      'a negative version',
      { plaintext: 'YQ==', key_version: -1 },
      400,
      ['requested version for encryption is negative'],
    ],
    [
      'a version too high',
      { plaintext: 'YQ==', key_version: 9 },
      400,
      ['requested version for encryption is higher than the latest key version'],
    ],
    [
      'bad associated data',
      { plaintext: 'YQ==', associated_data: '!' },
      500,
      wrap('unable to get associated_data/additional_data from factory[0]: illegal base64 data at input byte 0'),
    ],
  ];
  for (const [what, body, status, errors] of encryptFaults) {
    test(`C4: encrypt with ${what}`, async (w) => {
      const reply = await encrypt(w, body);
      assert.equal([reply.status, errorsOf(reply)], [status, errors]);
    });
  }

  const decryptFaults: readonly (readonly [string, unknown, string])[] = [
    ['no ciphertext', {}, 'missing ciphertext to decrypt'],
    ['no prefix', { ciphertext: 'x' }, 'invalid ciphertext: no prefix'],
    ['one field', { ciphertext: 'vault:v1' }, 'invalid ciphertext: wrong number of fields'],
    ['no number', { ciphertext: 'vault:vx:YQ==' }, 'invalid ciphertext: version number could not be decoded'],
    ['a version too new', { ciphertext: 'vault:v9:YQ==' }, 'invalid ciphertext: version is too new'],
    ['bad base64', { ciphertext: 'vault:v1:!' }, 'invalid ciphertext: could not decode base64'],
    ['too few bytes', { ciphertext: 'vault:v1:YQ==' }, 'invalid ciphertext length'],
    ['foreign bytes', { ciphertext: `vault:v1:${base64(Buffer.alloc(40))}` }, 'cipher: message authentication failed'],
  ];
  for (const [what, body, error] of decryptFaults) {
    test(`C4: decrypt with ${what}`, async (w) => {
      const reply = await decrypt(w, body);
      assert.equal([reply.status, errorsOf(reply)], [400, [error]]);
    });
  }

  test('C5, C6: old versions after rotations and restrictions', async (w) => {
    const key = `${w.names.mountPath}/keys/r`;
    const call = (path: string, body: unknown) => w.admin.call('POST', `${w.names.mountPath}/${path}`, body, true);
    await w.admin.call('POST', key, {});
    const first = dataOf(await call('encrypt/r', { plaintext: 'YQ==' }))['ciphertext'];
    await w.admin.call('POST', `${key}/rotate`, {});
    await w.admin.call('POST', `${key}/rotate`, {});
    assert.is((await call('encrypt/r', { plaintext: 'YQ==', key_version: 1 })).status, 200);
    await w.admin.call('POST', `${key}/config`, { min_encryption_version: 2 });
    assert.equal(errorsOf(await call('encrypt/r', { plaintext: 'YQ==', key_version: 1 })), [
      'requested version for encryption is less than the minimum encryption key version',
    ]);
    await w.admin.call('POST', `${key}/config`, { min_encryption_version: 0, min_decryption_version: 2 });
    assert.equal(errorsOf(await call('encrypt/r', { plaintext: 'YQ==', key_version: 1 })), ['no such key version']);
    assert.equal(errorsOf(await call('decrypt/r', { ciphertext: first })), [
      'ciphertext or signature version is disallowed by policy (too old)',
    ]);
    assert.equal(Object.keys(dataOf(await w.admin.call('GET', key))['keys'] as object), ['2', '3']);
    await w.admin.call('POST', `${key}/config`, { min_decryption_version: 1 });
    assert.equal(dataOf(await call('decrypt/r', { ciphertext: first })), { plaintext: 'YQ==' });
  });

  test('C7: a missing key is 403 for encrypt, 400 for decrypt, 404 for a read', async (w) => {
    const path = (operation: string) => `${w.names.mountPath}/${operation}/gone`;
    await w.admin.call('POST', `sys/policies/acl/${w.names.policyName}-x`, {
      policy: `path "${path('encrypt')}" { capabilities = ["update"] } path "${path('decrypt')}" { capabilities = ["update"] } path "${path('keys')}" { capabilities = ["read"] }`,
    });
    const { body } = await w.admin.call('POST', 'auth/token/create', {
      policies: [`${w.names.policyName}-x`],
      ttl: '5m',
      no_default_policy: true,
    });
    const token = (body['auth'] as { client_token: string }).client_token;
    const user = createAdmin({ address: w.bao.address, token, ca: w.bao.ca });
    const sealed = await user.call('POST', path('encrypt'), { plaintext: 'YQ==' }, true);
    assert.equal([sealed.status, errorsOf(sealed)], [403, wrap('permission denied')]);
    const opened = await user.call('POST', path('decrypt'), { ciphertext: 'vault:v1:YQ==' }, true);
    assert.equal([opened.status, errorsOf(opened)], [400, ['encryption key not found']]);
    const read = await user.call('GET', path('keys'), undefined, true);
    assert.equal([read.status, errorsOf(read)], [404, []]);
    assert.equal(
      errorsOf(await w.admin.call('POST', path('encrypt'), { plaintext: 'YQ==' }, true)),
      ['encryption key not found'],
      'upsert is off',
    );
    await user.close();
  });

  test('C8: posting to config/keys without the member switches upsert on again', async (w) => {
    const path = `${w.names.mountPath}/config/keys`;
    assert.equal(dataOf(await w.admin.call('POST', path, {})), { disable_upsert: false });
    assert.equal(dataOf(await w.admin.call('POST', path, { disable_upsert: true })), { disable_upsert: true });
  });

  test('C14: a dead token is told plainly, a denied path in the wrapped form', async (w) => {
    for (const token of ['', 's.unknown']) {
      const user = createAdmin({ address: w.bao.address, token, ca: w.bao.ca });
      const reply = await user.call('GET', `${w.names.mountPath}/keys/k`, undefined, true);
      assert.equal([reply.status, errorsOf(reply)], [403, ['permission denied']]);
      await user.close();
    }
    for (const path of [`${w.names.mountPath}/keys/other`, 'unknown-mount/keys/k']) {
      const reply = await w.provider.call('GET', path, undefined, true);
      assert.equal([reply.status, errorsOf(reply)], [403, wrap('permission denied')]);
    }
    assert.is((await w.admin.call('GET', 'unknown-mount/keys/k', undefined, true)).status, 404);
    assert.equal(errorsOf(await w.provider.call('POST', `${w.names.mountPath}/encrypt/`, {}, true)), [
      "cannot write to a path ending in '/'",
    ]);
  });

  const claimFaults: readonly (readonly [string, Record<string, unknown>, string])[] = [
    ['another issuer', { iss: 'x' }, 'error validating token: invalid issuer (iss) claim'],
    ['another subject', { sub: 'x' }, 'error validating token: invalid subject (sub) claim'],
    [
      'another audience',
      { aud: ['x'] },
      'error validating token: invalid audience (aud) claim: audience claim does not match any expected audience',
    ],
    [
      'nbf ahead',
      { nbf: nowSeconds() + 300 },
      'error validating token: invalid not before (nbf) claim: token not yet valid',
    ],
    [
      'exp 61 s ago',
      { exp: nowSeconds() - 61, iat: nowSeconds() - 900, nbf: nowSeconds() - 900 },
      'error validating token: invalid expiration time (exp) claim: token is expired',
    ],
  ];
  for (const [what, claims, error] of claimFaults) {
    test(`C16: a JWT with ${what} is a 400`, async (w) => {
      const reply = await w.login(claims);
      assert.equal([reply.status, errorsOf(reply)], [400, [error]]);
    });
  }

  test('C16: an unknown role and a foreign key', async (w) => {
    assert.equal(errorsOf(await w.login({}, {}, 'nobody')), ['role "nobody" could not be found']);
    const stranger = createJwtIssuer();
    const reply = await w.provider.call(
      'POST',
      `${w.names.authPath}/login`,
      { role: w.names.role, jwt: stranger.issue() },
      true,
    );
    assert.is(reply.status, 400);
    assert.match(String((errorsOf(reply) as string[])[0]), /no known key successfully validated the token signature/u);
  });

  test('C16: a good login, with the audience as a string and exp 55 s ago too', async (w) => {
    const reply = await w.login({
      aud: issuerDefaults.audience,
      exp: nowSeconds() - 55,
      iat: nowSeconds() - 900,
      nbf: nowSeconds() - 900,
    });
    assert.is(reply.status, 200);
    const auth = reply.body['auth'] as Record<string, unknown>;
    assert.equal(
      [auth['lease_duration'], auth['renewable'], auth['token_type'], auth['num_uses'], auth['policies']],
      [1800, true, 'service', 0, [w.names.policyName]],
    );
    assert.is(reply.body['data'], null);
  });

  test('C18: a renewal never goes past the role’s maximum', async (w) => {
    const { body } = await w.provider.call('POST', 'auth/token/renew-self', { increment: '7200s' });
    const lease = Number((body['auth'] as Record<string, unknown>)['lease_duration']);
    assert.ok(lease > 3_500 && lease <= 3_600, String(lease));
  });

  test('C20: capabilities of the provider’s policy', async (w) => {
    const { mountPath } = w.names;
    const paths = [`${mountPath}/keys/k`, `${mountPath}/encrypt/k`, `${mountPath}/keys/k/rotate`];
    const data = dataOf(await w.provider.call('POST', 'sys/capabilities-self', { paths }));
    assert.equal(
      paths.map((path) => data[path]),
      [['read'], ['update'], ['deny']],
    );
    assert.equal(dataOf(await w.admin.call('POST', 'sys/capabilities-self', { paths: ['x'] }))['x'], ['root']);
  });

  test('C20: what a policy with patterns and refusals comes to is what the provider finds', async (w) => {
    const { mountPath, policyName } = w.names;
    const paths = rightPaths(mountPath, 'k');
    const found = async (...rules: readonly (readonly [path: string, capabilities: readonly string[]])[]) => {
      const policy = [...rules, ['sys/capabilities-self', ['update']] as const]
        .map(([path, capabilities]) => `path "${path}" { capabilities = ${JSON.stringify(capabilities)} }`)
        .join('\n');
      await w.admin.call('POST', `sys/policies/acl/${policyName}-rights`, { policy });
      const made = { policies: [`${policyName}-rights`], ttl: '5m', no_default_policy: true };
      const { body } = await w.admin.call('POST', 'auth/token/create', made);
      const asToken = w.admin.as((body['auth'] as { client_token: string }).client_token);
      const data = dataOf(await asToken('POST', 'sys/capabilities-self', { paths }));
      return findRights(mountPath, 'k', new Map(paths.map((path) => [path, data[path] as string[]])));
    };
    const renew = ['auth/token/renew-self', ['update']] as const;
    const [encrypt, decrypt] = [`${mountPath}/encrypt/k`, `${mountPath}/decrypt/k`];
    assert.equal(await found([encrypt, ['update']]), [
      'missing_decrypt',
      'missing_metadata_read',
      'missing_upsert_read',
      'missing_renew',
    ]);
    const all = [`${mountPath}/*`, ['read', 'update']] as const;
    assert.equal(await found(all, renew, [`${mountPath}/export/*`, ['deny']], [decrypt, ['deny', 'update']]), [
      'missing_decrypt',
      'extra_on_key',
      'extra_on_mount_config',
      'extra_key_config',
      'extra_trim',
      'extra_rotate',
      'extra_soft_delete',
      'extra_import',
      'extra_restore',
      'extra_rewrap',
      'extra_export',
      'extra_backup',
    ]);
    const least = [[`${mountPath}/keys/k`, ['read']], [`${mountPath}/config/keys`, ['read']], renew] as const;
    assert.equal(await found(...least, [`${mountPath}/+/k`, ['update']]), [
      'extra_restore',
      'extra_rewrap',
      'extra_backup',
    ]);
    await w.admin.call('DELETE', `sys/policies/acl/${policyName}-rights`);
  });

  test('C21: health needs no token and says whether it is sealed', async (w) => {
    const reply = await w.provider.call('GET', 'sys/health');
    assert.equal([reply.status, reply.body['sealed'], reply.body['initialized']], [200, false, true]);
  });

  test('C23: a soft-deleted key is readable, unusable, and comes back', async (w) => {
    const path = `${w.names.mountPath}/keys/s`;
    await w.admin.call('POST', path, {});
    await w.admin.call('DELETE', `${path}/soft-delete`, undefined, true);
    assert.is(dataOf(await w.admin.call('GET', path))['soft_deleted'], true);
    assert.equal(errorsOf(await w.admin.call('POST', `${w.names.mountPath}/encrypt/s`, { plaintext: 'YQ==' }, true)), [
      'refusing to use soft-deleted key',
    ]);
    await w.admin.call('POST', `${path}/soft-delete-restore`, {});
    assert.is((await w.admin.call('POST', `${w.names.mountPath}/encrypt/s`, { plaintext: 'YQ==' }, true)).status, 200);
    const refused = await w.admin.call('DELETE', path, undefined, true);
    assert.equal(
      [refused.status, errorsOf(refused)],
      [400, ['error deleting policy s: deletion is not allowed for this key']],
    );
  });

  test('C24: config refuses impossible minimums', async (w) => {
    const config = async (body: unknown) =>
      errorsOf(await w.admin.call('POST', `${w.names.mountPath}/keys/k/config`, body, true));
    assert.equal(await config({ min_decryption_version: 2 }), [
      'cannot set min decryption version of 2, latest key version is 1',
    ]);
    assert.equal(await config({ min_encryption_version: -1 }), ['min encryption version cannot be negative']);
  });
});
