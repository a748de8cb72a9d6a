// Answer → value or classed error. What the server says is looked at here and goes no further: messages are ours.

import { type ErrorClass, type Facts, ProviderError } from '../../shared/errors/error.ts';
import { countStructure } from '../../shared/text/json-structure.ts';
import type { HttpReply } from '../http/connection.ts';
import type { Operation } from '../http/operation.ts';

/** A decoded success body; members are untrusted until a reader has checked them. */
export type BaoBody = {
  readonly data: unknown;
  readonly auth: unknown;
  readonly requestId: string | undefined;
  /** 2xx, but for an answer in parts. */
  readonly status: number;
};

/**
 * @throws ProviderError of the class of the answer (spec/openbao 2.2); facts: operation, status
 */
export function readReply(operation: Operation, reply: HttpReply): BaoBody {
  const { status } = reply;
  const isGood = status >= 200 && status <= 299;
  if (!isGood && operation.isInParts !== true) throw refusal(operation, reply);
  if (status === 204) return { data: undefined, auth: undefined, requestId: undefined, status };
  const body = reply.contentType.startsWith('application/json') ? parseObject(reply.body) : undefined;
  if (!isGood && !isObject(body?.['data'])) throw refusal(operation, reply);
  if (body === undefined) throw protocolError(operation, status);
  return { data: body['data'], auth: body['auth'], requestId: readRequestId(body['request_id']), status };
}

/** The refusal of one part of an answer, as if it had been asked for alone and answered with this status. */
export function itemRefusal(operation: Operation, status: number, text: string): ProviderError {
  return baoError(classify(status, text.toLowerCase()), operation, status);
}

/** A 2xx answer that is not what the operation promises. */
export function protocolError(operation: Operation, status = 200): ProviderError {
  return baoError('bao_protocol_error', operation, status);
}

function refusal(operation: Operation, reply: HttpReply): ProviderError {
  const retryAfterMs = readRetryAfterMs(reply.retryAfter);
  const more = {
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(reply.wasRepeated === true ? { wasRepeated: true } : {}),
  };
  // control: response.refusal
  return baoError(classify(reply.status, readErrors(reply.body)), operation, reply.status, more);
}

function baoError(errorClass: ErrorClass, operation: Operation, status: number, more: Facts = {}): ProviderError {
  const kind = errorClass.replace(/^bao_/u, '');
  const facts = { operation: operation.label, status, ...more };
  // control: response.message
  return new ProviderError(errorClass, `openbao ${operation.name} failed: ${kind} (status ${status})`, { facts });
}

const classByStatus: Readonly<Record<number, ErrorClass>> = {
  400: 'bao_invalid_request',
  401: 'bao_unauthenticated',
  403: 'bao_permission_denied',
  404: 'bao_not_found',
  429: 'bao_rate_limited',
};

/**
 * Whether a node says that it cannot serve, so that another one may: sealed, a standby that cannot forward, starting or ending
 * its time as the active node, lagging behind, or a balancer with nobody behind it. A quota is no such thing.
 */
export function isNodeUnable(reply: HttpReply): boolean {
  const { status } = reply;
  if (status < 300) return false;
  if (status < 400 || [472, 473, 502, 503, 504].includes(status) || reply.isInconsistent === true) return true;
  if (status === 429) return hasEmptyErrors(reply.body);
  return status >= 500 && inTransition.test(readErrors(reply.body));
}

/** Whether the node, or the namespace, is sealed: nothing that passes by itself. */
export function isSealed(reply: HttpReply): boolean {
  return reply.status >= 500 && sealedWord.test(readErrors(reply.body));
}

const sealedWord = /(?<![a-z])sealed(?![a-z])/u;

/** With a 500: a node between sealed, standby and active, or one whose active node is gone. */
const inTransition =
  /(?<![a-z])(?:sealed|in standby mode|not active|active context canceled|not initialized|being initialized)(?![a-z])/u;

function hasEmptyErrors(body: Buffer): boolean {
  const errors = parseObject(body)?.['errors'];
  return Array.isArray(errors) && errors.length === 0;
}

/** The texts of `errors`, lower case. Used to tell classes apart, never shown. */
function classify(status: number, errors: string): ErrorClass {
  if (status >= 300 && status <= 399) return 'bao_unavailable';
  if (status >= 500 && sealedWord.test(errors)) return 'bao_sealed';
  if (status === 400 && errors.includes('message authentication failed')) return 'bao_decrypt_failed';
  if (status === 400 && isTemporary(errors)) return 'bao_unavailable';
  if (status === 429 && errors === '') return 'bao_unavailable';
  if (status >= 500) return 'bao_unavailable';
  return classByStatus[status] ?? 'bao_unknown';
}

/** A node that lags behind, or an issuer that OpenBao cannot reach: passes by itself (spec/openbao 2.3). */
function isTemporary(errors: string): boolean {
  return (
    errors.includes('version is too new') ||
    errors.includes('higher than the latest key version') ||
    errors.includes('fetching keys') ||
    errors.includes('error configuring token validator')
  );
}

/** The texts of `errors` in lower case, joined: to tell causes apart, never to be passed on. */
export function readErrors(body: Buffer): string {
  const errors = parseObject(body)?.['errors'];
  if (!Array.isArray(errors)) return '';
  return errors
    .filter((text) => typeof text === 'string')
    .join(' ')
    .toLowerCase();
}

/** Whether a 403 carries the bare text that OpenBao keeps for tokens it does not know. */
export function isPlainDenial(reply: HttpReply): boolean {
  return readErrors(reply.body) === 'permission denied';
}

/** Braces and brackets of an answer, counted before it is parsed: 4 MiB of empty objects are more than the heap of the plugin. */
const maxContainers = 8_192;
/** Commas of an answer: a key that is rotated every hour has fewer versions in seven years. */
const maxSeparators = 65_536;

function parseObject(body: Buffer): Record<string, unknown> | undefined {
  const { containers, separators } = countStructure(body);
  if (containers > maxContainers || separators > maxSeparators) return undefined; // control: answer.structure
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a decoded value is a plain JSON object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readRequestId(value: unknown): string | undefined {
  const text = typeof value === 'string' ? value.trim() : '';
  return /^[A-Za-z0-9\-_.:]{1,128}$/u.test(text) ? text : undefined;
}

function readRetryAfterMs(value: string): number | undefined {
  return /^[0-9]{1,6}$/u.test(value) ? Number(value) * 1000 : undefined;
}
