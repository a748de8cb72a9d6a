// The tasks that report once and end, one row and one file each. The task `serve` goes on until it is drained; main.ts runs it.

import type { CredentialMessage, StartMessage } from '../../shared/channel/messages.ts';
import type { ReportingTask } from '../../shared/channel/tasks.ts';
import { runReadKey, type TaskDeps } from './read-key.ts';

/** Sends exactly one report; never throws. */
type Task = (start: StartMessage, credentials: readonly CredentialMessage[], deps: TaskDeps) => Promise<void>;

export const tasks = {
  read_key: runReadKey,
} as const satisfies Record<ReportingTask, Task>;
