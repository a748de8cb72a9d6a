// Mistakes with the policy, the mount and the key: the login is granted, and the probes find them.

import type { Reason } from '../../plugin/health/verdict.ts';
import type { RightFinding } from '../../plugin/keys/rights.ts';
import { wrapped } from '../support/openbao/answer.ts';
import { providerPolicy } from '../support/openbao/provision.ts';
import { field, type Mistake, role, type Told, type Warned } from './mistake.ts';
import type { Place } from './place.ts';

const profile = (finding: string): Told => ({ reason: 'profile_invalid', class: 'profile_invalid', finding });
const keyConfig =
  (body: Record<string, unknown>) =>
  ({ admin, installation: { mountPath, keyName } }: Place) =>
    admin.call('POST', `${mountPath}/keys/${keyName}/config`, body);

/** The policy without the rules of one path. */
const without =
  (path: (place: Place) => string) =>
  async (place: Place): Promise<void> => {
    const { admin, installation } = place;
    const all = providerPolicy(installation);
    const policy = all.replace(new RegExp(`path "${path(place)}" \\{[^}]*\\}`, 'u'), '');
    if (policy === all) throw new Error('the policy does not name this path');
    await admin.call('POST', `sys/policies/acl/${installation.policyName}`, { policy });
  };

/** Makes another key in the place of the good one. */
const otherKey =
  (body: Record<string, unknown>) =>
  async (place: Place): Promise<void> => {
    const { admin, installation } = place;
    const path = `${installation.mountPath}/keys/${installation.keyName}`;
    await keyConfig({ deletion_allowed: true })(place);
    await admin.call('DELETE', path);
    await admin.call('POST', path, body);
  };

const denied = (reason: Reason, right?: RightFinding): Told => ({
  reason,
  class: 'permission_denied',
  httpStatus: 403,
  ...(right === undefined ? {} : { right }),
});

export const rightMistakes: readonly Mistake[] = [
  {
    title: 'the policy does not allow Encrypt',
    make: without(({ installation: { mountPath, keyName } }) => `${mountPath}/encrypt/${keyName}`),
    told: denied('deep_probe_failed', 'missing_encrypt'),
  },
  {
    title: 'the policy does not allow Decrypt',
    make: without(({ installation: { mountPath, keyName } }) => `${mountPath}/decrypt/${keyName}`),
    told: denied('deep_probe_failed', 'missing_decrypt'),
  },
  {
    title: 'the policy does not allow to read the key',
    make: without(({ installation: { mountPath, keyName } }) => `${mountPath}/keys/${keyName}`),
    told: denied('metadata_read_failed', 'missing_metadata_read'),
  },
  {
    title: 'the policy does not allow to read the upsert setting',
    make: without(({ installation: { mountPath } }) => `${mountPath}/config/keys`),
    told: denied('upsert_check_failed', 'missing_upsert_read'),
  },
  {
    title: 'the policy of the role is not there',
    make: role({ token_policies: ['a-policy-that-is-not-there'] }),
    told: denied('upsert_check_failed'),
  },
  {
    title: 'the mount of the configuration is another one',
    config: field('transit.mountPath', 'transit-typo'),
    told: denied('upsert_check_failed', 'missing_upsert_read'),
  },
];

export const keyMistakes: readonly Mistake[] = [
  {
    title: 'the mount makes keys on demand',
    make: ({ admin, installation }) =>
      admin.call('POST', `${installation.mountPath}/config/keys`, { disable_upsert: false }),
    told: { reason: 'upsert_allowed', class: 'upsert_allowed' },
  },
  {
    title: 'the key is not there',
    make: async (place) => {
      await keyConfig({ deletion_allowed: true })(place);
      await place.admin.call('DELETE', `${place.installation.mountPath}/keys/${place.installation.keyName}`);
    },
    told: { reason: 'metadata_read_failed', class: 'not_found', httpStatus: 404 },
  },
  {
    title: 'the mount was disabled',
    make: ({ admin, installation }) => admin.call('DELETE', `sys/mounts/${installation.mountPath}`),
    told: { reason: 'upsert_check_failed', class: 'not_found', httpStatus: 404 },
    needsReal: true,
  },
  {
    title: 'the key is of another type',
    make: async (place) => {
      if (place.isReal) return otherKey({ type: 'chacha20-poly1305' })(place);
      place.tamper((key) => {
        key.type = 'chacha20-poly1305';
      });
    },
    told: profile('unsupported_type'),
  },
  {
    title: 'the key derives',
    make: async (place) => {
      if (place.isReal) return otherKey({ derived: true })(place);
      place.tamper((key) => {
        key.isDerived = true;
      });
    },
    told: profile('derived'),
  },
  {
    title: 'the key can be exported',
    make: keyConfig({ exportable: true }),
    told: profile('exportable'),
  },
  {
    title: 'the key can be backed up in plaintext',
    make: keyConfig({ allow_plaintext_backup: true }),
    told: profile('plaintext_backup'),
  },
  {
    title: 'the key may be deleted',
    make: keyConfig({ deletion_allowed: true }),
    told: profile('deletion_allowed'),
  },
  {
    title: 'the key was soft-deleted',
    make: ({ admin, installation: { mountPath, keyName } }) =>
      admin.call('DELETE', `${mountPath}/keys/${keyName}/soft-delete`),
    told: profile('soft_deleted'),
  },
  {
    title: 'the key was rotated before the first start, and there is no state',
    make: ({ admin, installation: { mountPath, keyName } }) =>
      admin.call('POST', `${mountPath}/keys/${keyName}/rotate`),
    told: { reason: 'state_unavailable', class: 'state_unavailable' },
  },
  {
    title: 'min_encryption_version is raised above the active version',
    isMadeWhileServing: true,
    make: async (place) => {
      const { mountPath, keyName } = place.installation;
      await place.admin.call('POST', `${mountPath}/keys/${keyName}/rotate`);
      await keyConfig({ min_encryption_version: 2 })(place);
    },
    told: { reason: 'encryption_blocked', class: 'encryption_blocked' },
  },
  {
    title: 'min_decryption_version is raised above a version in use',
    isMadeWhileServing: true,
    make: async (place) => {
      const { mountPath, keyName } = place.installation;
      await place.admin.call('POST', `${mountPath}/keys/${keyName}/rotate`);
      await keyConfig({ min_decryption_version: 2 })(place);
    },
    told: profile('version_cannot_decrypt'),
  },
  {
    title: 'the key was made anew under its name',
    isMadeWhileServing: true,
    make: async (place) => {
      // Nobody sees what is in between, not even a request that is on its way; and a key of the same second would have the same
      // time.
      place.front.fault = () => wrapped(500, 'in between');
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      await otherKey({ type: 'aes256-gcm96' })(place);
      place.front.fault = undefined;
    },
    told: profile('version_recreated'),
  },
];

export const warned: readonly Warned[] = [
  {
    title: 'the policy does not allow to renew the token',
    make: without(() => 'auth/token/renew-self'),
    warning: 'missing_renew',
  },
  {
    title: 'the policy does not allow to ask for the rights',
    make: without(() => 'sys/capabilities-self'),
    warning: 'missing_capabilities',
  },
  {
    title: 'the policy allows to configure the key',
    make: async ({ admin, installation }) => {
      const { mountPath, keyName, policyName } = installation;
      const more = `path "${mountPath}/keys/${keyName}/config" { capabilities = ["update"] }`;
      await admin.call('POST', `sys/policies/acl/${policyName}`, {
        policy: `${providerPolicy(installation)}\n${more}`,
      });
    },
    warning: 'extra_key_config',
  },
];
