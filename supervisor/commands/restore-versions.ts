// The command `restore-versions`: retired versions decrypt again.

import type { Command } from './command.ts';
import { selectorsOf } from './flag-values.ts';
import { restoreVersions } from './transition.ts';
import { changeVersions, served, type VersionChange } from './version-change.ts';

export const run: Command['run'] = (invocation, deps) => {
  const selectors = selectorsOf(invocation.flags);
  const decide: VersionChange['decide'] = (state, askAbout) => served(restoreVersions(state, selectors), askAbout);
  return changeVersions(invocation, { beforeVersion: 0, decide }, deps);
};
