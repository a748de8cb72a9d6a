// Trust for OpenBao: the configured bundle and nothing else, the configured name and no other, TLS 1.2 or newer, HTTP/1.1.
// There is no switch that turns any of this off.

import { X509Certificate } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect, createSecureContext, type SecureContext } from 'node:tls';
import { ProviderError } from '../../shared/errors/error.ts';
import { caFindingOf } from './ca-finding.ts';

export type TrustOptions = { readonly ca: Buffer; readonly tlsServerName: string };
export type Trust = {
  readonly secureContext: SecureContext;
  readonly tlsServerName: string;
  readonly endsAtUnixMs: number;
};

/**
 * Builds the trust from a PEM bundle.
 *
 * @throws ProviderError `ca_invalid` when the bundle holds no certificate or something that is none
 */
export function createTrust(options: TrustOptions): Trust {
  const pem = options.ca.toString('latin1');
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/gu) ?? [];
  if (blocks.length === 0) throw invalidCa(options.ca);
  try {
    const ends = blocks.map((block) => Date.parse(new X509Certificate(block).validTo));
    const secureContext = createSecureContext({ ca: blocks, minVersion: 'TLSv1.2' });
    return { secureContext, tlsServerName: options.tlsServerName, endsAtUnixMs: Math.min(...ends) };
  } catch {
    throw invalidCa(options.ca);
  }
}

function invalidCa(ca: Buffer): ProviderError {
  return new ProviderError(
    'ca_invalid',
    'openbao.caCertFile holds no usable PEM certificate; install the CA of OpenBao',
    { facts: { finding: caFindingOf(ca) } },
  );
}

const connectTimeoutMs = 10_000;
const keepAliveMs = 30_000;

type Address = { readonly hostname: string; readonly port: string };

/** Opens connections for an undici client: `(address, callback)`. A name that is an IP address is checked without SNI. */
export function createConnector(trust: Trust, opened: (socket: Socket) => void) {
  const isName = isIP(trust.tlsServerName) === 0;
  return (address: Address, callback: (error: Error | null, socket: Socket | null) => void): void => {
    const socket = connect({
      host: address.hostname.replace(/^\[|\]$/gu, ''),
      port: Number(address.port || 443),
      secureContext: trust.secureContext,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: true,
      ...(isName ? { servername: trust.tlsServerName } : {}),
      checkServerIdentity: (_host, certificate) => checkServerIdentity(trust.tlsServerName, certificate),
    });
    const fail = (error: Error) => callback(error, null);
    const expire = () => socket.destroy(new ProviderError('bao_connection_failed', 'the connection took over 10 s'));
    socket.setTimeout(connectTimeoutMs, expire);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveMs);
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      socket.off('error', fail);
      socket.off('timeout', expire);
      socket.setTimeout(0);
      opened(socket);
      callback(null, socket);
    });
  };
}
