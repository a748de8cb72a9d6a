// A development server as an administrator leaves it: mount, key, policy and a JWT role that trusts an issuer.

import { createJwtIssuer, issuerDefaults } from '../jwt-issuer.ts';
import { type Authority, createAuthority, createLeaf } from '../pki.ts';
import { createAdmin, defaultInstallation, provision } from './provision.ts';
import { type DevelopmentServer, startDevelopmentServer } from './server.ts';

export type Provisioned = {
  readonly bao: DevelopmentServer;
  readonly issuer: ReturnType<typeof createJwtIssuer>;
  readonly authority: Authority;
};

export async function startProvisioned(): Promise<Provisioned> {
  const authority = await createAuthority();
  const bao = await startDevelopmentServer({ leaf: await createLeaf(authority) });
  const issuer = createJwtIssuer();
  const admin = createAdmin({ address: bao.address, token: bao.rootToken, ca: authority.pem });
  await provision(admin, defaultInstallation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
  await admin.close();
  return { bao, issuer, authority };
}
