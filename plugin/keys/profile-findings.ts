// What can be wrong with the Transit key, by name, and the refusal that carries the name.

import { ProviderError } from '../../shared/errors/error.ts';
import { type ProfileFinding, profileFindings } from '../../shared/errors/words.ts';

export { type ProfileFinding, profileFindings };

/** @param field  the member of OpenBao's metadata and the class of its value, as in `exportable=true` */
export function profileInvalid(
  finding: ProfileFinding,
  field: string,
  text: string,
  facts: Record<string, number | string> = {},
): ProviderError {
  return new ProviderError('profile_invalid', `the Transit key is not acceptable: ${text}`, {
    facts: { finding, field, ...facts },
  });
}
