// Trust for OpenBao: the configured bundle and nothing else, the configured name and no other, TLS 1.2 or newer, HTTP/1.1.
// There is no switch that turns any of this off.

import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import {
  checkServerIdentity,
  connect,
  createSecureContext,
  DEFAULT_CIPHERS,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { ProviderError } from '../../shared/errors/error.ts';
import { caFindingOf } from './ca-finding.ts';

/**
 * Without finite-field Diffie-Hellman: there the peer chooses the group, and one of 10 000 bits takes the event loop a second before any
 * certificate is judged. OpenBao, as every server in Go, does not offer it.
 */
const ciphers = `${DEFAULT_CIPHERS}:!kDHE`; // control: tls.no-dhe

export type TrustOptions = { readonly ca: Buffer; readonly tlsServerName: string };
export type Trust = {
  readonly secureContext: SecureContext;
  readonly tlsServerName: string;
  readonly endsAtUnixMs: number;
};

/**
 * Builds the trust from a PEM bundle. An intermediate is an anchor like a root: who installs only the issuing CA trusts it.
 *
 * @throws ProviderError `ca_invalid` when the bundle holds no certificate or something that is none
 */
export function createTrust(options: TrustOptions): Trust {
  const pem = options.ca.toString('latin1');
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/gu) ?? [];
  if (blocks.length === 0) throw invalidCa(options.ca);
  try {
    const ends = blocks.map((block) => Date.parse(new X509Certificate(block).validTo));
    const secureContext = createSecureContext({
      ca: blocks, // control: tls.trusted-roots
      ciphers,
      minVersion: 'TLSv1.2', // control: tls.context-version
      allowPartialTrustChain: true,
    });
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

const keepAliveMs = 30_000;

/** Where a connection goes: a host or an address, without brackets. */
export type Endpoint = { readonly host: string; readonly port: number };

/**
 * Opens one connection and completes its handshake. A name that is an IP address is checked without SNI.
 *
 * @throws whatever the socket said (transport-failure.ts knows its codes), or the signal's reason
 */
export function connectTls(trust: Trust, endpoint: Endpoint, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const isName = isIP(trust.tlsServerName) === 0;
    const socket = connect({
      host: endpoint.host,
      port: endpoint.port,
      secureContext: trust.secureContext,
      minVersion: 'TLSv1.2', // control: tls.min-version
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: true, // control: tls.verify
      ...(isName ? { servername: trust.tlsServerName } : {}),
      // control: tls.check-name
      checkServerIdentity: (_host, certificate) => checkName(trust.tlsServerName, certificate),
    });
    const leave = () => socket.destroy(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveMs);
    // Heard for as long as the socket lives: an error that nobody hears would end the process.
    socket.on('error', reject);
    socket.once('close', () => {
      signal.removeEventListener('abort', leave);
      reject(Object.assign(new Error('closed during the handshake'), { code: 'ECONNRESET' }));
    });
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', leave);
      resolve(socket);
    });
  });
}

const noSubject = { C: '', ST: '', L: '', O: '', OU: '', CN: '' };

/** Only the names of the subject alternative name extension count: a common name is no name of a server. */
function checkName(name: string, certificate: PeerCertificate): Error | undefined {
  return checkServerIdentity(name, { ...certificate, subject: noSubject }); // control: tls.no-common-name
}
