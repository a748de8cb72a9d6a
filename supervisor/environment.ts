// The environment variables that are read, and the ones with our prefix that are not: a misspelt one is told, never ignored.

import { fields, type OverrideFlag } from '../shared/config/fields.ts';
import { type Problem, printable, problem } from '../shared/config/problem.ts';
import { nearestName } from '../shared/text/nearest.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const prefix = 'BAO_KMS_PROVIDER_';

export const configVariables = ['BAO_KMS_PROVIDER_CONFIG', 'BAO_KMS_PROVIDER_CONFIG_PATH'] as const;

/** Fields that may come from outside the file: their flag and their variables, the first of which wins. */
export const overridable = fields.flatMap((field) => {
  if (field.kind !== 'string' || field.override === undefined) return [];
  const { flag, variables } = field.override;
  // The compiler knows the flags of the rows; in the list of all rows it has forgotten which row has which.
  return [{ path: field.path, flag: flag as OverrideFlag, variables }];
});

const known: readonly string[] = [...configVariables, ...overridable.flatMap(({ variables }) => variables)];

/** The first non-empty variable: an empty one counts as unset. */
export function firstOf(environment: Environment, names: readonly string[]): string | undefined {
  return names.map((name) => environment[name]).find((value) => value !== undefined && value !== '');
}

/** One problem for each variable with our prefix that means nothing here; an empty one counts as unset. */
export function environmentProblems(environment: Environment): readonly Problem[] {
  return Object.keys(environment)
    .filter((name) => isOurs(name) && !known.includes(name) && environment[name] !== '')
    .sort()
    .map((name) =>
      problem(printable(name), 'unknown_variable', `is not a known environment variable${adviceFor(name)}`),
    );
}

/** In any case of letters: on Linux the names differ, and the one that was meant is then not set. */
function isOurs(name: string): boolean {
  return name.toUpperCase().startsWith(prefix);
}

function adviceFor(name: string): string {
  const field = fields.find(({ path }) => squeezed(path) === squeezed(name.slice(prefix.length)));
  const isSettable = overridable.some(({ path }) => path === field?.path);
  if (field !== undefined && !isSettable) return `: ${field.path} can be set in the file only`;
  const near = nearestName(name, known);
  return near === undefined
    ? '; docs/configuration.md names the three settings that have one'
    : `; did you mean ${near}?`;
}

function squeezed(name: string): string {
  return name.toLowerCase().replace(/[._-]/gu, '');
}
