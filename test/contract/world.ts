// An OpenBao with the installation of the provider, for the cases of the contract: mounts have random names and are removed.

import { randomBytes } from 'node:crypto';
import { suite } from 'uvu';
import { createJwtIssuer, issuerDefaults } from '../support/jwt-issuer.ts';
import { findBao, type OpenBaoProcess, startOpenBao } from '../support/openbao/process.ts';
import {
  type Admin,
  createAdmin,
  defaultInstallation,
  type Installation,
  provision,
  unprovision,
} from '../support/openbao/provision.ts';
import { skipWithout } from '../support/skip.ts';

export type World = {
  readonly bao: OpenBaoProcess;
  readonly admin: Admin;
  readonly names: Installation;
  /** As a token of the provider's own policy. */
  readonly provider: Admin;
  readonly login: (
    claims?: Record<string, unknown>,
    header?: Record<string, unknown>,
    role?: string,
  ) => ReturnType<Admin['call']>;
};

async function openWorld(isReal: boolean): Promise<World> {
  const bao = await startOpenBao(isReal);
  const tag = randomBytes(4).toString('hex');
  const names = {
    ...defaultInstallation,
    mountPath: `transit-${tag}`,
    authPath: `auth/jwt-${tag}`,
    policyName: `policy-${tag}`,
    keyName: 'k',
  };
  const admin = createAdmin({ address: bao.address, token: bao.rootToken, ca: bao.ca });
  const issuer = createJwtIssuer();
  await provision(admin, names, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
  const anonymous = createAdmin({ address: bao.address, token: '', ca: bao.ca });
  const login: World['login'] = (claims, header, role = names.role) =>
    anonymous.call('POST', `${names.authPath}/login`, { role, jwt: issuer.issue(claims, header) }, true);
  const { body } = await login();
  const token = (body['auth'] as { client_token: string }).client_token;
  const provider = createAdmin({ address: bao.address, token, ca: bao.ca });
  return { bao, admin, names, provider, login };
}

async function closeWorld({ bao, admin, names, provider }: World): Promise<void> {
  await unprovision(admin, names);
  await admin.close();
  await provider.close();
  await bao.stop();
}

export const errorsOf = (reply: { body: Record<string, unknown> }) => reply.body['errors'];
export const dataOf = (reply: { body: Record<string, unknown> }) => reply.body['data'] as Record<string, unknown>;
export const wrap = (text: string) => [`1 error occurred:\n\t* ${text}\n\n`];
export const base64 = (bytes: Buffer | string) => Buffer.from(bytes).toString('base64');
export const nowSeconds = () => Math.floor(Date.now() / 1000);

type Test = (title: string, run: (world: World) => Promise<void>) => void;

/** The same cases against the development server always, and against a real OpenBao when one is found. */
export function onBoth(addCases: (test: Test, isReal: boolean) => void): void {
  runCases('development server', false, addCases);
  if (findBao() !== undefined) return runCases('real OpenBao', true, addCases);
  const skipped = suite('real OpenBao');
  skipped('the same cases against a real OpenBao', () => {
    skipWithout(false, 'the OpenBao contract against a real server', 'BAO_BIN or bao on the path');
  });
  skipped.run();
}

function runCases(name: string, isReal: boolean, addCases: (test: Test, isReal: boolean) => void): void {
  const cases = suite(name);
  let world: World | undefined;
  cases.after(async () => {
    if (world !== undefined) await closeWorld(world);
  });
  addCases((title, run) => {
    cases(title, async () => {
      world ??= await openWorld(isReal);
      await run(world);
    });
  }, isReal);
  cases.run();
}
