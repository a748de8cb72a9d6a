// What broke below HTTP, as one of our classes. The text of the failure is never used and never shown.

import { type ErrorClass, ProviderError } from '../../shared/errors/error.ts';

const dnsCodes = /^(?:ENOTFOUND|EAI_[A-Z]+|ENODATA|ESERVFAIL)$/u;
const socketCodes =
  /^(?:ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|EHOSTUNREACH|ENETUNREACH|ENETDOWN|ETIMEDOUT|EADDRNOTAVAIL|EACCES|UND_ERR_SOCKET|UND_ERR_CONNECT_TIMEOUT)$/u;
const tlsCodes =
  /^(?:ERR_TLS_.*|ERR_SSL_.*|ERR_OSSL_.*|EPROTO|CERT_.*|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_.*|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED|CRL_.*)$/u;

const sentences = {
  bao_dns_failed: 'the name of OpenBao does not resolve',
  bao_connection_failed: 'no connection to OpenBao',
  bao_tls_failed: 'the TLS connection to OpenBao was refused by one side; check CA file, server name and validity',
  bao_unavailable: 'the exchange with OpenBao broke off',
} as const satisfies Partial<Record<ErrorClass, string>>;

/** A ProviderError passes through; anything else is classified by its code, else it is `bao_unavailable`. */
export function classifyTransportFailure(error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  const errorClass = classOf(codeOf(error));
  return new ProviderError(errorClass, sentences[errorClass], { cause: error });
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
