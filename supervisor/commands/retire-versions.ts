// The command `retire-versions`: versions below one stop decrypting on this node.

import type { Command } from './command.ts';
import { beforeVersionOf } from './flag-values.ts';
import { retireVersions } from './transition.ts';
import { changeVersions, served, type VersionChange } from './version-change.ts';

export const run: Command['run'] = (invocation, deps) => {
  const beforeVersion = beforeVersionOf(invocation.flags);
  const decide: VersionChange['decide'] = (state, askAbout) => served(retireVersions(state, beforeVersion), askAbout);
  return changeVersions(invocation, { beforeVersion, decide }, deps);
};
