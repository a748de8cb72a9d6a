// The command `version`: prints the build.

import { exitCodes } from '../../shared/errors/exit-codes.ts';
import type { Command } from './command.ts';

export const run: Command['run'] = (_, { build, print }) => {
  print(
    Object.entries(build)
      .map(([name, value]) => `${name}: ${value}\n`)
      .join(''),
  );
  return exitCodes.success;
};
