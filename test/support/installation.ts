// A whole installation in one call: OpenBao (in this process, so that faults can be told to it, or any other), the set-up an
// administrator makes, a workplace, and the means to start the provider.

import type { JwtIssuer } from './jwt-issuer.ts';
import { defaultInstallation } from './openbao/provision.ts';
import { startProvisioned } from './openbao/provisioned.ts';
import type { DevelopmentServer } from './openbao/server.ts';
import type { TransitEngine } from './openbao/transit-engine.ts';
import type { Authority } from './pki.ts';
import { type Provider, startProvider } from './provider.ts';
import { type ConfigDocument, createWorkplace, type Workplace } from './workplace.ts';

export { until } from './patience.ts';

export type Installed = {
  readonly bao: DevelopmentServer;
  readonly engine: TransitEngine;
  readonly authority: Authority;
  readonly issuer: JwtIssuer;
  readonly workplace: Workplace;
  /** Starts the provider; it is stopped with the installation. `wrap`: a command that starts its command line. */
  readonly start: (args?: readonly string[], wrap?: readonly string[]) => Provider;
  readonly close: () => Promise<void>;
};

/** Quick probes, so that tests see a change within a second. */
export function quickly(config: ConfigDocument): void {
  config['status'] = { probeInterval: '1s', deepProbeInterval: '2s', statusMaxStaleness: '5s' };
  config['bootstrap'] = { graceTimeout: '10s', retryInterval: '200ms' };
}

export type InstallOptions = {
  readonly change?: (config: ConfigDocument) => void;
  readonly claims?: Record<string, unknown>;
  readonly distribution?: string;
  readonly hasTwoUsers?: boolean;
};

export async function install(options: InstallOptions = {}): Promise<Installed> {
  const { bao, issuer, authority } = await startProvisioned();
  const engine = bao.transit.get(defaultInstallation.mountPath);
  if (engine === undefined) throw new Error('the mount is missing');
  const workplace = createWorkplace({
    address: bao.address,
    ca: authority.pem,
    jwt: issuer.issue(options.claims),
    hasTwoUsers: options.hasTwoUsers === true,
    ...(options.distribution === undefined ? {} : { distribution: options.distribution }),
  });
  workplace.writeConfig((config) => {
    quickly(config);
    options.change?.(config);
  });
  const providers: Provider[] = [];
  return {
    bao,
    engine,
    authority,
    issuer,
    workplace,
    start: (args, wrap) => {
      const provider = startProvider(workplace, args, wrap);
      providers.push(provider);
      return provider;
    },
    close: async () => {
      await Promise.all(providers.map((provider) => provider.stop()));
      await bao.close();
      workplace.remove();
    },
  };
}

/** Installs, runs, and takes everything down again, also when the test fails. */
export async function withInstallation(
  run: (installed: Installed) => Promise<void>,
  options: InstallOptions = {},
): Promise<void> {
  const installed = await install(options);
  try {
    await run(installed);
  } finally {
    await installed.close();
  }
}
