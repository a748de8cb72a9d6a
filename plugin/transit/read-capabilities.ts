// What our token may do on a list of paths, asked in one call. An answer that leaves a path out is never read as "nothing".

import type { Capabilities } from '../keys/rights.ts';
import type { SendAuthorized } from '../openbao/authorized.ts';
import { operations } from '../openbao/operations.ts';
import { isObject, protocolError } from '../openbao/response.ts';

/**
 * Names of paths are relative to the namespace of the request, as the policies of its token are.
 *
 * @throws ProviderError `bao_permission_denied` when the policy does not allow the question, `bao_protocol_error` for an answer
 *   that is incomplete, and what `send` throws
 */
export async function readCapabilities(
  send: SendAuthorized,
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<Capabilities> {
  const operation = operations.capabilitiesSelf;
  const { data } = await send({ operation, path: 'sys/capabilities-self', body: { paths }, signal, mayRecover: false });
  if (!isObject(data)) throw protocolError(operation);
  return new Map(paths.map((path) => [path, readList(data[path])]));
}

function readList(value: unknown): readonly string[] {
  const isComplete = Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string');
  if (!isComplete) throw protocolError(operations.capabilitiesSelf);
  return value as string[];
}
