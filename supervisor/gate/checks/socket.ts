// Check 8: nobody serves the socket, and what is at its path may be replaced.

import { proveSocketDead } from '../../custody/socket.ts';
import type { GateCheck } from './check.ts';

export const socket: GateCheck<'socket', 'socketFinding'> = {
  title: 'server.socketPath is free, or holds a socket that nobody serves any more',
  needs: ['socket'],
  gives: ['socketFinding'],
  look: async ({ socket: name }, { deps }) => {
    const socketFinding = await proveSocketDead(name, deps.clock); // step: socket.prove-dead
    return { socketFinding };
  },
};
