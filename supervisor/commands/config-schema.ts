// The command `config schema`: prints the JSON Schema of the configuration.

import { configSchema } from '../../shared/config/schema.ts';
import { exitCodes } from '../../shared/errors/exit-codes.ts';
import type { Command } from './command.ts';

export const run: Command['run'] = (_, { print }) => {
  print(`${JSON.stringify(configSchema(), null, 2)}\n`);
  return exitCodes.success;
};
