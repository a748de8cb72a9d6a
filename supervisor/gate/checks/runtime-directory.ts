// Check 5: the directory of the socket.

import { pinDirectory, splitPath } from '../../custody/pinned-directory.ts';
import type { GateCheck } from './check.ts';

export const runtimeDirectory: GateCheck<'loaded', 'socket'> = {
  title: 'the directory of server.socketPath is safe',
  needs: ['loaded'],
  gives: ['socket'],
  look: ({ loaded }, { deps, hold }) => {
    const { directory: path, name } = splitPath(loaded.config.server.socketPath); // step: runtime-directory.pin
    const directory = pinDirectory(path, 'runtime', deps.identity.uid);
    hold({ release: directory.close });
    return { socket: { directory, name } };
  },
};
