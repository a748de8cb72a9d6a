// Whether anybody can still connect to what a plugin was given. The listeners outlive it, and so does what it did to them: one that
// was shut down refuses everybody, for every plugin after it. We connect to our own addresses and close at once; nothing is read or
// written.

import { connect } from 'node:net';
import { type PortName, portNames } from '../../shared/channel/messages.ts';
import type { Clock } from '../../shared/time/clock.ts';
import type { BoundHandle, BoundTcp } from './bound-handle.ts';
import type { Listeners, Ports } from './listeners.ts';

const lookTimeoutMs = 1_000;
/** Before a launch nobody waits: what hangs is found by the next look. */
const launchTimeoutMs = 100;
/** One hang may be a burst of strangers. */
const hangsBeforeShut = 2;

export type ListenerLook = {
  /** A plugin that was given these is ready: from now on a refused connect says that it was shut down. */
  readonly served: (listeners: Listeners) => void;
  /** Whether the socket was shut down. @param path  of its name, which leads to it */
  readonly isSocketShut: (listeners: Listeners, path: string) => Promise<boolean>;
  /**
   * Ports of the diagnostics that were shut down. In two looks in a row a connect that hangs counts as refused; before a launch it does
   * not.
   */
  readonly shutPorts: (listeners: Ports, when: 'launch' | 'look') => Promise<readonly PortName[]>;
};

export function createListenerLook(clock: Pick<Clock, 'after'>): ListenerLook {
  const listened = new WeakSet<BoundHandle>();
  const hangs = new WeakMap<BoundHandle, number>();
  const isPortShut = async (port: BoundTcp, when: 'launch' | 'look') => {
    const answer = await answerOf(port, clock, when === 'look' ? lookTimeoutMs : launchTimeoutMs);
    if (answer === 'refused' || when === 'launch') return answer === 'refused';
    const count = answer === 'silent' ? (hangs.get(port.handle) ?? 0) + 1 : 0;
    hangs.set(port.handle, count);
    return count >= hangsBeforeShut;
  };
  return {
    served: (listeners) => {
      listened.add(listeners.socket.handle);
      for (const name of portNames) {
        const port = listeners[name];
        if (port !== undefined) listened.add(port.handle);
      }
    },
    // A full queue is no refusal: whoever waits there is served.
    isSocketShut: async ({ socket }, path) =>
      // control: listener-look.socket
      listened.has(socket.handle) && (await answerOf({ path }, clock, lookTimeoutMs)) === 'refused',
    shutPorts: async (listeners, when) => {
      const isShut = async (port: BoundTcp | undefined) =>
        // control: listener-look.port
        port !== undefined && listened.has(port.handle) && (await isPortShut(port, when));
      const looked = await Promise.all(portNames.map(async (name) => ({ name, shut: await isShut(listeners[name]) })));
      return looked.filter(({ shut }) => shut).map(({ name }) => name);
    },
  };
}

type Answer = 'connected' | 'refused' | 'silent' | 'other';

function answerOf(
  address: { readonly path: string } | Pick<BoundTcp, 'host' | 'port'>,
  clock: Pick<Clock, 'after'>,
  timeoutMs: number,
): Promise<Answer> {
  return new Promise((resolve) => {
    const connection = 'path' in address ? connect(address.path) : connect(address.port, address.host);
    const settle = (answer: Answer) => {
      cancel();
      connection.destroy();
      resolve(answer);
    };
    const cancel = clock.after(timeoutMs, () => settle('silent'));
    connection.once('connect', () => settle('connected'));
    connection.once('error', (error: NodeJS.ErrnoException) => {
      settle(error.code === 'ECONNREFUSED' ? 'refused' : 'other');
    });
  });
}
