// What an administrator does before a provider can start: mount, key, policy, JWT role. Over HTTP, so it works the same on
// the development server and on a real OpenBao.

import { Agent, request } from 'undici';

export type AdminOptions = { readonly address: string; readonly token: string; readonly ca: string };
export type Admin = {
  /** @returns status and decoded body; throws when the server answers an error and `isErrorFine` is not set */
  readonly call: (
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body?: unknown,
    isErrorFine?: boolean,
  ) => Promise<AdminReply>;
  /** The same calls with another token. */
  readonly as: (token: string) => Admin['call'];
  readonly close: () => Promise<void>;
};
export type AdminReply = {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly headers: Record<string, unknown>;
};

export function createAdmin(options: AdminOptions): Admin {
  const dispatcher = new Agent({ connect: { ca: options.ca, servername: 'localhost' }, allowH2: false });
  const callAs =
    (token: string): Admin['call'] =>
    async (method, path, body, isErrorFine = false) => {
      const reply = await request(`${options.address}/v1/${path}`, {
        method,
        dispatcher,
        headers: { 'x-vault-token': token, 'content-type': 'application/json' },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await reply.body.text();
      if (reply.statusCode >= 400 && !isErrorFine) throw new Error(`${method} ${path}: ${reply.statusCode} ${text}`);
      return { status: reply.statusCode, body: text === '' ? {} : JSON.parse(text), headers: reply.headers };
    };
  return {
    call: callAs(options.token),
    as: callAs,
    close: () => dispatcher.close(),
  };
}

export type Installation = {
  readonly mountPath: string;
  readonly keyName: string;
  readonly authPath: string;
  readonly role: string;
  readonly policyName: string;
};

export const defaultInstallation: Installation = {
  mountPath: 'transit',
  keyName: 'k8s-demo-etcd',
  authPath: 'auth/k8s-demo-jwt',
  role: 'openbao-kms-control-plane',
  policyName: 'openbao-kms-demo',
};

/** The policy of README.md: what the provider needs and nothing else. */
export function providerPolicy({ mountPath, keyName }: Installation): string {
  const allow = (path: string, capability: string) => `path "${path}" {\n  capabilities = ["${capability}"]\n}\n`;
  return [
    allow(`${mountPath}/keys/${keyName}`, 'read'), // control: policy.key
    allow(`${mountPath}/encrypt/${keyName}`, 'update'),
    allow(`${mountPath}/decrypt/${keyName}`, 'update'),
    allow(`${mountPath}/config/keys`, 'read'),
    allow('sys/capabilities-self', 'update'),
    allow('auth/token/renew-self', 'update'),
  ].join('\n');
}

export type ProvisionOptions = {
  readonly publicKeyPem: string;
  readonly issuer: string;
  readonly audience: string;
  readonly subject: string;
  readonly tokenTtl?: string;
};

/** Mount, upsert off, key, policy, JWT mount and role. */
export async function provision(admin: Admin, installation: Installation, options: ProvisionOptions): Promise<void> {
  const { mountPath, keyName, authPath, role, policyName } = installation;
  await admin.call('POST', `sys/mounts/${mountPath}`, { type: 'transit' });
  await admin.call('POST', `${mountPath}/config/keys`, { disable_upsert: true });
  await admin.call('POST', `${mountPath}/keys/${keyName}`, { type: 'aes256-gcm96' });
  await admin.call('POST', `sys/policies/acl/${policyName}`, { policy: providerPolicy(installation) });
  await admin.call('POST', `sys/${authPath}`, { type: 'jwt' });
  await admin.call('POST', `${authPath}/config`, {
    jwt_validation_pubkeys: [options.publicKeyPem],
    bound_issuer: options.issuer,
  });
  await admin.call('POST', `${authPath}/role/${role}`, jwtRole(installation, options));
}

/** The role that gives the provider its token. */
export function jwtRole(
  { policyName }: Installation,
  { audience, subject, tokenTtl }: Pick<ProvisionOptions, 'audience' | 'subject' | 'tokenTtl'>,
): Record<string, unknown> {
  return {
    role_type: 'jwt',
    bound_audiences: [audience],
    bound_subject: subject,
    user_claim: 'sub',
    token_policies: [policyName],
    token_no_default_policy: true,
    token_ttl: tokenTtl ?? '30m',
    token_max_ttl: '1h',
  };
}

/** Takes the mounts away again, from a server that others use too. */
export async function unprovision(admin: Admin, installation: Installation): Promise<void> {
  await admin.call('DELETE', `sys/mounts/${installation.mountPath}`, undefined, true);
  await admin.call('DELETE', `sys/${installation.authPath}`, undefined, true);
  await admin.call('DELETE', `sys/policies/acl/${installation.policyName}`, undefined, true);
}
