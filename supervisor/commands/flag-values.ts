// What the values of flags mean to the commands that have them. Each throws ProviderError `usage_invalid`.

import { ProviderError } from '../../shared/errors/error.ts';
import { isStateHash } from '../../shared/registry/state.ts';
import type { Invocation } from './command.ts';
import type { OutputFormat } from './report.ts';

type Values = Invocation['flags'];

/** Only if the state still has the hash of the plan that was reviewed. */
export type Apply = { readonly expectedStateHash: string };

/** @returns undefined for a plan */
export function applyOf(values: Values): Apply | undefined {
  const expectedStateHash = values['expected-state-hash'];
  if (values.apply !== true) {
    if (expectedStateHash !== undefined) throw usage('--expected-state-hash goes with --apply');
    return undefined;
  }
  if (typeof expectedStateHash !== 'string' || !isStateHash(expectedStateHash)) {
    throw usage('--apply needs --expected-state-hash with the stateHash of the reviewed plan');
  }
  return { expectedStateHash };
}

export function beforeVersionOf(values: Values): number {
  const text = values['before-version'];
  if (typeof text === 'string' && /^[1-9][0-9]{0,9}$/u.test(text) && Number(text) > 1) return Number(text);
  throw usage('--before-version needs a version above 1');
}

/** Versions, or key-ID hashes. */
export function selectorsOf(values: Values): readonly string[] {
  const versions = String(values.versions ?? '')
    .split(',')
    .map((one) => one.trim());
  if (versions.every((one) => /^(?:[1-9][0-9]{0,9}|[A-Za-z0-9_-]{43})$/u.test(one))) return versions;
  throw usage('--versions needs versions or key-ID hashes, separated by commas');
}

export function versionsOf(values: Values): readonly number[] {
  const versions = String(values.versions ?? '')
    .split(',')
    .map((one) => one.trim());
  if (versions.every((one) => /^[1-9][0-9]{0,9}$/u.test(one))) return versions.map(Number);
  throw usage('--versions needs versions, separated by commas');
}

export function outputOf(values: Values): OutputFormat {
  const format = String(values.output ?? 'text')
    .trim()
    .toLowerCase();
  if (format === 'text' || format === 'json') return format;
  throw usage('--output is text or json');
}

export function usage(message: string): ProviderError {
  return new ProviderError(
    'usage_invalid',
    `${message}${message.endsWith('?') ? ' See' : '; see'} bao-kms-provider help`,
  );
}
