// The fingerprint ties the labels to a physical backend: it changes when mount path or key name change although key_id
// and AAD do not (spec/formats 7.1).

import { createHash } from 'node:crypto';
import { ProviderError } from '../errors/error.ts';
import { isHashText } from '../text/base64url.ts';
import { canonicalJson } from '../text/canonical-json.ts';
import type { Identity } from './key-id.ts';

/** The eight identity-bearing values of a configuration. Only the namespace may be empty. */
export type BoundIdentity = Identity & { readonly transitMountPath: string; readonly transitKeyName: string };

const domain = 'openbao-kubernetes-kms/config-identity/v1';
const prefix = 'cfg1.';

/**
 * Derives the fingerprint: `cfg1.` and 43 characters.
 *
 * @throws ProviderError `config_invalid` naming the empty values
 */
export function deriveFingerprint(identity: BoundIdentity): string {
  const members = {
    domain,
    provider_name: identity.providerName,
    cluster_id: identity.clusterId,
    openbao_instance_id: identity.openbaoInstanceId,
    openbao_namespace: identity.openbaoNamespace === '' ? undefined : identity.openbaoNamespace,
    transit_mount_id: identity.transitMountId,
    key_lineage_id: identity.transitKeyLineageId,
    transit_mount_path: identity.transitMountPath,
    transit_key_name: identity.transitKeyName,
  };
  const empty = Object.entries(members).filter(([, value]) => value !== undefined && value.trim() === '');
  if (empty.length > 0) {
    const names = empty.map(([name]) => name).join(', ');
    throw new ProviderError('config_invalid', `the identity has empty values: ${names}`);
  }
  return prefix + createHash('sha256').update(canonicalJson(members), 'utf8').digest('base64url');
}

export function isFingerprint(text: string): boolean {
  return text.startsWith(prefix) && isHashText(text.slice(prefix.length));
}
