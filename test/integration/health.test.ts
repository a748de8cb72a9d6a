// Health of a whole provider with default settings, before a real OpenBao when one is found: what an administrator takes away or
// gives too much shows with its cause, and Status is never wrongly good.

import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { quickly, until } from '../support/installation.ts';
import { issuerDefaults } from '../support/jwt-issuer.ts';
import { type Administration, withAdministration } from '../support/key-administration.ts';
import { refusalOf } from '../support/kms-client.ts';
import { defaultInstallation, providerPolicy, provision } from '../support/openbao/provision.ts';
import { type Provider, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';
import type { ConfigDocument } from '../support/workplace.ts';

const { mountPath, keyName, policyName } = defaultInstallation;
const fullPolicy = providerPolicy(defaultInstallation);

/** The intervals that a user has who sets none. */
const withDefaults = (config: ConfigDocument) => {
  delete config['status'];
};

const setPolicy = ({ admin }: Administration, policy: string) =>
  admin.call('POST', `sys/policies/acl/${policyName}`, { policy });
const without = (area: string) => {
  const rule = new RegExp(`path "[^"]*${area}[^"]*" \\{[^}]*\\}`, 'u');
  assert.match(fullPolicy, rule);
  return fullPolicy.replace(rule, '');
};

type Body = {
  readonly reasons: readonly string[];
  readonly cause?: Record<string, unknown>;
  readonly next_probe_at?: string;
  readonly warnings?: readonly Record<string, unknown>[];
};
const readyOf = async (provider: Provider) => {
  const { status, body } = await provider.ready();
  return { ...(body as unknown as Body), status };
};

test('Decrypt leaves the policy: unhealthy after the first refused call, not once wrongly good, and mended by the policy alone', () =>
  withAdministration(async (administration) => {
    const provider = administration.start();
    await untilHealthy(provider);
    const sealed = await provider.client.encrypt(randomBytes(32));
    await setPolicy(administration, without('decrypt'));
    const refusal = await refusalOf(provider.client.decrypt(sealed));
    assert.is(refusal.message, 'transit permission denied');
    await until(async () => (await provider.client.status()).healthz !== 'ok', 'the deep probe that the call brings');
    // Three failures open the breaker within these 40 s, and its pause passes several times.
    for (const endsAtMs = performance.now() + 40_000; performance.now() < endsAtMs; ) {
      assert.is((await provider.client.status()).healthz, 'unhealthy');
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const ready = await readyOf(provider);
    const { since, for_seconds: forSeconds, reason, ...cause } = ready.cause ?? {};
    assert.equal(cause, { class: 'permission_denied', finding: 'missing_decrypt', http_status: 403 });
    assert.is(reason, 'deep_probe_failed');
    assert.equal(ready.reasons, ['rights_missing', 'deep_probe_failed']);
    assert.ok(Number(forSeconds) >= 40 && Number.isFinite(Date.parse(String(since))));
    assert.ok(Date.parse(String(ready.next_probe_at)) <= Date.now() + 13_000);
    const line = await provider.line((one) => one.message === 'status.probe' && one['probe_kind'] === 'deep');
    assert.equal([line['error_class'], line['http_status'], line['trigger']], ['permission_denied', 403, 'call']);
    assert.match(String(line['hint']), /transit decrypt failed/u);
    assert.is((await provider.event('rights.changed'))['finding'], 'missing_decrypt');
    assert.match(await provider.metrics(), /cause_age_seconds\{[^}]*finding="missing_decrypt"[^}]*\} \d/u);
    await setPolicy(administration, fullPolicy);
    await untilHealthy(provider, 60_000);
    const mended = await readyOf(provider);
    assert.equal([mended.status, mended.reasons, mended.cause], [200, [], undefined]);
    assert.not.match(await provider.metrics(), /cause_age_seconds\{/u);
  }, withDefaults));

for (const [what, area, reason, finding] of [
  ['Encrypt', 'encrypt', 'deep_probe_failed', 'missing_encrypt'],
  ['the read of the key', 'keys/', 'metadata_read_failed', 'missing_metadata_read'],
  ['the read of the upsert policy', 'config', 'upsert_check_failed', 'missing_upsert_read'],
] as const) {
  test(`${what} leaves the policy: the cause names the right`, () =>
    withAdministration(async (administration) => {
      const provider = administration.start();
      await untilHealthy(provider);
      await setPolicy(administration, without(area));
      const isNamed = async () => {
        const { cause } = await readyOf(provider);
        return cause?.['finding'] === finding && cause['reason'] === reason;
      };
      await until(isNamed, finding, 30_000);
      const { cause, status } = await readyOf(provider);
      assert.equal([status, cause?.['class'], cause?.['http_status']], [503, 'permission_denied', 403]);
      await setPolicy(administration, fullPolicy);
      await untilHealthy(provider, 30_000);
    }));
}

for (const [what, rule, finding] of [
  ['to export the key', `path "${mountPath}/export/*" { capabilities = ["read"] }`, 'extra_export'],
  ['to rotate it', `path "${mountPath}/keys/${keyName}/rotate" { capabilities = ["update"] }`, 'extra_rotate'],
] as const) {
  test(`a right ${what} is a warning, and no reason to be unhealthy`, () =>
    withAdministration(async (administration) => {
      const provider = administration.start();
      await untilHealthy(provider);
      await setPolicy(administration, `${fullPolicy}\n${rule}`);
      await until(async () => (await readyOf(provider)).warnings !== undefined, finding, 30_000);
      const { status, warnings, cause } = await readyOf(provider);
      assert.equal([status, warnings, cause], [200, [{ warning: finding }], undefined]);
      assert.match(await provider.metrics(), new RegExp(`openbao_kms_warning\\{warning="${finding}"\\} 1`, 'u'));
      await setPolicy(administration, fullPolicy);
      await until(async () => (await readyOf(provider)).warnings === undefined, 'the mended policy', 30_000);
    }));
}

test('without the right to renew, and without that to ask, the provider serves and says so', () =>
  withAdministration(async (administration) => {
    const provider = administration.start();
    await untilHealthy(provider);
    await setPolicy(administration, without('renew-self'));
    const told = async () => (await readyOf(provider)).warnings?.map(({ warning }) => warning);
    await until(async () => (await told())?.includes('missing_renew') === true, 'missing_renew', 30_000);
    await setPolicy(administration, without('capabilities-self'));
    await until(async () => (await told())?.includes('missing_capabilities') === true, 'missing_capabilities', 30_000);
    assert.is((await provider.client.status()).healthz, 'ok');
    const logins = provider.log.filter(({ message }) => message === 'auth.login').length;
    assert.is(logins, 1, 'a question that is not allowed costs no login');
  }));

test('in a namespace rights are those of the namespace', () =>
  withAdministration(async (administration) => {
    const { admin, issuer, isReal, workplace } = administration;
    if (skipWithout(isReal, 'rights in a namespace', 'a real OpenBao')) return;
    await admin.call('POST', 'sys/namespaces/teams');
    const inside = {
      ...admin,
      call: (...[method, path, ...rest]: Parameters<typeof admin.call>) => admin.call(method, `teams/${path}`, ...rest),
    };
    await provision(inside, defaultInstallation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
    workplace.writeConfig((config) => {
      quickly(config);
      (config['openbao'] as Record<string, unknown>)['namespace'] = 'teams';
    });
    const provider = administration.start();
    await untilHealthy(provider);
    // A look that found something, or was refused, would be in the log.
    await until(
      async () => /operation="capabilities_self",status="ok"\} [2-9]/u.test(await provider.metrics()),
      'looks',
    );
    assert.equal((await readyOf(provider)).warnings, undefined);
    await inside.call('POST', `sys/policies/acl/${policyName}`, { policy: without('decrypt') });
    await until(
      async () => (await readyOf(provider)).cause?.['finding'] === 'missing_decrypt',
      'missing_decrypt',
      30_000,
    );
  }));

test('a finding about the key stands in log and /ready with its field', () =>
  withAdministration(async (administration) => {
    const provider = administration.start();
    await untilHealthy(provider);
    const configure = (isAllowed: boolean) =>
      administration.admin.call('POST', `${mountPath}/keys/${keyName}/config`, { deletion_allowed: isAllowed });
    await configure(true);
    await until(async () => (await readyOf(provider)).cause !== undefined, 'the finding', 30_000);
    const { cause } = await readyOf(provider);
    assert.equal([cause?.['class'], cause?.['finding']], ['profile_invalid', 'deletion_allowed']);
    const line = await provider.line((one) => one['finding'] === 'deletion_allowed');
    assert.equal([line['field'], line['error_class']], ['deletion_allowed=true', 'profile_invalid']);
    assert.match(String(line['hint']), /key deletion is allowed/u);
    await configure(false);
    await untilHealthy(provider, 30_000);
  }));

test('data that does not decrypt is told while the key is fine, and Status stays', () =>
  withAdministration(async (administration) => {
    const provider = administration.start();
    await untilHealthy(provider);
    for (let count = 0; count < 3; count += 1) {
      const sealed = await provider.client.encrypt(randomBytes(32));
      const text = sealed.ciphertext.toString('latin1');
      // One character of the tag is another: base64 as before, and the tag does not verify.
      const other = text.at(-6) === 'A' ? 'B' : 'A';
      const damaged = Buffer.from(`${text.slice(0, -6)}${other}${text.slice(-5)}`, 'latin1');
      await refusalOf(provider.client.decrypt({ ...sealed, ciphertext: damaged }));
    }
    await until(async () => (await readyOf(provider)).warnings !== undefined, 'decrypt_failing', 30_000);
    const { status, warnings } = await readyOf(provider);
    assert.equal([status, warnings], [200, [{ warning: 'decrypt_failing', class: 'decrypt_failed' }]]);
  }));

test.run();
