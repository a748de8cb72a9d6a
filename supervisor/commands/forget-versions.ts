// The command `forget-versions`: versions which OpenBao never had are dropped from the registry, and a first version that was wrong
// from the start is recorded as OpenBao has it.

import type { Command } from './command.ts';
import { versionsOf } from './flag-values.ts';
import { errorOf } from './key-question.ts';
import { forgetVersions, refused } from './transition.ts';
import { changeVersions, type VersionChange } from './version-change.ts';

export const run: Command['run'] = (invocation, deps) => {
  const versions = versionsOf(invocation.flags);
  const decide: VersionChange['decide'] = async (state, askAbout) => {
    const live = await askAbout(state);
    const { contradictedVersions, correctedFirstAtUnix } = live;
    const isRead = live.metadata === 'pass' || contradictedVersions !== undefined || correctedFirstAtUnix !== undefined;
    if (!isRead)
      throw refused(`the Transit key could not be read, or is not acceptable: ${errorOf(live) ?? 'unknown'}`);
    return forgetVersions(state, versions, { contradicted: contradictedVersions ?? [], correctedFirstAtUnix });
  };
  return changeVersions(invocation, { beforeVersion: 0, decide }, deps);
};
