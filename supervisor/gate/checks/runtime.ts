// Check 1: the runtime, and the helpers that are started.

import { ProviderError } from '../../../shared/errors/error.ts';
import { checkBinder } from '../../custody/bound-handle.ts';
import type { GateCheck, GateSystem, Helpers } from './check.ts';

export const runtime: GateCheck<never, 'helpers'> = {
  title: 'the runtime is new enough, and the helpers are installed',
  needs: [],
  gives: ['helpers'],
  look: (_, { deps }) => ({ helpers: checkRuntime(deps) }),
};

const minNodeMajor = 24;

/** @throws ProviderError `runtime_unsupported` naming what is missing */
function checkRuntime(system: GateSystem): Helpers {
  if (system.identity.nodeMajor < minNodeMajor) {
    throw new ProviderError(
      'runtime_unsupported',
      `Node ${minNodeMajor} or newer is required, but this is Node ${system.identity.nodeMajor}; use the Node that is shipped with the provider`,
    );
  }
  const find = (name: string, debianPackage: string) => {
    const path = system.findHelper(name);
    if (path !== undefined) return path;
    throw new ProviderError(
      'runtime_unsupported',
      `the helper ${name} is missing; install the package ${debianPackage}`,
    );
  };
  checkBinder();
  return {
    prlimit: find('prlimit', 'util-linux'),
    setpriv: find('setpriv', 'util-linux'),
    flock: find('flock', 'util-linux'),
    getent: system.findHelper('getent'),
  };
}
