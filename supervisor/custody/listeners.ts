// The three listeners of one provider. The socket is the service; the two ports are diagnostics, and whoever takes one of them before
// us takes nothing else: the socket opens all the same, and the port is tried again.

import { type PortName, portNames } from '../../shared/channel/messages.ts';
import { parseListener } from '../../shared/config/rules.ts';
import { type BoundTcp, bindTcp } from './bound-handle.ts';
import { type BindSocketOptions, type BoundSocket, bindSocket, type SocketName } from './socket.ts';

/** A port is absent when it is switched off, or taken by somebody else. */
export type Listeners = { readonly socket: BoundSocket } & Readonly<Record<PortName, BoundTcp | undefined>>;

/** What is bound for the diagnostics. */
export type Ports = Omit<Listeners, 'socket'>;

export type PortSettings = {
  /** `host:port`; empty switches it off. */
  readonly metricsAddress: string;
  readonly healthAddress: string;
};

export type ListenerSettings = PortSettings & { readonly socket: SocketName; readonly options: BindSocketOptions };

/**
 * Binds all three; what was bound is closed again on failure.
 *
 * @throws ProviderError `listener_unavailable`, `directory_unsafe`
 */
export function bindListeners(settings: ListenerSettings): Listeners {
  const bound: BoundTcp[] = [];
  const bind = (name: PortName) => {
    const port = bindPort(settings, name);
    if (port !== undefined) bound.push(port);
    return port;
  };
  try {
    const ports = { metrics: bind('metrics'), health: bind('health') };
    return { socket: bindSocket(settings.socket, settings.options), ...ports };
  } catch (error) {
    for (const { handle } of bound) handle.close();
    throw error;
  }
}

const fieldOf = (name: PortName) => `${name}Address` as const;

/**
 * @returns undefined when it is switched off or somebody else has it
 * @throws ProviderError `listener_unavailable`: this host does not have the address, or we may not bind the port
 */
export function bindPort(settings: PortSettings, name: PortName): BoundTcp | undefined {
  const listener = parseListener(settings[fieldOf(name)]);
  return listener && bindTcp(`server.${fieldOf(name)}`, listener.host, listener.port);
}

/**
 * Whether this host has the address of a port: a port that the kernel chooses is bound there for a moment, whoever has the one that is meant.
 *
 * @throws ProviderError `listener_unavailable`
 */
export function checkAddress(settings: PortSettings, name: PortName): void {
  const listener = parseListener(settings[fieldOf(name)]);
  if (listener !== undefined) bindTcp(`server.${fieldOf(name)}`, listener.host, 0)?.handle.close();
}

/** The same address once more, for a port that was shut down. @returns undefined when it cannot be bound at present */
export function bindPortAnew(name: PortName, { host, port }: BoundTcp): BoundTcp | undefined {
  try {
    return bindTcp(`server.${fieldOf(name)}`, host, port);
  } catch {
    return undefined;
  }
}

/** Switched on and not ours. */
export function portsTaken(settings: PortSettings, listeners: Ports): PortName[] {
  return portNames.filter((name) => settings[fieldOf(name)] !== '' && listeners[name] === undefined);
}
