// The command `forget-versions`: versions which OpenBao never had are dropped from the registry.

import type { Command } from './command.ts';
import { versionsOf } from './flag-values.ts';
import { errorOf } from './key-question.ts';
import { forgetVersions, refused } from './transition.ts';
import { changeVersions, type VersionChange } from './version-change.ts';

export const run: Command['run'] = (invocation, deps) => {
  const versions = versionsOf(invocation.flags);
  const decide: VersionChange['decide'] = async (state, askAbout) => {
    const live = await askAbout(state);
    const isRead = live.metadata === 'pass' || live.contradictedVersions !== undefined;
    if (!isRead)
      throw refused(`the Transit key could not be read, or is not acceptable: ${errorOf(live) ?? 'unknown'}`);
    return forgetVersions(state, versions, live.contradictedVersions ?? []);
  };
  return changeVersions(invocation, { beforeVersion: 0, decide }, deps);
};
