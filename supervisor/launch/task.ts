// One run of a confined plugin with a task: greeted like one that serves, with no listener; what it reports is returned, and
// it is ended. Bounded in time; a plugin that is not confined, breaks a rule or ends early is an error.

import type { ReportingTask, ReportOf } from '../../shared/channel/tasks.ts';
import { confinementProblem } from '../../shared/confinement/confinement.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { encodeState, type RegistryState } from '../../shared/registry/state.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { openSupervisorChannel } from '../channel/channel.ts';
import { emptyCounters } from './counters.ts';
import type { Custody } from './running.ts';

export type TaskCustody = Pick<Custody, 'credentials' | 'privilege' | 'launch'> & {
  readonly start: Omit<Custody['start'], 'task'>;
};

const taskTimeoutMs = 60_000;
/**
 * @param state  what the plugin judges the key against; undefined: none
 * @throws ProviderError `task_failed`, `confinement_failed`, or the class of a broken rule of the channel
 */
export function runTask<T extends ReportingTask>(
  task: T,
  custody: TaskCustody,
  state: RegistryState | undefined,
  clock: Pick<Clock, 'nowMs' | 'after'>,
): Promise<ReportOf<T>> {
  const child = custody.launch();
  return new Promise<ReportOf<T>>((resolve, reject) => {
    const fail = (error: ProviderError) => {
      cancel();
      child.kill();
      reject(error);
    };
    const cancel = clock.after(taskTimeoutMs, () => fail(failed('did not report in time')));
    const channel = openSupervisorChannel(
      child.channel,
      {
        receive: (message) => {
          if (message.kind === 'ready') {
            const problem = message.isPermissionModelOn
              ? confinementProblem(message.confinement, custody.privilege)
              : 'permission_model';
            if (problem !== undefined)
              fail(new ProviderError('confinement_failed', `the plugin is not confined: ${problem}`));
          }
          if (message.kind !== 'report') return;
          if (message.task !== task) return fail(failed('reported of another task'));
          cancel();
          child.kill();
          resolve(message);
        },
        violated: (errorClass) => fail(new ProviderError(errorClass, 'the plugin broke a rule of the channel')),
        stuck: () => fail(failed('does not read what it is told')),
      },
      clock,
      'task',
    );
    void child.ended.then(() => fail(failed('ended without a report')));
    const messages = custody.credentials.look();
    channel.send({
      ...custody.start,
      task,
      listen: 'now',
      counters: emptyCounters(0),
      credentialCount: messages.length,
      ...(state === undefined ? {} : { state: encodeState(state) }),
    });
    for (const message of messages) channel.send(message);
  });
}

function failed(what: string): ProviderError {
  return new ProviderError('task_failed', `the plugin of this command ${what}`);
}
