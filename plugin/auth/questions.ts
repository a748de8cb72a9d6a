// What is asked besides a login, so that a refusal gets its right name: never with the JWT, and no answer proves nothing.

import type { LoginDetail } from '../../shared/errors/cause.ts';
import type { Http, HttpReply } from '../openbao/client.ts';
import { operations } from '../openbao/operations.ts';
import { isObject, readReply } from '../openbao/response.ts';
import type { LoginOptions, Sent } from './login.ts';
import { clockDifferenceMs, detailOf, isAmbiguous } from './refusal.ts';

/** A refusal about time is one about clocks when ours and OpenBao's are apart. */
export async function explainRefusal(
  http: Http,
  options: LoginOptions,
  reply: HttpReply,
  sent: Sent,
): Promise<LoginDetail | undefined> {
  if (isAmbiguous(reply)) return askForMount(http, options, sent);
  const detail = detailOf(reply);
  const isAboutTime = detail === 'not_yet_valid' || detail === 'expired';
  const isApart = clockDifferenceMs(reply, options.wallMs()) > options.clockSkewLeewayMs;
  return isAboutTime && isApart ? 'clock' : detail;
}

/**
 * Asks for a login without a JWT. OpenBao answers "permission denied" below a path where nothing is mounted, as it does to a
 * caller outside of token_bound_cidrs; but a JWT method misses the JWT before it looks at addresses.
 */
async function askForMount(http: Http, options: LoginOptions, sent: Sent): Promise<LoginDetail | undefined> {
  const { mountPath, role } = options;
  try {
    const operation = operations.jwtLogin;
    const { status } = await http.send({ operation, path: `${mountPath}/login`, body: { role }, ...sent });
    return status === 400 ? 'cidr' : 'mount_not_found';
  } catch {
    return undefined;
  }
}

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
