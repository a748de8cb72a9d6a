// The commands `config`, `config check` and `config schema`: purely local, no plugin. They judge the values, not the owner and
// the mode of the file, so that a file can be checked anywhere, by anybody, before it is installed.

import { type ConfigOptions, identityOf, readConfig } from '../../shared/config/config.ts';
import { decodeDocument } from '../../shared/config/decode.ts';
import type { FieldPath } from '../../shared/config/fields.ts';
import { ConfigInvalid, type Problem, problem, sentenceOf } from '../../shared/config/problem.ts';
import { configSchema } from '../../shared/config/schema.ts';
import { errorClassOf, ProviderError } from '../../shared/errors/error.ts';
import { policyOf } from '../../shared/errors/policy.ts';
import { deriveFingerprint } from '../../shared/registry/fingerprint.ts';
import { readPlainFile } from '../custody/plain-file.ts';
import { parseYaml } from '../gate/yaml.ts';
import { type OutputFormat, printReport } from './report.ts';

const maxBytes = 1024 * 1024;

/** What a command has to print, and its exit code. `problems` goes to standard error. */
export type Printed = { readonly text: string; readonly problems: string; readonly exitCode: number };

/**
 * One `name: value` a line; the fingerprint only when every identity value is there. Exit code 3 when something is wrong.
 *
 * @throws ProviderError `file_unsafe`, `file_too_large`, `config_invalid` when there is nothing to print
 */
export function describeConfig(path: string, options: ConfigOptions): Printed {
  const document = readDocument(path);
  const { values } = decodeDocument(document, options.overrides ?? new Map());
  const text = (field: FieldPath) => String(values.get(field) ?? '');
  const lines = [
    ['configVersion', text('configVersion')],
    ['socketPath', text('server.socketPath')],
    ['metricsAddress', text('server.metricsAddress')],
    ['healthAddress', text('server.healthAddress')],
    ['authMethod', text('auth.method')],
    ['identityFingerprint', fingerprintOrNone(values)],
  ];
  const { problems } = readConfig(document, options);
  return {
    text: lines
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name}: ${value}\n`)
      .join(''),
    problems: problems.map((one) => `bao-kms-provider: ${sentenceOf(one)}\n`).join(''),
    exitCode: problems.length === 0 ? 0 : 3,
  };
}

/** Every problem and every warning, one a line. Exit code 0, or 3 when something is wrong. */
export function checkConfig(path: string, options: ConfigOptions, format: OutputFormat): Printed {
  const { problems, warnings } = judge(path, options);
  const shown = (list: readonly Problem[]) =>
    list.map((one) =>
      format === 'text' ? sentenceOf(one) : { field: one.field, code: one.code, message: one.message },
    );
  const members = {
    name: 'config check',
    file: path,
    valid: problems.length === 0,
    problemCount: problems.length,
    problems: shown(problems),
    warnings: shown(warnings),
  };
  const text = printReport({ members, always: Object.keys(members) }, format);
  return { text, problems: '', exitCode: problems.length === 0 ? 0 : 3 };
}

type Judged = { readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] };

/** A file that cannot be read or parsed is a problem like any other, beside what is wrong outside of it. */
function judge(path: string, options: ConfigOptions): Judged {
  try {
    return readConfig(readDocument(path), options);
  } catch (error) {
    if (policyOf(error).exitCode !== 3 || !(error instanceof ProviderError)) throw error;
    const found =
      error instanceof ConfigInvalid
        ? error.problems
        : [problem('config', errorClassOf(error), error.message.replace(/^config: /u, ''))];
    return { problems: [...(options.foundBefore ?? []), ...found], warnings: [] };
  }
}

function readDocument(path: string): unknown {
  return parseYaml(readPlainFile(path, 'config', maxBytes));
}

function fingerprintOrNone(values: Parameters<typeof identityOf>[0]): string | undefined {
  try {
    return deriveFingerprint(identityOf(values));
  } catch (error) {
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}

export function describeSchema(): string {
  return `${JSON.stringify(configSchema(), null, 2)}\n`;
}
