// What is asked besides a login, so that what it granted gets its right name. No answer proves nothing.

import type { Http } from '../openbao/client.ts';
import { operations } from '../openbao/operations.ts';
import { isObject, readReply } from '../openbao/response.ts';
import type { LoginOptions, Sent } from './login.ts';

/**
 * Whether the token may encrypt with the key; true when OpenBao did not say.
 *
 * An administrator may have added the rights to the policy "default", so its name alone proves nothing.
 */
export async function mayEncrypt(http: Http, options: LoginOptions, token: string, sent: Sent): Promise<boolean> {
  const operation = operations.capabilitiesSelf;
  const body = { paths: [options.encryptPath] };
  try {
    const reply = await http.send({ operation, path: 'sys/capabilities-self', token, body, ...sent });
    if (reply.status === 403) return false;
    const { data } = readReply(operation, reply);
    const capabilities = isObject(data) ? data[options.encryptPath] : undefined;
    return !Array.isArray(capabilities) || capabilities.includes('update') || capabilities.includes('root');
  } catch {
    return true;
  }
}
