// One plugin's way to OpenBao with everything that can change under it: CA file, certificate of the server, JWT file, key of the
// issuer, policy. Each change is made once, in an order of the test's choice; what was not served while it could have been is noted.
// The plugin's own code runs in this process, so that hundreds of orders can be tried at a time; the files are played.

import { OpenBao } from '../../plugin/openbao.ts';
import * as system from '../../plugin/system.ts';
import { requireConfig } from '../../shared/config/config.ts';
import { createJwtIssuer, issuerDefaults } from './jwt-issuer.ts';
import { startForward } from './openbao/forward.ts';
import { type Admin, defaultInstallation, jwtRole, providerPolicy } from './openbao/provision.ts';
import { type Authority, createLeaf } from './pki.ts';

export const changes = ['ca file', 'certificate', 'jwt file', 'issuer key', 'policy'] as const;
export type Change = (typeof changes)[number];

/** All orders of a list. */
export function ordersOf<T>(items: readonly T[]): readonly (readonly T[])[] {
  if (items.length === 0) return [[]];
  return items.flatMap((first, index) =>
    ordersOf([...items.slice(0, index), ...items.slice(index + 1)]).map((rest) => [first, ...rest]),
  );
}

export type Place = {
  readonly admin: Admin;
  readonly address: string;
  readonly ca: string;
  readonly authorities: { readonly old: Authority; readonly next: Authority };
};

export type OrderResult = {
  readonly order: readonly Change[];
  /** The longest time in which service was possible, nothing changed, and none was given. */
  readonly longestGapMs: number;
  /** From the last change to the first good call; undefined: never. */
  readonly backAfterMs: number | undefined;
};

const callEveryMs = 2_000;

/** @param number  distinguishes mounts and policies of orders that share an OpenBao */
export async function runOrder(
  place: Place,
  order: readonly Change[],
  gapMs: number,
  number: number,
  settleMs: number,
): Promise<OrderResult> {
  const { admin, authorities } = place;
  const installation = { ...defaultInstallation, authPath: `auth/orders-${number}`, policyName: `orders-${number}-a` };
  const later = { ...installation, policyName: `orders-${number}-b` };
  const issuers = { old: createJwtIssuer(), next: createJwtIssuer() };
  const bound = { audience: issuerDefaults.audience, subject: issuerDefaults.subject };
  const setKey = (pem: string) =>
    admin.call('POST', `${installation.authPath}/config`, {
      jwt_validation_pubkeys: [pem],
      bound_issuer: issuerDefaults.issuer,
    });
  for (const { policyName } of [installation, later]) {
    await admin.call('POST', `sys/policies/acl/${policyName}`, { policy: providerPolicy(installation) });
  }
  await admin.call('POST', `sys/${installation.authPath}`, { type: 'jwt' });
  await setKey(issuers.old.publicKeyPem);
  await admin.call('POST', `${installation.authPath}/role/${installation.role}`, jwtRole(installation, bound));
  const front = await startForward(place, { leaf: await createLeaf(authorities.old) });
  const stopped = new AbortController();
  const openbao = new OpenBao({
    config: requireConfig(documentOf(front.address, installation)),
    version: '0.0.0',
    clock: system.clock,
    random: system.random,
    send: () => {},
    recordRequest: () => {},
    recordToken: () => {},
    stopped: stopped.signal,
  });
  const generations = { openbao_ca: 0, jwt: 0 };
  const offer = (name: 'openbao_ca' | 'jwt', text: string) => {
    generations[name] += 1;
    const bytes = Buffer.from(text).toString('base64');
    openbao.credential({ kind: 'credential', name, generation: generations[name], modifiedAtUnixMs: 0, bytes });
  };
  const done = new Set<Change>();
  /** A server takes a new certificate with a restart or without one. */
  const takeCertificate = async () => {
    front.useLeaf(await createLeaf(authorities.next));
    if (number % 2 === 0) front.dropConnections();
  };
  const perform: Readonly<Record<Change, () => Promise<unknown> | unknown>> = {
    'ca file': () => offer('openbao_ca', authorities.next.pem),
    certificate: takeCertificate,
    'jwt file': () => offer('jwt', issuers.next.issue()),
    'issuer key': () => setKey(issuers.next.publicKeyPem),
    policy: async () => {
      await admin.call('POST', `${installation.authPath}/role/${installation.role}`, jwtRole(later, bound));
      await admin.call('DELETE', `sys/policies/acl/${installation.policyName}`);
    },
  };
  offer('openbao_ca', authorities.old.pem);
  offer('jwt', issuers.old.issue());
  let changedAtMs = performance.now();
  let goodAtMs: number | undefined;
  let longestGapMs = 0;
  const call = async () => {
    const wasPossible = isPossible(done);
    const isServed = await openbao.transit
      .encrypt({ keyVersion: 1, plaintext: Buffer.alloc(32, 1), aad: Buffer.from('orders') })
      .then(() => true)
      .catch(() => false);
    if (isServed) goodAtMs = performance.now();
    else if (wasPossible && isPossible(done)) {
      longestGapMs = Math.max(longestGapMs, performance.now() - Math.max(changedAtMs, goodAtMs ?? 0));
    }
  };
  const callFor = async (ms: number) => {
    for (const endMs = performance.now() + ms; performance.now() < endMs; ) {
      await call();
      await pause(Math.max(0, Math.min(callEveryMs, endMs - performance.now())));
    }
  };
  try {
    while (goodAtMs === undefined) await callFor(callEveryMs);
    for (const [index, change] of order.entries()) {
      await perform[change]();
      done.add(change);
      changedAtMs = performance.now();
      // After the last one it is the way back that is measured.
      if (gapMs > 0 && index < order.length - 1) await callFor(gapMs);
    }
    const lastMs = changedAtMs;
    goodAtMs = undefined;
    while (goodAtMs === undefined && performance.now() < lastMs + settleMs) await callFor(callEveryMs);
    return { order, longestGapMs, backAfterMs: goodAtMs === undefined ? undefined : goodAtMs - lastMs };
  } finally {
    stopped.abort();
    await openbao.close();
    await front.close();
  }
}

/** Whether a provider that does everything right can serve: over either CA, with either JWT, or with the token it has. */
function isPossible(done: ReadonlySet<Change>): boolean {
  const isTlsPossible = !done.has('certificate') || done.has('ca file');
  const canLogIn = !done.has('issuer key') || done.has('jwt file');
  return isTlsPossible && (canLogIn || !done.has('policy'));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function documentOf(address: string, { authPath, role, mountPath, keyName }: typeof defaultInstallation) {
  return {
    configVersion: 'v1alpha1',
    server: { socketGroup: '0' },
    openbao: { address, caCertFile: '/ca', tlsServerName: 'localhost', instanceId: 'bao-test' },
    auth: { method: 'jwt', jwt: { source: 'file', mountPath: authPath, role, jwtFile: '/jwt' } },
    transit: {
      mountPath,
      keyName,
      keyIdScope: {
        providerName: 'openbao-kms-test',
        clusterId: 'cluster-test',
        transitMountId: 'transit-test',
        keyLineageId: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
      },
    },
  };
}
