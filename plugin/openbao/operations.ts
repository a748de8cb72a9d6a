// The OpenBao calls that this program makes; there are no others (spec/openbao 1.1).

import { type LoginMethodName, loginMethodNames } from '../../shared/config/login-methods.ts';
import type { Operation } from '../http/operation.ts';

const kib = 1024;
const operation = (name: string, method: 'GET' | 'POST', maxBytes = 256 * kib): Operation => ({
  name,
  label: name.replaceAll(' ', '_'),
  method,
  maxBytes,
  isRepeatable: true,
});

export const operations = {
  metadataRead: operation('transit metadata read', 'GET', 4 * kib * kib),
  upsertRead: operation('transit disable_upsert read', 'GET'),
  encrypt: operation('transit encrypt', 'POST'),
  decrypt: operation('transit decrypt', 'POST'),
  decryptBatch: { ...operation('transit decrypt batch', 'POST'), isInParts: true },
  capabilitiesSelf: operation('capabilities self', 'POST'),
  renewSelf: operation('token renew self', 'POST'),
} as const satisfies Record<string, Operation>;

/** The login of each method: repeated only when it can not have been carried out. */
export const loginOperations = Object.fromEntries(
  loginMethodNames.map((method) => [method, { ...operation(`${method} login`, 'POST'), isRepeatable: false }]),
) as Readonly<Record<LoginMethodName, Operation>>;
