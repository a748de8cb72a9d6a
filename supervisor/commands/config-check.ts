// The command `config check`: every problem and every warning of a configuration, one a line.

import { type ConfigOptions, readConfig } from '../../shared/config/config.ts';
import { ConfigInvalid, type Problem, problem, sentenceOf } from '../../shared/config/problem.ts';
import { errorClassOf, ProviderError } from '../../shared/errors/error.ts';
import { exitCodes } from '../../shared/errors/exit-codes.ts';
import { policyOf } from '../../shared/errors/policy.ts';
import type { Command } from './command.ts';
import { readDocument } from './config-file.ts';
import { printReport } from './report.ts';

export const run: Command['run'] = ({ configPath, options, output }, { print }) => {
  const { problems, warnings } = judge(configPath, options);
  const shown = (list: readonly Problem[]) =>
    list.map((one) =>
      output === 'text' ? sentenceOf(one) : { field: one.field, code: one.code, message: one.message },
    );
  const members = {
    name: 'config check',
    file: configPath,
    valid: problems.length === 0,
    problemCount: problems.length,
    problems: shown(problems),
    warnings: shown(warnings),
  };
  print(printReport({ members, always: Object.keys(members) }, output));
  return problems.length === 0 ? exitCodes.success : exitCodes.configuration;
};

type Judged = { readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] };

/** A file that cannot be read or parsed is a problem like any other, beside what is wrong outside of it. */
function judge(path: string, options: ConfigOptions): Judged {
  try {
    return readConfig(readDocument(path), options);
  } catch (error) {
    const isOfFile = policyOf(error).exitCode === exitCodes.configuration;
    if (!isOfFile || !(error instanceof ProviderError)) throw error;
    const found =
      error instanceof ConfigInvalid
        ? error.problems
        : [problem('config', errorClassOf(error), error.message.replace(/^config: /u, ''))];
    return { problems: [...(options.foundBefore ?? []), ...found], warnings: [] };
  }
}
