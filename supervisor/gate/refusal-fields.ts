// What a log line says of a refusal: reason and hint, and of a configuration with several problems the count and the list.

import { ConfigInvalid, sentenceOf } from '../../shared/config/problem.ts';
import { errorChain, errorClassOf } from '../../shared/errors/error.ts';
import type { LogFields } from '../../shared/log/fields.ts';

const seeAll = { 'config invalid': ': run bao-kms-provider config check', 'reload refused': '' } as const;

/** The first problem stands in the hint, where the status line has room for no more. */
export function refusalFields(
  error: unknown,
): Pick<LogFields, 'reason' | 'field' | 'problem_count' | 'problems'> & { readonly hint: string } {
  const reason = errorClassOf(error);
  const field = errorChain(error)
    .map(({ facts }) => facts['field'])
    .find((one) => typeof one === 'string');
  const invalid = errorChain(error).find((one) => one instanceof ConfigInvalid);
  if (invalid === undefined) return { reason, ...(field === undefined ? {} : { field }), hint: hintOf(error) };
  const problems = invalid.problems.map(sentenceOf);
  const [first = ''] = problems;
  const rest = problems.length === 1 ? '' : `; and ${problems.length - 1} more${seeAll[invalid.lead]}`;
  return { reason, hint: `${first.slice(0, 400)}${rest}`, problem_count: problems.length, problems };
}

function hintOf(error: unknown): string {
  return error instanceof Error && errorClassOf(error) !== 'internal' ? error.message : 'an error of our own';
}
