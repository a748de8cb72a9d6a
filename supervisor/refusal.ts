// A refusal of the gate: which check, the class with what to do, the exit code, and what a log line says of it.

import { ConfigInvalid, sentenceOf } from '../shared/config/problem.ts';
import { errorChain, errorClassOf, ProviderError } from '../shared/errors/error.ts';
import { type ExitCode, exitCodes } from '../shared/errors/exit-codes.ts';
import type { LogFields } from '../shared/log/fields.ts';

export const checkIds = [
  'gate.runtime',
  'gate.config',
  'gate.credentials',
  'gate.identity',
  'gate.runtime_directory',
  'gate.lock',
  'gate.state',
  'gate.socket',
  'gate.listeners',
] as const;

export type CheckId = (typeof checkIds)[number];

/** A refusal: which check, and the classed error with what to do. */
export class GateRefusal extends Error {
  override readonly name = 'GateRefusal';
  readonly check: CheckId;

  constructor(check: CheckId, cause: unknown) {
    super(cause instanceof ProviderError ? cause.message : 'an unexpected error; see the class', { cause });
    this.check = check;
  }

  /** 3 for configuration and credentials, else 5 (spec/supervisor 4.1). */
  get exitCode(): ExitCode {
    const isConfiguration = this.check === 'gate.config' || this.check === 'gate.credentials';
    return isConfiguration ? exitCodes.configuration : exitCodes.runtime;
  }
}

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
