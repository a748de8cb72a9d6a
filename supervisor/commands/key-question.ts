// What the commands about versions ask OpenBao: one run of the plugin's task `read_key`. It encrypts nothing.

import type { ReportOf } from '../../shared/channel/tasks.ts';
import type { ConfigOptions } from '../../shared/config/config.ts';
import { withoutPaths } from '../../shared/config/paths.ts';
import { deriveFingerprint } from '../../shared/registry/fingerprint.ts';
import type { RegistryState } from '../../shared/registry/state.ts';
import type { PassedTask } from '../gate/gate.ts';
import { pluginEnvironment, startChild } from '../launch/child.ts';
import { nodeFlags, pluginCommand } from '../launch/plugin-command.ts';
import { type OutputSink, readPluginOutput } from '../launch/plugin-output.ts';
import { runTask } from '../launch/task.ts';
import type { CommandDeps } from './command.ts';

export type KeyReport = ReportOf<'read_key'>;

/**
 * Asks OpenBao about the key, through the same confined plugin that serves.
 *
 * @param state  what the plugin judges the key against; undefined: none
 * @throws ProviderError `task_failed`, `confinement_failed`, or the class of a broken rule of the channel
 */
export function askAboutKey(
  passed: PassedTask,
  state: RegistryState | undefined,
  options: ConfigOptions,
  deps: CommandDeps,
): Promise<KeyReport> {
  const { config, helpers, privilege } = passed;
  const target = [deps.nodePath, ...nodeFlags(deps.pluginBundle, deps.identity.nodeMajor), deps.pluginBundle];
  // A command says what it has to say in its report.
  const overrides = { 'logging.level': 'error', ...Object.fromEntries(options.overrides ?? []) };
  return runTask(
    'read_key',
    {
      credentials: passed.credentials,
      privilege,
      launch: () => {
        const child = startChild({
          command: pluginCommand(helpers, privilege, target),
          descriptors: [undefined, undefined, undefined],
          environment: pluginEnvironment(deps.environment),
          clock: deps.clock,
        });
        readPluginOutput(child.output, deps.clock, commandOutput(deps));
        return child;
      },
      start: {
        kind: 'start',
        build: deps.build,
        config: withoutPaths(passed.document),
        overrides,
        identityFingerprint: deriveFingerprint(config.identity),
      },
    },
    state,
    deps.clock,
  );
}

/** The report is what the plugin says; its last words, should it have any, are for the terminal. */
function commandOutput({ printError }: CommandDeps): OutputSink {
  const say = (text: string) => printError(`bao-kms-provider: plugin: ${JSON.stringify(text.slice(0, 512))}\n`);
  return { event: ({ message }) => say(message), text: say, dropped: () => {} };
}

export function errorOf({ errorClass, finding }: KeyReport): string | undefined {
  if (errorClass === undefined) return undefined;
  return finding === undefined ? errorClass : `${errorClass} (${finding})`;
}
