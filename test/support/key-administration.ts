// A provider before an OpenBao that an administrator harms and mends through the API: a real one when it is found, else the
// development server. The provider reaches it through a front, where everything that a network can do is done.

import { quickly } from './installation.ts';
import { createJwtIssuer, issuerDefaults, type JwtIssuer } from './jwt-issuer.ts';
import { startForward } from './openbao/forward.ts';
import type { Front } from './openbao/front.ts';
import { findBao, type RealOpenBao, startRealOpenBao } from './openbao/process.ts';
import { type Admin, createAdmin, defaultInstallation, provision } from './openbao/provision.ts';
import { startDevelopmentServer } from './openbao/server.ts';
import type { TransitEngine } from './openbao/transit-engine.ts';
import { type Authority, createAuthority, createLeaf } from './pki.ts';
import { type Provider, startProvider } from './provider.ts';
import { type ConfigDocument, createWorkplace, type Workplace } from './workplace.ts';

export type Administration = {
  /** Straight to OpenBao, past the front. */
  readonly admin: Admin;
  /** Where the provider finds OpenBao. */
  readonly front: Front;
  /** What the front's certificate comes from. */
  readonly authority: Authority;
  readonly issuer: JwtIssuer;
  readonly isReal: boolean;
  readonly workplace: Workplace;
  /** Starts a provider of this workplace; it is stopped at the end. `wrap`: a command that starts its command line. */
  readonly start: (args?: readonly string[], wrap?: readonly string[]) => Provider;
  /** Another node: a workplace with its own state, of the same cluster. */
  readonly addWorkplace: () => Workplace;
  /** Takes a backup of OpenBao's storage; the function brings it back. */
  readonly backUp: () => Promise<() => Promise<void>>;
  /** Names of the keys in the mount. */
  readonly keyNames: () => Promise<readonly string[]>;
  readonly unseal: () => Promise<void>;
  /** Every token but the administrator's. */
  readonly revokeTokens: () => Promise<void>;
};

type Server = Pick<RealOpenBao, 'address' | 'rootToken' | 'ca' | 'stop' | 'isReal' | 'backUp' | 'unseal'>;

async function startServer(): Promise<Server> {
  if (findBao() !== undefined) return startRealOpenBao();
  const authority = await createAuthority();
  const server = await startDevelopmentServer({ leaf: await createLeaf(authority) });
  const { address, rootToken } = server;
  return {
    address,
    rootToken,
    ca: authority.pem,
    isReal: false,
    stop: () => server.close(),
    backUp: async () => {
      const backup = copyOf(server.transit);
      return async () => {
        server.transit.clear();
        for (const [name, engine] of copyOf(backup)) server.transit.set(name, engine);
      };
    },
    unseal: async () => {
      server.isSealed = false;
    },
  };
}

function copyOf(engines: ReadonlyMap<string, TransitEngine>): Map<string, TransitEngine> {
  return new Map([...engines].map(([name, engine]) => [name, engine.copy()]));
}

async function revokeTokens(admin: Admin): Promise<void> {
  const { body: self } = await admin.call('GET', 'auth/token/lookup-self');
  const own = (self['data'] as { accessor: string }).accessor;
  const { body } = await admin.call('GET', 'auth/token/accessors?list=true');
  for (const accessor of (body['data'] as { keys: string[] }).keys) {
    if (accessor !== own) await admin.call('POST', 'auth/token/revoke-accessor', { accessor });
  }
}

export async function openAdministration(
  change: (config: ConfigDocument) => void = () => {},
): Promise<{ readonly administration: Administration; readonly close: () => Promise<void> }> {
  const opened: (() => Promise<void> | void)[] = [];
  const close = async () => {
    for (const undo of opened.splice(0).reverse()) await undo();
  };
  try {
    return { administration: await assemble(change, opened), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Says in `opened` what has to be undone, the last first. */
async function assemble(
  change: (config: ConfigDocument) => void,
  opened: (() => Promise<void> | void)[],
): Promise<Administration> {
  const { address, rootToken, ca, isReal, backUp, unseal, stop } = await startServer();
  opened.push(stop);
  const authority = await createAuthority();
  const front = await startForward({ address, ca }, { leaf: await createLeaf(authority) });
  const admin = createAdmin({ address, token: rootToken, ca });
  opened.push(admin.close, () => front.close());
  const issuer = createJwtIssuer();
  await provision(admin, defaultInstallation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
  const addWorkplace = () => {
    const added = createWorkplace({ address: front.address, ca: authority.pem, jwt: issuer.issue() });
    opened.push(added.remove);
    added.writeConfig((config) => {
      quickly(config);
      change(config);
    });
    return added;
  };
  const workplace = addWorkplace();
  const start: Administration['start'] = (args, wrap) => {
    const provider = startProvider(workplace, args, wrap);
    opened.push(async () => void (await provider.stop()));
    return provider;
  };
  const keyNames = async () => {
    const { body } = await admin.call('GET', `${defaultInstallation.mountPath}/keys?list=true`, undefined, true);
    return ((body['data'] as { keys?: string[] } | undefined)?.keys ?? []).slice().sort();
  };
  const world = { admin, front, authority, issuer, isReal, workplace, start, addWorkplace };
  return { ...world, backUp, keyNames, unseal, revokeTokens: () => revokeTokens(admin) };
}

export async function withAdministration(
  run: (administration: Administration) => Promise<void>,
  change: (config: ConfigDocument) => void = () => {},
): Promise<void> {
  const { administration, close } = await openAdministration(change);
  try {
    await run(administration);
  } finally {
    await close();
  }
}
