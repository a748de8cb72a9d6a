// What broke below HTTP, as one of our classes. The text of the failure is never used and never shown.

import type { TlsDetail } from '../../shared/errors/cause.ts';
import { type ErrorClass, ProviderError } from '../../shared/errors/error.ts';
import { tlsHints } from '../../shared/errors/hints.ts';

const dnsCodes = /^(?:ENOTFOUND|EAI_[A-Z]+|ENODATA|ESERVFAIL)$/u;
const socketCodes =
  /^(?:ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|EHOSTUNREACH|ENETUNREACH|ENETDOWN|ETIMEDOUT|EADDRNOTAVAIL|EACCES|UND_ERR_SOCKET|UND_ERR_CONNECT_TIMEOUT)$/u;
const tlsCodes =
  /^(?:ERR_TLS_.*|ERR_SSL_.*|ERR_OSSL_.*|EPROTO|CERT_.*|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_.*|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED|CRL_.*)$/u;

const sentences = {
  bao_dns_failed: 'the name of OpenBao does not resolve; check openbao.address, and DNS on this node',
  bao_connection_failed: 'no connection to OpenBao; check openbao.address, the network, and the listener of OpenBao',
  bao_tls_failed: 'the TLS connection to OpenBao failed',
  bao_unavailable: 'the exchange with OpenBao broke off',
} as const satisfies Partial<Record<ErrorClass, string>>;

const tlsDetailCodes: readonly (readonly [TlsDetail, RegExp])[] = [
  ['server_name', /^(?:ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)$/u],
  ['certificate_expired', /^CERT_(?:HAS_EXPIRED|NOT_YET_VALID)$/u],
  [
    'untrusted_ca',
    /^(?:UNABLE_TO_GET_ISSUER_CERT(?:_LOCALLY)?|UNABLE_TO_VERIFY_LEAF_SIGNATURE|(?:DEPTH_ZERO_)?SELF_SIGNED_CERT(?:_IN_CHAIN)?|CERT_(?:UNTRUSTED|REJECTED|SIGNATURE_FAILURE|CHAIN_TOO_LONG)|INVALID_CA|PATH_LENGTH_EXCEEDED)$/u,
  ],
  ['protocol_version', /^ERR_SSL_(?:.*_)?(?:UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|VERSION_TOO_LOW)$/u],
];

/** A ProviderError passes through; anything else is classified by its code, else it is `bao_unavailable`. */
export function classifyTransportFailure(error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  const code = codeOf(error);
  const errorClass = classOf(code);
  if (errorClass !== 'bao_tls_failed') return new ProviderError(errorClass, sentences[errorClass], { cause: error });
  const detail = tlsDetailCodes.find(([, codes]) => codes.test(code))?.[0] ?? 'other';
  return new ProviderError(errorClass, tlsHints[detail], { cause: error, facts: { detail } });
}

function classOf(code: string): keyof typeof sentences {
  if (tlsCodes.test(code)) return 'bao_tls_failed';
  if (dnsCodes.test(code)) return 'bao_dns_failed';
  if (socketCodes.test(code)) return 'bao_connection_failed';
  return 'bao_unavailable';
}

function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  return 'cause' in error ? codeOf(error.cause) : '';
}
