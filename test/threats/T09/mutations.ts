import type { Mutation } from '../run.ts';

const file = 'plugin/keys/aad.ts';
/** key_id_hash binds every label a second time, so it has to go together with the member itself. */
const keyIdHash = { file, find: '    key_id_hash: hashText(snapshot.kubernetesKeyId),\n', replace: '' };
const without = (name: string, find: string): Mutation => ({
  name: `the AAD does not bind the ${name}`,
  edits: [keyIdHash, { file, find, replace: '' }],
});

export const mutations: readonly Mutation[] = [
  without('provider name', '    provider_name: snapshot.providerName,\n'),
  without('cluster', '    cluster_id_hash: hashText(snapshot.clusterId),\n'),
  without('OpenBao instance', '    openbao_instance_hash: hashText(snapshot.openbaoInstanceId),\n'),
  without('namespace', "    openbao_namespace_hash: namespace === '' ? undefined : hashText(namespace),\n"),
  without('mount', '    transit_mount_hash: hashText(snapshot.transitMountId),\n'),
  without('lineage', '    transit_key_hash: hashText(snapshot.transitKeyLineageId),\n'),
];
