// The three listeners of one provider: metrics and health first, then the socket, so that a busy port leaves no socket.

import { parseListener } from '../../shared/config/rules.ts';
import { type BoundTcp, bindTcp } from './bound-handle.ts';
import { type BindSocketOptions, type BoundSocket, bindSocket, type SocketName } from './socket.ts';

export type Listeners = {
  readonly socket: BoundSocket;
  readonly metrics: BoundTcp | undefined;
  readonly health: BoundTcp | undefined;
};

export type ListenerSettings = {
  readonly socket: SocketName;
  readonly options: BindSocketOptions;
  /** `host:port`; empty switches it off. */
  readonly metricsAddress: string;
  readonly healthAddress: string;
};

/**
 * Binds all three; what was bound is closed again on failure.
 *
 * @throws ProviderError `listener_unavailable`, `directory_unsafe`
 */
export function bindListeners(settings: ListenerSettings): Listeners {
  let metrics: BoundTcp | undefined;
  let health: BoundTcp | undefined;
  try {
    metrics = bindListener('server.metricsAddress', settings.metricsAddress);
    health = bindListener('server.healthAddress', settings.healthAddress);
    return { socket: bindSocket(settings.socket, settings.options), metrics, health };
  } catch (error) {
    metrics?.handle.close();
    health?.handle.close();
    throw error;
  }
}

function bindListener(field: string, address: string): BoundTcp | undefined {
  const listener = parseListener(address);
  return listener === undefined ? undefined : bindTcp(field, listener.host, listener.port);
}
