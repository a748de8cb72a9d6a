// The ways to get an OpenBao token, and which credentials each needs: the supervisor keeps their files in custody, the plugin has a
// row for each of the same names (plugin/auth/methods/table.ts). A method that is not here is refused by its configuration.

import type { CredentialName } from '../channel/messages.ts';

export const loginCredentials = {
  jwt: ['jwt'],
} as const satisfies Readonly<Record<string, readonly CredentialName[]>>;

export type LoginMethodName = keyof typeof loginCredentials;

export const loginMethodNames = Object.keys(loginCredentials) as readonly LoginMethodName[];

/** What custody must read for a method: its credentials, and the CA without which no login reaches OpenBao. */
export function isNeeded(name: CredentialName, method: LoginMethodName): boolean {
  const needed: readonly CredentialName[] = ['openbao_ca', ...loginCredentials[method]];
  return needed.includes(name);
}
