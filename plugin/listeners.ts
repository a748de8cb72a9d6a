// The three listeners on the descriptors that the supervisor bound: the socket is the service, the two ports are diagnostics.

import { type PortName, portNames, type StartMessage } from '../shared/channel/messages.ts';
import { ProviderError } from '../shared/errors/error.ts';
import type { HttpEndpoint } from './telemetry/endpoints.ts';

const descriptors = { kms: 4, metrics: 5, health: 6 } as const;

export type Endpoints = Readonly<Record<PortName, HttpEndpoint>>;

/**
 * Opens what the supervisor gave.
 *
 * @returns the ports that could not be opened
 * @throws ProviderError `listener_unavailable`: the socket could not be
 */
export async function openListeners(
  given: Pick<StartMessage, PortName>,
  server: { readonly listen: (descriptor: number) => Promise<void> },
  endpoints: Endpoints,
): Promise<PortName[]> {
  const portsUnopened: PortName[] = [];
  for (const name of portNames) {
    const address = given[name];
    // Whoever took the port between our bind and our listen takes the diagnostics and not the service.
    const isOpen = address === undefined || (await opens(endpoints[name], descriptors[name], address));
    if (!isOpen) portsUnopened.push(name);
  }
  try {
    await server.listen(descriptors.kms);
  } catch (cause) {
    throw new ProviderError('listener_unavailable', 'the KMS socket cannot be opened', { cause });
  }
  return portsUnopened;
}

const opens = (endpoint: HttpEndpoint, descriptor: number, address: { host: string; port: number }) =>
  endpoint.listen(descriptor, address).then(
    () => true,
    () => false,
  );

export async function closeEndpoints({ health, metrics }: Endpoints): Promise<void> {
  await Promise.all([health.close(), metrics.close()]);
}
