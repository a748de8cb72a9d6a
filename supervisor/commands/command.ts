// What a command is and what it gets. One file a command; its row stands in table.ts.

import type { ConfigOptions } from '../../shared/config/config.ts';
import type { OutputFormat } from './report.ts';
import type { ServeDeps } from './serve.ts';
import type { CommandName, FlagName } from './table.ts';

/** What was typed. */
export type Invocation = {
  readonly name: CommandName;
  readonly configPath: string;
  readonly options: ConfigOptions;
  readonly output: OutputFormat;
  /** The flags as they were typed; those that the command's row does not have are absent. */
  readonly flags: Readonly<Partial<Record<FlagName, string | boolean>>>;
  /** The command that `help` is asked about. */
  readonly topic: CommandName | undefined;
};

export type CommandDeps = Omit<ServeDeps, 'credentialFiles'> & {
  /** To standard output. */
  readonly print: (text: string) => void;
  /** To standard error. */
  readonly printError: (text: string) => void;
  readonly help: (topic: CommandName | undefined) => string;
};

export type Command = {
  /**
   * @returns the exit code
   * @throws ProviderError `usage_invalid` before anything was done, and those of the command; GateRefusal
   */
  readonly run: (invocation: Invocation, deps: CommandDeps) => Promise<number> | number;
};
