// The command `help`: all commands, or one of them.

import { exitCodes } from '../../shared/errors/exit-codes.ts';
import type { Command } from './command.ts';

export const run: Command['run'] = ({ topic }, { help, print }) => {
  print(help(topic));
  return exitCodes.success;
};
