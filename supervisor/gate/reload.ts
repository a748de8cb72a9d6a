// What a reload cannot change, and why: some of it waits for a restart, the identity of encrypted data for neither.

import { type Config, identityPaths } from '../../shared/config/config.ts';
import type { Value } from '../../shared/config/decode.ts';
import { fields } from '../../shared/config/fields.ts';
import { ConfigInvalid, problem } from '../../shared/config/problem.ts';

const ofIdentity =
  'cannot be changed: it is part of the identity of what is encrypted, and under another one nothing that is encrypted now could be read; ' +
  'a restart is refused too, as long as the registry state at state.path is there; set it back';
const ofProcess = 'cannot be changed by a reload; restart the service for that';

/** In the order in which they are told. */
const unchangeable = [
  ...identityPaths.map((path) => ({ path, code: 'identity', message: ofIdentity })),
  ...fields
    .filter(({ changes }) => changes === 'restart')
    .map(({ path }) => ({ path, code: 'restart', message: ofProcess })),
];

/** @throws ProviderError `config_invalid`, one problem for each field that a reload cannot take */
export function checkReloadable(before: Config, after: Config): void {
  const problems = unchangeable
    .filter(({ path }) => !isSame(before.values.get(path), after.values.get(path)))
    .map(({ path, code, message }) => problem(path, code, message));
  if (problems.length > 0) throw new ConfigInvalid(problems, 'reload refused');
}

/** Lists of texts count by what is in them. */
function isSame(before: Value | undefined, after: Value | undefined): boolean {
  return JSON.stringify(before) === JSON.stringify(after);
}
