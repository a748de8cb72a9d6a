// Whether anybody can still connect to what a plugin was given. The listeners outlive it, and so does what it did to them: one that
// was shut down refuses everybody, for every plugin after it, and one with a filter on it lets nobody's request through. We connect to our
// own addresses; of an answer only that it came is looked at.

import { connect } from 'node:net';
import { type PortName, portNames } from '../../shared/channel/messages.ts';
import type { Clock } from '../../shared/time/clock.ts';
import type { BoundHandle, BoundTcp } from './bound-handle.ts';
import type { Listeners, Ports } from './listeners.ts';

const lookTimeoutMs = 1_000;
/** Before a launch nobody waits: what hangs is found by the next look. */
const launchTimeoutMs = 100;
/**
 * A plugin that serves answers within a second. It closes every connection of the diagnostics after five, also one whose request was
 * dropped before it: that end must not come first, as it would count as an answer.
 */
const answerTimeoutMs = 4_000;
/** Any answer will do, also a refusal. */
const question = 'GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
/** One hang may be a burst of strangers. */
const hangsBeforeShut = 2;

/** `launch`: before one; `resting`: no plugin serves, so nobody answers; `serving`: a plugin is there to answer. */
export type LookKind = 'launch' | 'resting' | 'serving';

export type ListenerLook = {
  /** A plugin that was given these is ready: from now on a refused connect says that it was shut down. */
  readonly served: (listeners: Listeners) => void;
  /** Whether the socket was shut down. @param path  of its name, which leads to it */
  readonly isSocketShut: (listeners: Listeners, path: string) => Promise<boolean>;
  /**
   * Ports of the diagnostics that were shut down. In two looks in a row a connect that hangs, or a request that nobody answers, counts as
   * refused; before a launch it does not.
   */
  readonly shutPorts: (listeners: Ports, when: LookKind) => Promise<readonly PortName[]>;
};

export function createListenerLook(clock: Pick<Clock, 'after'>): ListenerLook {
  const listened = new WeakSet<BoundHandle>();
  const hangs = new WeakMap<BoundHandle, number>();
  const isPortShut = async (port: BoundTcp, when: LookKind) => {
    const isDue = when === 'serving'; // control: listener-look.answer
    const answer = isDue
      ? await answerOf(port, clock, answerTimeoutMs, question)
      : await answerOf(port, clock, when === 'launch' ? launchTimeoutMs : lookTimeoutMs);
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
        if (port === undefined) continue;
        listened.add(port.handle);
        // What nobody answered before says nothing of this plugin.
        hangs.delete(port.handle);
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

/** @param asked  what is sent; the first byte of an answer, or the end of the connection, is an answer. Without it a connection is one */
function answerOf(
  address: { readonly path: string } | Pick<BoundTcp, 'host' | 'port'>,
  clock: Pick<Clock, 'after'>,
  timeoutMs: number,
  asked?: string,
): Promise<Answer> {
  return new Promise((resolve) => {
    const connection = 'path' in address ? connect(address.path) : connect(address.port, address.host);
    const settle = (answer: Answer) => {
      cancel();
      connection.destroy();
      resolve(answer);
    };
    const cancel = clock.after(timeoutMs, () => settle('silent'));
    connection.once('connect', () => {
      if (asked === undefined) return settle('connected');
      connection.once('data', () => settle('connected'));
      connection.once('end', () => settle('connected'));
      connection.write(asked);
    });
    connection.once('error', (error: NodeJS.ErrnoException) => {
      settle(error.code === 'ECONNREFUSED' ? 'refused' : 'other');
    });
  });
}
