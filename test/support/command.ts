// Runs a command of the provider to its end, as the workplace's user, while this process goes on.

import { spawn } from 'node:child_process';
import type { Workplace } from './workplace.ts';

export type CommandResult = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

export function runCommand(workplace: Workplace, ...words: string[]): Promise<CommandResult> {
  const [command, ...args] = workplace.command(...words, '--config', workplace.configPath, '--development');
  const child = spawn(command, args, { cwd: workplace.directory, env: {}, stdio: ['ignore', 'pipe', 'pipe'] });
  const result = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    result.stdout += chunk.toString('utf8');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    result.stderr += chunk.toString('utf8');
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, ...result })));
}
