// Where it is measured: an OpenBao as an administrator leaves it, a node's directories, a private copy of the distribution, a client.

import { createJwtIssuer, issuerDefaults, type JwtIssuer } from '../support/jwt-issuer.ts';
import { findBao, type OpenBaoProcess, startOpenBao } from '../support/openbao/process.ts';
import { type Admin, createAdmin, defaultInstallation, provision } from '../support/openbao/provision.ts';
import { type Provider, startProvider } from '../support/provider.ts';
import { type ConfigDocument, createWorkplace, type Workplace } from '../support/workplace.ts';
import { buildGoClient, startGoClient } from './go-client.ts';
import type { Failures, LoadClient } from './load.ts';
import type { Pids } from './meter.ts';
import { createNodeClient } from './node-client.ts';
import { copyPrivately } from './private-copy.ts';

export type Place = {
  readonly bao: OpenBaoProcess;
  readonly admin: Admin;
  readonly issuer: JwtIssuer;
  readonly workplace: Workplace;
  readonly client: LoadClient;
  /** Why the client is not the one in Go. */
  readonly missing: string | undefined;
  /** Of all calls that were measured. */
  readonly failures: Failures;
  readonly close: () => Promise<void>;
};

/** Longer than any run. */
const jwtSeconds = 12 * 3600;

/** The raw calls are made with what the provider may do, not as root, for whom no policy is read. */
async function tokenOf(admin: Admin): Promise<string> {
  const policies = [defaultInstallation.policyName];
  const { body } = await admin.call('POST', 'auth/token/create', { policies, no_default_policy: true, ttl: '12h' });
  return String((body['auth'] as { client_token: string }).client_token);
}

/** Writes the configuration anew: no call that is measured is over a limit, and whatever else is to be changed. */
export function configure(workplace: Workplace, change: (config: ConfigDocument) => void = () => {}): void {
  workplace.writeConfig((config) => {
    Object.assign(config['server'] ?? {}, { maxConcurrentStatus: 128, maxConcurrentEncrypt: 128 });
    change(config);
  });
}

/** @throws Error when the Go client does not build */
export async function openPlace(isOld: boolean): Promise<Place> {
  const built = isOld ? { missing: 'a run without --node-client' } : buildGoClient();
  const copy = copyPrivately();
  const bao = await startOpenBao(findBao() !== undefined);
  const issuer = createJwtIssuer(jwtSeconds);
  const admin = createAdmin({ address: bao.address, token: bao.rootToken, ca: bao.ca });
  await provision(admin, defaultInstallation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
  const workplace = createWorkplace({
    ...{ address: bao.address, ca: bao.ca, jwt: issuer.issue(), distribution: copy.directory },
  });
  configure(workplace);
  const { mountPath, keyName } = defaultInstallation;
  const token = bao.isReal ? await tokenOf(admin) : bao.rootToken;
  const addresses = { ...workplace, address: bao.address, ca: bao.ca, mountPath, keyName, token };
  const client = 'path' in built ? startGoClient(built.path, addresses) : createNodeClient(addresses);
  const close = async () => {
    await client.close();
    await admin.close();
    await bao.stop();
    workplace.remove();
    copy.remove();
  };
  const missing = 'path' in built ? undefined : built.missing;
  return { bao, admin, issuer, workplace, client, missing, failures: new Map(), close };
}

/** Runs a provider until `use` is over; it is healthy when `use` begins. */
export async function withProvider<T>(
  { workplace, client }: Place,
  use: (provider: Provider, pids: Pids) => Promise<T>,
): Promise<T> {
  const provider = startProvider(workplace);
  try {
    await Promise.race([client.first('ok'), endOf(provider)]);
    return await use(provider, { supervisor: provider.child.pid ?? 0, plugin: provider.pluginPid() });
  } finally {
    await provider.stop();
  }
}

async function endOf(provider: Provider): Promise<never> {
  const code = await provider.exited;
  throw new Error(`the provider ended (${code}):\n${provider.text()}`);
}
