// A place for one administrator on a server that many share: mounts, key, policy and role of its own, a front of its own, and a
// provider that finds OpenBao there. So each mistake is made from a good beginning, and many at a time.

import { quickly } from '../support/installation.ts';
import { createJwtIssuer, issuerDefaults, type JwtIssuer } from '../support/jwt-issuer.ts';
import { type NotifySocket, openNotifySocket } from '../support/notify-socket.ts';
import { startForward } from '../support/openbao/forward.ts';
import type { Front, FrontOptions } from '../support/openbao/front.ts';
import { findBao, startOpenBao } from '../support/openbao/process.ts';
import { type Admin, createAdmin, type Installation, jwtRole, provision } from '../support/openbao/provision.ts';
import { startDevelopmentServer } from '../support/openbao/server.ts';
import type { TransitKey } from '../support/openbao/transit-engine.ts';
import { type Authority, createAuthority, createLeaf, type LeafOptions } from '../support/pki.ts';
import { type Provider, startProvider } from '../support/provider.ts';
import { type ConfigDocument, createWorkplace, type Workplace } from '../support/workplace.ts';

export type Server = {
  readonly address: string;
  readonly ca: string;
  readonly admin: Admin;
  readonly isReal: boolean;
  /** A key of the development server, to be changed as no API can. */
  readonly key: (installation: Installation) => TransitKey | undefined;
  readonly stop: () => Promise<void>;
};

export const isReal = findBao() !== undefined;

export async function startServer(): Promise<Server> {
  if (isReal) {
    const { address, ca, rootToken, stop } = await startOpenBao(true);
    const admin = createAdmin({ address, token: rootToken, ca });
    return { address, ca, admin, isReal, key: () => undefined, stop: () => admin.close().then(stop) };
  }
  const authority = await createAuthority();
  const server = await startDevelopmentServer({ leaf: await createLeaf(authority) });
  const { address, rootToken } = server;
  const admin = createAdmin({ address, token: rootToken, ca: authority.pem });
  const key: Server['key'] = ({ mountPath, keyName }) => server.transit.get(mountPath)?.keys.get(keyName);
  return { address, ca: authority.pem, admin, isReal, key, stop: () => admin.close().then(() => server.close()) };
}

export type Place = Pick<Server, 'admin' | 'isReal'> & {
  readonly installation: Installation;
  readonly issuer: JwtIssuer;
  readonly front: Front;
  readonly authority: Authority;
  readonly workplace: Workplace;
  /** Writes the role anew with these members changed. */
  readonly setRole: (changes: Record<string, unknown>) => Promise<unknown>;
  /** Changes the key of the development server; nothing on a real one. */
  readonly tamper: (change: (key: TransitKey) => void) => void;
};

/** What differs from a good place before the provider starts. */
export type PlaceOptions = {
  readonly config?: ((config: ConfigDocument) => void) | undefined;
  readonly claims?: (() => Record<string, unknown>) | undefined;
  readonly leaf?: LeafOptions | undefined;
  readonly tls?: Omit<FrontOptions, 'leaf'> | undefined;
};

let lastNumber = 0;

function newInstallation(): Installation {
  lastNumber += 1;
  const name = `m${lastNumber}`;
  return {
    mountPath: `transit-${name}`,
    keyName: `key-${name}`,
    authPath: `auth/jwt-${name}`,
    role: `role-${name}`,
    policyName: `policy-${name}`,
  };
}

export type Opened = {
  readonly place: Place;
  readonly start: () => { readonly provider: Provider; readonly statusLines: () => readonly string[] };
  readonly close: () => Promise<void>;
};

/** @param hasNotify  whether the provider is told where to send its status line */
export async function openPlace(server: Server, options: PlaceOptions, hasNotify: boolean): Promise<Opened> {
  const installation = newInstallation();
  const authority = await createAuthority();
  const front = await startForward(server, { leaf: await createLeaf(authority, options.leaf), ...options.tls });
  const issuer = createJwtIssuer();
  const { admin } = server;
  await provision(admin, installation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
  const role = jwtRole(installation, issuerDefaults);
  const setRole: Place['setRole'] = (changes) =>
    admin.call('POST', `${installation.authPath}/role/${installation.role}`, { ...role, ...changes });
  const jwt = issuer.issue(options.claims?.());
  const workplace = createWorkplace({ address: front.address, ca: authority.pem, jwt, installation });
  workplace.writeConfig((config) => {
    quickly(config);
    config['rotation'] = { activationDelay: '1h' };
    options.config?.(config);
  });
  const tamper: Place['tamper'] = (change) => {
    const key = server.key(installation);
    if (key !== undefined) change(key);
  };
  let provider: Provider | undefined;
  let notify: NotifySocket | undefined;
  if (hasNotify) notify = await openNotifySocket(`${workplace.directory}/notify`);
  return {
    place: { admin, isReal: server.isReal, installation, issuer, front, authority, workplace, setRole, tamper },
    start: () => {
      provider = startProvider(workplace, [], notify?.wrap);
      return { provider, statusLines: () => notify?.statusLines() ?? [] };
    },
    close: async () => {
      await provider?.stop();
      await notify?.close();
      await front.close();
      workplace.remove();
    },
  };
}
