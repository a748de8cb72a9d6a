// Associated data: binds a ciphertext to provider, cluster, OpenBao instance, namespace, key lineage and version. Always
// built from our own snapshot, never from what a caller sent (spec/formats 5.1).

import type { Snapshot } from '../../shared/registry/state.ts';
import { canonicalJson } from '../../shared/text/canonical-json.ts';
import { hashText } from '../../shared/text/hash.ts';

/** The canonical JSON bytes: 10 members, 11 with a namespace. */
export function buildAad(snapshot: Snapshot): Buffer {
  const namespace = snapshot.openbaoNamespace;
  const members = {
    aad_version: 'v1',
    purpose: 'kubernetes-etcd-kms-v2',
    provider: 'openbao-transit',
    provider_name: snapshot.providerName, // control: aad.provider
    cluster_id_hash: hashText(snapshot.clusterId), // control: aad.cluster
    openbao_instance_hash: hashText(snapshot.openbaoInstanceId), // control: aad.instance
    openbao_namespace_hash: namespace === '' ? undefined : hashText(namespace), // control: aad.namespace
    transit_mount_hash: hashText(snapshot.transitMountId), // control: aad.mount
    transit_key_hash: hashText(snapshot.transitKeyLineageId), // control: aad.lineage
    key_id_hash: hashText(snapshot.kubernetesKeyId), // control: aad.key-id
    key_version: String(snapshot.transitVersion),
  };
  return Buffer.from(canonicalJson(members), 'utf8');
}
