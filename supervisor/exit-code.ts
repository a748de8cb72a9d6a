// With which code an error ends a command.

import { type ExitCode, exitCodes } from '../shared/errors/exit-codes.ts';
import { policyOf } from '../shared/errors/policy.ts';
import { GateRefusal } from './refusal.ts';

/** A command that starts nothing for long says that a check failed where `serve` says runtime (spec/supervisor 4.2). */
export function exitCodeOf(error: unknown, gate: 'serve' | 'task' | 'none'): ExitCode {
  const { exitCode } = policyOf(error);
  if (gate !== 'task') return exitCode;
  if (error instanceof GateRefusal) {
    return error.exitCode === exitCodes.configuration ? exitCodes.configuration : exitCodes.checkFailed;
  }
  return exitCode === exitCodes.unexpected || exitCode === exitCodes.usage ? exitCode : exitCodes.checkFailed;
}
