// Every way in which OpenBao can be away or wrong: how it is brought about, how it is mended, and what an operator does.

import { writeFileSync } from 'node:fs';
import { runCommand } from '../support/command.ts';
import type { Installed } from '../support/installation.ts';
import { parsePolicy } from '../support/openbao/access.ts';
import { refuse } from '../support/openbao/answer.ts';
import { defaultInstallation, providerPolicy } from '../support/openbao/provision.ts';
import type { Fault } from '../support/openbao/server.ts';
import { createAuthority, createLeaf } from '../support/pki.ts';

export type Mode = {
  readonly name: string;
  readonly bring: (installed: Installed) => Promise<void> | void;
  /** What OpenBao's side does to end it; undefined: nothing, the provider alone recovers. */
  readonly mend: ((installed: Installed) => Promise<void> | void) | undefined;
  /** What recovers it, in the words of docs/failure-modes.md. */
  readonly recovery: string;
  /** The provider has to be stopped for the repair and started after it. */
  readonly needsStop?: true;
  /** The key is at version 2, active, before it happens. */
  readonly isRotated?: true;
  /** What is seen changes from second to second; only the recovery is held to. */
  readonly isUnsteady?: true;
  /** OpenBao is reached by a name that can be taken away. */
  readonly byName?: true;
};

const keyName = defaultInstallation.keyName;
const now = () => Math.floor(Date.now() / 1000);
const keyOf = ({ engine }: Installed) => {
  const key = engine.keys.get(keyName);
  if (key === undefined) throw new Error('no key');
  return key;
};
const write = ({ engine }: Installed, action: string, body: Record<string, unknown> = {}) =>
  engine.handle('write', `keys/${keyName}/${action}`, body, now());
const fault = (what: Fault | undefined) => (installed: Installed) => {
  installed.bao.fault = what;
};
const noFault = fault(undefined);

/** What an administrator's backup of the storage holds. */
const backups = new WeakMap<Installed, ReturnType<typeof keyOf>>();
const backUp = (installed: Installed) => {
  const key = keyOf(installed);
  backups.set(installed, { ...key, versions: new Map(key.versions) });
};
const restore = (installed: Installed) => {
  const key = backups.get(installed);
  if (key !== undefined) installed.engine.keys.set(keyName, { ...key, versions: new Map(key.versions) });
};

export const hostsFile = ({ workplace }: Installed) => `${workplace.directory}/hosts`;
export const baoName = 'bao.failure-modes.test';
const resolve = (installed: Installed) => writeFileSync(hostsFile(installed), `127.0.0.1 localhost ${baoName}\n`);
const unresolve = (installed: Installed) => writeFileSync(hostsFile(installed), '127.0.0.1 localhost\n');

async function retireBelow(installed: Installed, version: string): Promise<void> {
  const plan = await runCommand(
    installed.workplace,
    'retire-versions',
    '--before-version',
    version,
    '--output',
    'json',
  );
  const hash = String(JSON.parse(plan.stdout).stateHash);
  await runCommand(
    installed.workplace,
    'retire-versions',
    '--before-version',
    version,
    '--apply',
    '--expected-state-hash',
    hash,
  );
}

export const modes: readonly Mode[] = [
  {
    name: 'deletion of the key is allowed',
    bring: (at) => void write(at, 'config', { deletion_allowed: true }),
    mend: (at) => void write(at, 'config', { deletion_allowed: false }),
    recovery: 'deletion forbidden again',
  },
  {
    name: 'key deleted',
    bring: (at) => {
      backUp(at);
      at.engine.keys.delete(keyName);
    },
    mend: restore,
    recovery: 'the storage backup of OpenBao; without one **nothing**: the data is lost',
  },
  {
    name: 'key soft-deleted',
    bring: (at) => void write(at, 'soft-delete'),
    mend: (at) => void write(at, 'soft-delete-restore'),
    recovery: 'its restoration',
  },
  {
    name: 'key recreated under its name',
    bring: (at) => {
      backUp(at);
      at.engine.keys.delete(keyName);
      at.engine.create(keyName, now() + 60);
    },
    mend: restore,
    recovery: 'the old key from the storage backup; the new one is never taken for it',
  },
  {
    name: 'OpenBao restored from an older backup',
    isRotated: true,
    bring: (at) => {
      backUp(at);
      const key = keyOf(at);
      key.versions.delete(2);
      key.latestVersion = 1;
    },
    mend: restore,
    recovery: 'a backup that has the newest version; without one what it encrypted is lost',
  },
  {
    name: 'old version trimmed',
    isRotated: true,
    bring: (at) => {
      write(at, 'config', { min_encryption_version: 2, min_decryption_version: 2 });
      write(at, 'trim', { min_available_version: 2 });
    },
    mend: (at) => retireBelow(at, '2'),
    needsStop: true,
    recovery: '`retire-versions`, then a start; what version 1 encrypted is lost',
  },
  {
    name: '`min_decryption_version` raised too early',
    isRotated: true,
    bring: (at) => void write(at, 'config', { min_decryption_version: 2 }),
    mend: (at) => void write(at, 'config', { min_decryption_version: 1 }),
    recovery: 'lowering it, or `retire-versions` once everything is rewritten',
  },
  {
    name: '`min_encryption_version` above the active version',
    bring: (at) => {
      write(at, 'rotate');
      write(at, 'config', { min_encryption_version: 2 });
    },
    mend: undefined,
    recovery: 'by itself, with the promotion',
  },
  {
    name: 'mount makes keys on demand',
    bring: (at) => {
      at.engine.isUpsertDisabled = false;
    },
    mend: (at) => {
      at.engine.isUpsertDisabled = true;
    },
    recovery: '`disable_upsert=true`',
  },
  {
    name: 'key of another type',
    bring: (at) => {
      keyOf(at).type = 'rsa-2048';
    },
    mend: (at) => {
      keyOf(at).type = 'aes256-gcm96';
    },
    recovery: 'the right key under the name',
  },
  {
    name: 'mount gone',
    bring: (at) => void at.bao.transit.delete(defaultInstallation.mountPath),
    mend: (at) => void at.bao.transit.set(defaultInstallation.mountPath, at.engine),
    recovery: 'the mount from the storage backup',
  },
  {
    name: 'policy removed',
    bring: (at) => void at.bao.access.policies.delete(defaultInstallation.policyName),
    mend: (at) =>
      void at.bao.access.policies.set(defaultInstallation.policyName, parsePolicy(providerPolicy(defaultInstallation))),
    recovery: 'the policy; no new login is needed',
  },
  {
    name: 'token revoked',
    bring: (at) => {
      for (const [id, token] of at.bao.access.tokens) if (!token.isRoot) at.bao.access.tokens.delete(id);
    },
    mend: undefined,
    recovery: 'by itself, with one login',
  },
  {
    name: 'login refused, tokens revoked',
    bring: (at) => {
      for (const [id, token] of at.bao.access.tokens) if (!token.isRoot) at.bao.access.tokens.delete(id);
      at.bao.fault = ({ path }) => (path.endsWith('/login') ? refuse(400, 'x') : undefined);
    },
    mend: noFault,
    recovery: 'role and issuer put right, at the next try of the login',
  },
  {
    name: 'sealed',
    bring: (at) => {
      at.bao.isSealed = true;
    },
    mend: (at) => {
      at.bao.isSealed = false;
    },
    recovery: 'its unsealing',
  },
  { name: 'stopped', bring: (at) => at.bao.pause(), mend: (at) => at.bao.resume(), recovery: 'its start' },
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
      at.bao.useLeaf(await createLeaf(await createAuthority('a stranger')));
      at.bao.dropConnections();
    },
    mend: async (at) => {
      at.bao.useLeaf(await createLeaf(at.authority));
      at.bao.dropConnections();
    },
    recovery: 'the right certificate, or its CA in `openbao.caCertFile`',
  },
  {
    name: 'name does not resolve',
    byName: true,
    bring: (at) => {
      unresolve(at);
      at.bao.dropConnections();
    },
    mend: resolve,
    recovery: 'DNS',
  },
  {
    name: 'flapping: every other answer is an error',
    isUnsteady: true,
    bring: (at) => {
      let count = 0;
      at.bao.fault = () => {
        count += 1;
        return count % 2 === 0 ? refuse(503, 'x') : undefined;
      };
    },
    mend: noFault,
    recovery: 'by itself when it holds',
  },
];

export const prepareName = resolve;
