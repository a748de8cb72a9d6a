// Bound, not listening handles to hand over by descriptor. Node has no public way to make one, so this file alone uses the
// runtime's underscored function and tests it at every start.

import net from 'node:net';
import { constants } from 'node:os';
import { ProviderError } from '../../shared/errors/error.ts';

/** What the runtime gives back; errors come as negative numbers. Keep it referenced or it is closed. */
export type BoundHandle = {
  readonly fd: number;
  readonly close: () => void;
  readonly getsockname?: (out: { address?: string; port?: number; family?: string }) => number;
};

type Binder = (address: string, port: number, addressType: number) => BoundHandle | number;

function binder(): Binder {
  const create: unknown = Reflect.get(net, '_createServerHandle');
  if (typeof create !== 'function') {
    throw new ProviderError(
      'runtime_unsupported',
      'this Node cannot bind a socket without accepting on it; use Node 24',
    );
  }
  return create as Binder;
}

/** @throws ProviderError `runtime_unsupported` when the runtime lacks what the hand-over needs */
export function checkBinder(): void {
  const handle = binder()('127.0.0.1', 0, 4);
  const isHandle = typeof handle === 'object' && typeof handle.fd === 'number' && handle.fd > 2;
  if (typeof handle === 'object') handle.close();
  if (!isHandle)
    throw new ProviderError('runtime_unsupported', 'this Node gives no descriptor for a bound socket; use Node 24');
}

/**
 * Binds a Unix socket under a umask that lets nobody but us in. No `listen`: the first plugin does that.
 *
 * @throws ProviderError `listener_unavailable`
 */
export function bindUnixSocket(path: string): BoundHandle {
  const before = process.umask(0o177);
  try {
    const handle = binder()(path, -1, -1);
    if (typeof handle === 'number') {
      throw new ProviderError('listener_unavailable', 'the socket cannot be bound; is the runtime directory writable?');
    }
    return handle;
  } finally {
    process.umask(before);
  }
}

export type BoundTcp = { readonly handle: BoundHandle; readonly host: string; readonly port: number };

/**
 * Binds a TCP address. A port in use shows only when the bound address is read back.
 *
 * @param host  an IP address, or `localhost`
 * @returns undefined when somebody else has the port
 * @throws ProviderError `listener_unavailable`: an address that this host does not have, or a port that we may not bind
 */
export function bindTcp(field: string, host: string, port: number): BoundTcp | undefined {
  const address = host === 'localhost' ? '127.0.0.1' : host;
  if (net.isIP(address) === 0) throw unavailable(field, 'needs an IP address or localhost');
  const handle = binder()(address, port, net.isIP(address));
  if (handle === -constants.errno.EADDRINUSE) return undefined;
  if (typeof handle === 'number') throw unavailable(field, 'cannot be bound');
  const found: { address?: string; port?: number } = {};
  const status = handle.getsockname?.(found) ?? -1;
  const isBound = status === 0 && found.address === address && (port === 0 ? found.port !== 0 : found.port === port);
  if (!isBound || found.port === undefined) {
    handle.close();
    return undefined; // control: bound-handle.in-use
  }
  return { handle, host: address, port: found.port };
}

function unavailable(field: string, what: string): ProviderError {
  return new ProviderError('listener_unavailable', `${field}: the address ${what}; choose another one`, {
    facts: { field },
  });
}
