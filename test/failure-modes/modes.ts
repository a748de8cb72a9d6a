// Every way in which OpenBao can be away or wrong: how it is brought about, how it is mended, and what an operator does. All of it
// is done over OpenBao's API and at the front before it, so that it is the same with a real OpenBao.

import { writeFileSync } from 'node:fs';
import { runCommand } from '../support/command.ts';
import { issuerDefaults } from '../support/jwt-issuer.ts';
import type { Administration } from '../support/key-administration.ts';
import { refuse } from '../support/openbao/answer.ts';
import type { Fault } from '../support/openbao/front.ts';
import { defaultInstallation, jwtRole, providerPolicy } from '../support/openbao/provision.ts';
import { createAuthority, createLeaf } from '../support/pki.ts';

type Act = (at: Administration) => Promise<unknown> | unknown;

export type Mode = {
  readonly name: string;
  readonly bring: Act;
  /** What OpenBao's side does to end it; undefined: nothing, the provider alone recovers. */
  readonly mend: Act | undefined;
  /** What recovers it, in the words of docs/failure-modes.md. */
  readonly recovery: string;
  /** A backup of the storage is taken while all is well; before the rotation, where there is one. */
  readonly isBackedUp?: true;
  /** The provider has to be stopped for the repair and started after it. */
  readonly needsStop?: true;
  /** The key is at version 2, active, before it happens. */
  readonly isRotated?: true;
  /** What is seen changes from second to second; only the recovery is held to. */
  readonly isUnsteady?: true;
  /** OpenBao is reached by a name that can be taken away. */
  readonly byName?: true;
};

const { mountPath, keyName, authPath, role, policyName } = defaultInstallation;
const key = `${mountPath}/keys/${keyName}`;
const otherType = 'chacha20-poly1305';
export const rotate = ({ admin }: Administration) => admin.call('POST', `${key}/rotate`);
const configure =
  (body: Record<string, unknown>): Act =>
  ({ admin }) =>
    admin.call('POST', `${key}/config`, body);
const fault =
  (what: Fault | undefined): Act =>
  ({ front }) => {
    front.fault = what;
  };
const noFault = fault(undefined);

/** The backups of an administrator, the newest last. */
const backups = new WeakMap<Administration, (() => Promise<void>)[]>();
export const backUp: Act = async (at) => {
  backups.set(at, [...(backups.get(at) ?? []), await at.backUp()]);
};
const restoreNewest: Act = (at) => backups.get(at)?.at(-1)?.();
const restoreOldest: Act = (at) => backups.get(at)?.[0]?.();
const erase: Act = async (at) => {
  await configure({ deletion_allowed: true })(at);
  await at.admin.call('DELETE', key);
};
/** Nobody sees what is in between: requests that come meanwhile wait. */
const atOnce =
  (...acts: readonly Act[]): Act =>
  async (at) => {
    const done = Promise.withResolvers<void>();
    at.front.fault = () => done.promise.then(() => undefined);
    for (const act of acts) await act(at);
    at.front.fault = undefined;
    done.resolve();
  };
/** Key creation times are in seconds; a key made in the second of the old one would not differ. */
const nextSecond: Act = () => new Promise((resolve) => setTimeout(resolve, 1_100));

export const hostsFile = ({ workplace }: Administration) => `${workplace.directory}/hosts`;
export const baoName = 'bao.failure-modes.test';
const resolve: Act = (at) => writeFileSync(hostsFile(at), `127.0.0.1 localhost ${baoName}\n`);
const unresolve: Act = (at) => writeFileSync(hostsFile(at), '127.0.0.1 localhost\n');

async function retireBelow({ workplace }: Administration, version: string): Promise<void> {
  const words = ['--before-version', version] as const;
  const plan = await runCommand(workplace, 'retire-versions', ...words, '--output', 'json');
  const hash = String(JSON.parse(plan.stdout).stateHash);
  await runCommand(workplace, 'retire-versions', ...words, '--apply', '--expected-state-hash', hash);
}

export const modes: readonly Mode[] = [
  {
    name: 'deletion of the key is allowed',
    bring: configure({ deletion_allowed: true }),
    mend: configure({ deletion_allowed: false }),
    recovery: 'deletion forbidden again',
  },
  {
    name: 'key deleted',
    isBackedUp: true,
    bring: atOnce(erase),
    mend: restoreNewest,
    recovery: 'the storage backup of OpenBao; without one **nothing**: the data is lost',
  },
  {
    name: 'key soft-deleted',
    bring: ({ admin }) => admin.call('DELETE', `${key}/soft-delete`),
    mend: ({ admin }) => admin.call('POST', `${key}/soft-delete-restore`),
    recovery: 'its restoration',
  },
  {
    name: 'key recreated under its name',
    isBackedUp: true,
    bring: atOnce(nextSecond, erase, ({ admin }) => admin.call('POST', key, { type: 'aes256-gcm96' })),
    mend: restoreNewest,
    recovery: 'the old key from the storage backup; the new one is never taken for it',
  },
  {
    name: 'OpenBao restored from an older backup',
    isRotated: true,
    isBackedUp: true,
    bring: async (at) => {
      await backUp(at);
      await atOnce(restoreOldest)(at);
    },
    mend: restoreNewest,
    recovery: 'a backup that has the newest version; without one what it encrypted is lost',
  },
  {
    name: 'old version trimmed',
    isRotated: true,
    bring: async (at) => {
      await configure({ min_encryption_version: 2, min_decryption_version: 2 })(at);
      await at.admin.call('POST', `${key}/trim`, { min_available_version: 2 });
    },
    mend: (at) => retireBelow(at, '2'),
    needsStop: true,
    recovery: '`retire-versions`, then a start; what version 1 encrypted is lost',
  },
  {
    name: '`min_decryption_version` raised too early',
    isRotated: true,
    bring: configure({ min_decryption_version: 2 }),
    mend: configure({ min_decryption_version: 1 }),
    recovery: 'lowering it, or `retire-versions` once everything is rewritten',
  },
  {
    name: '`min_encryption_version` above the active version',
    bring: async (at) => {
      await rotate(at);
      await configure({ min_encryption_version: 2 })(at);
    },
    mend: undefined,
    recovery: 'by itself, with the promotion',
  },
  {
    name: 'mount makes keys on demand',
    bring: ({ admin }) => admin.call('POST', `${mountPath}/config/keys`, { disable_upsert: false }),
    mend: ({ admin }) => admin.call('POST', `${mountPath}/config/keys`, { disable_upsert: true }),
    recovery: '`disable_upsert=true`',
  },
  {
    name: 'key of another type',
    isBackedUp: true,
    bring: atOnce(erase, ({ admin }) => admin.call('POST', key, { type: otherType })),
    mend: restoreNewest,
    recovery: 'the right key under the name',
  },
  {
    name: 'mount gone',
    isBackedUp: true,
    bring: ({ admin }) => admin.call('DELETE', `sys/mounts/${mountPath}`),
    mend: restoreNewest,
    recovery: 'the mount from the storage backup',
  },
  {
    name: 'policy removed',
    bring: ({ admin }) => admin.call('DELETE', `sys/policies/acl/${policyName}`),
    mend: ({ admin }) =>
      admin.call('POST', `sys/policies/acl/${policyName}`, { policy: providerPolicy(defaultInstallation) }),
    recovery: 'the policy; no new login is needed',
  },
  {
    name: 'token revoked',
    bring: ({ revokeTokens }) => revokeTokens(),
    mend: undefined,
    recovery: 'by itself, with one login',
  },
  {
    name: 'login refused, tokens revoked',
    bring: async ({ admin, revokeTokens }) => {
      const other = { ...jwtRole(defaultInstallation, issuerDefaults), bound_subject: 'somebody else' };
      await admin.call('POST', `${authPath}/role/${role}`, other);
      await revokeTokens();
    },
    mend: ({ admin }) => admin.call('POST', `${authPath}/role/${role}`, jwtRole(defaultInstallation, issuerDefaults)),
    recovery: 'role and issuer put right, at the next try of the login',
  },
  {
    name: 'sealed',
    bring: ({ admin }) => admin.call('POST', 'sys/seal'),
    mend: ({ unseal }) => unseal(),
    recovery: 'its unsealing',
  },
  { name: 'stopped', bring: ({ front }) => front.pause(), mend: ({ front }) => front.resume(), recovery: 'its start' },
  {
    name: 'slow: 3 s an answer',
    bring: fault(async () => {
      await new Promise((done) => setTimeout(done, 3_000));
      return undefined;
    }),
    mend: noFault,
    recovery: 'by itself when it is quick again',
  },
  { name: 'black hole', bring: fault(() => 'hang'), mend: noFault, recovery: 'the way to it' },
  {
    name: 'reset in the middle of an answer',
    bring: fault(() => ({
      raw: true,
      status: 200,
      headers: { 'content-type': 'application/json', 'content-length': '500' },
      text: '{"data":{',
      thenClose: true,
    })),
    mend: noFault,
    recovery: 'the way to it',
  },
  {
    name: '429 with Retry-After',
    bring: fault(() => ({ ...refuse(429, 'rate limit quota exceeded'), headers: { 'retry-after': '2' } })),
    mend: noFault,
    recovery: 'a higher quota',
  },
  { name: '500 to everything', bring: fault(() => refuse(500, 'x')), mend: noFault, recovery: 'its repair' },
  {
    name: 'certificate of another CA',
    bring: async (at) => {
      at.front.useLeaf(await createLeaf(await createAuthority('a stranger')));
      at.front.dropConnections();
    },
    mend: async (at) => {
      at.front.useLeaf(await createLeaf(at.authority));
      at.front.dropConnections();
    },
    recovery: 'the right certificate, or its CA in `openbao.caCertFile`',
  },
  {
    name: 'name does not resolve',
    byName: true,
    bring: (at) => {
      void unresolve(at);
      at.front.dropConnections();
    },
    mend: resolve,
    recovery: 'DNS',
  },
  {
    name: 'flapping: every other answer is an error',
    isUnsteady: true,
    bring: (at) => {
      let count = 0;
      at.front.fault = () => {
        count += 1;
        return count % 2 === 0 ? refuse(503, 'x') : undefined;
      };
    },
    mend: noFault,
    recovery: 'by itself when it holds',
  },
];

export const prepareName = resolve;
