// What a reload cannot change, and why: some of it waits for a restart, the identity of encrypted data for neither.

import type { Config } from '../../shared/config/config.ts';
import { ConfigInvalid, type Problem, problem } from '../../shared/config/problem.ts';
import type { BoundIdentity } from '../../shared/registry/fingerprint.ts';

const identityFields = {
  providerName: 'transit.keyIdScope.providerName',
  clusterId: 'transit.keyIdScope.clusterId',
  transitMountId: 'transit.keyIdScope.transitMountId',
  transitKeyLineageId: 'transit.keyIdScope.keyLineageId',
  openbaoInstanceId: 'openbao.instanceId',
  openbaoNamespace: 'openbao.namespace',
  transitMountPath: 'transit.mountPath',
  transitKeyName: 'transit.keyName',
} as const satisfies Record<keyof BoundIdentity, string>;

const ofIdentity =
  'cannot be changed: it is part of the identity of what is encrypted, and under another one nothing that is encrypted now could be read; ' +
  'a restart is refused too, as long as the registry state at state.path is there; set it back';
const ofProcess = 'cannot be changed by a reload; restart the service for that';

/** @throws ProviderError `config_invalid`, one problem for each field that a reload cannot take */
export function checkReloadable(before: Config, after: Config): void {
  const problems = [...identityProblems(before, after), ...restartProblems(before, after)];
  if (problems.length > 0) throw new ConfigInvalid(problems, 'reload refused');
}

function identityProblems(before: Config, after: Config): Problem[] {
  return Object.entries(identityFields)
    .filter(([name]) => before.identity[name as keyof BoundIdentity] !== after.identity[name as keyof BoundIdentity])
    .map(([, field]) => problem(field, 'identity', ofIdentity));
}

function restartProblems(before: Config, after: Config): Problem[] {
  const valuesOf = ({ server, state, process }: Config) => ({
    'server.socketPath': server.socketPath,
    'server.socketMode': server.socketMode,
    'server.socketGroup': server.socketGroup,
    'server.metricsAddress': server.metricsAddress,
    'server.healthAddress': server.healthAddress,
    'state.path': state.path,
    'process.pluginUser': process.pluginUser, // control: reload.plugin-user
    'process.pluginGroup': process.pluginGroup,
  });
  const now: Readonly<Record<string, string | number>> = valuesOf(after);
  return Object.entries(valuesOf(before))
    .filter(([field, value]) => now[field] !== value)
    .map(([field]) => problem(field, 'restart', ofProcess));
}
