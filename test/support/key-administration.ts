// A provider beside an OpenBao whose key an administrator can harm through the API: a real one when it is found, else the
// development server. What only a storage backup can do (bring a key back) exists on the development server alone.

import { quickly } from './installation.ts';
import { createJwtIssuer, issuerDefaults } from './jwt-issuer.ts';
import { findBao, startOpenBao } from './openbao/process.ts';
import { type Admin, createAdmin, defaultInstallation, provision } from './openbao/provision.ts';
import { startDevelopmentServer } from './openbao/server.ts';
import { createAuthority, createLeaf } from './pki.ts';
import { type Provider, startProvider } from './provider.ts';
import { type ConfigDocument, createWorkplace, type Workplace } from './workplace.ts';

export type Administration = {
  readonly admin: Admin;
  readonly isReal: boolean;
  readonly workplace: Workplace;
  readonly start: () => Provider;
  /** Puts the key as it is now aside; the function brings it back. Undefined on a real server. */
  readonly backUp: (() => () => void) | undefined;
  /** Names of the keys in the mount. */
  readonly keyNames: () => Promise<readonly string[]>;
};

type Server = {
  readonly address: string;
  readonly rootToken: string;
  readonly ca: string;
  readonly stop: () => Promise<void>;
  readonly backUp: Administration['backUp'];
};

async function startServer(): Promise<Server> {
  if (findBao() !== undefined) return { ...(await startOpenBao(true)), backUp: undefined };
  const authority = await createAuthority();
  const server = await startDevelopmentServer({ leaf: await createLeaf(authority) });
  const backUp = () => {
    const keys = server.transit.get(defaultInstallation.mountPath)?.keys;
    const key = keys?.get(defaultInstallation.keyName);
    if (keys === undefined || key === undefined) throw new Error('no key to back up');
    const copy = { ...key, versions: new Map(key.versions) };
    return () => void keys.set(defaultInstallation.keyName, { ...copy, versions: new Map(copy.versions) });
  };
  return { address: server.address, rootToken: server.rootToken, ca: authority.pem, stop: server.close, backUp };
}

export async function withAdministration(
  run: (administration: Administration) => Promise<void>,
  change: (config: ConfigDocument) => void = () => {},
): Promise<void> {
  const server = await startServer();
  const issuer = createJwtIssuer();
  const admin = createAdmin({ address: server.address, token: server.rootToken, ca: server.ca });
  await provision(admin, defaultInstallation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
  const workplace = createWorkplace({ address: server.address, ca: server.ca, jwt: issuer.issue() });
  workplace.writeConfig((config) => {
    quickly(config);
    change(config);
  });
  const providers: Provider[] = [];
  const start = () => {
    const provider = startProvider(workplace);
    providers.push(provider);
    return provider;
  };
  const keyNames = async () => {
    const { body } = await admin.call('GET', `${defaultInstallation.mountPath}/keys?list=true`, undefined, true);
    return ((body['data'] as { keys?: string[] } | undefined)?.keys ?? []).slice().sort();
  };
  try {
    await run({ admin, isReal: server.backUp === undefined, workplace, start, backUp: server.backUp, keyNames });
  } finally {
    await Promise.all(providers.map((provider) => provider.stop()));
    await admin.close();
    await server.stop();
    workplace.remove();
  }
}
