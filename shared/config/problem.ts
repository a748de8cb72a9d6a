// One thing that is wrong with a configuration, and all of them as one error. Both say where and which rule; never a value.

import { ProviderError } from '../errors/error.ts';

/** Where it is, what is expected there, and a stable code for machines. */
export type Problem = { readonly field: string; readonly message: string; readonly code: string };

export function problem(field: string, code: string, message: string): Problem {
  return { field, message, code: `config.${field}.${code}` };
}

/** `config_invalid` that keeps its problems apart: the message names all of them, a log line counts and lists them. */
export class ConfigInvalid extends ProviderError {
  readonly problems: readonly Problem[];
  /** What the list is about: the file for itself, or what it would change of a running provider. */
  readonly lead: 'config invalid' | 'reload refused';

  constructor(problems: readonly Problem[], lead: ConfigInvalid['lead'] = 'config invalid') {
    super('config_invalid', [lead, ...problems.map(sentenceOf)].join('; '));
    this.problems = problems;
    this.lead = lead;
  }
}

/** `<field>: <message>`, on one line whatever the name of an unknown field holds. */
export function sentenceOf({ field, message }: Problem): string {
  return `${printable(field)}: ${message}`;
}

/** Control, format and separator characters as \u{…}: a name out of a file must not write on a terminal or begin a line. */
export function printable(name: string): string {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (found) => `\\u{${(found.codePointAt(0) ?? 0).toString(16)}}`);
}
