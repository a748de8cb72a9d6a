// Ports for servers that must be told theirs before they start. They lie below those that the kernel hands out for outgoing
// connections, so that no connection of this machine takes one between the look and the start.

import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the first of Linux's `ip_local_port_range`, 32768. */
const [first, last] = [20_000, 32_000];

/** A port of the loopback address at which nobody listens. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(first, last);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
