// Several Decrypts in one request: what is asked, and which answer belongs to which item. An answer that does not fit what was asked
// in number, order or reference is an answer to none of them: nobody gets the plaintext of another (spec/openbao 2.5).

import { ProviderError } from '../../shared/errors/error.ts';
import { decodeBase64 } from '../../shared/text/base64.ts';
import { operations } from '../openbao/operations.ts';
import { type BaoBody, isObject, itemRefusal } from '../openbao/response.ts';

/** What became of one of them; undefined: unclear, it is to be asked for alone. */
export type BatchOutcome = { readonly plaintext: Buffer } | { readonly error: ProviderError } | undefined;

/** @param associatedData  in Base64 */
export type BatchItem = { readonly ciphertext: string; readonly associatedData: string };

export function batchBody(items: readonly BatchItem[]): object {
  return {
    batch_input: items.map(({ ciphertext, associatedData }, index) => ({
      ciphertext,
      associated_data: associatedData,
      reference: String(index),
    })),
  };
}

/** Refusals of one Decrypt that have status 400 when it goes alone, as an item says them. Every other text is unclear. */
const itemTexts =
  /^(?:missing ciphertext to decrypt|refusing to use soft-deleted key|message decryption not supported|invalid ciphertext|ciphertext or signature version is disallowed|cipher: message authentication failed)/u;

/**
 * One outcome for each item, in their order.
 *
 * @param count  of the items that were asked for
 * @throws ProviderError `transit_response_invalid`: it is no answer to these items
 */
export function readBatch({ data, status }: BaoBody, count: number): readonly BatchOutcome[] {
  const results = isObject(data) ? data['batch_results'] : undefined;
  if (!Array.isArray(results) || results.length !== count) throw invalid();
  const outcomes = results.map(readItem);
  const isFailed = outcomes.some((outcome) => outcome === undefined || 'error' in outcome);
  // control: batch.status
  if (isFailed !== (status === 400 || status === 500)) throw invalid();
  return outcomes;
}

function readItem(result: unknown, index: number): BatchOutcome {
  // control: batch.reference
  if (!isObject(result) || result['reference'] !== String(index)) throw invalid();
  const { plaintext, error } = result;
  if (typeof plaintext !== 'string') throw invalid();
  if (error !== undefined) {
    // control: batch.failed-and-good
    if (typeof error !== 'string' || error === '' || plaintext !== '') throw invalid();
    return itemTexts.test(error) ? { error: itemRefusal(operations.decrypt, 400, error) } : undefined;
  }
  const decoded = decodeBase64(plaintext);
  if (decoded === undefined) throw invalid();
  return decoded.length === 0 ? undefined : { plaintext: decoded };
}

function invalid(): ProviderError {
  return new ProviderError('transit_response_invalid', 'Transit answered something else than it was asked together');
}

const refusals: readonly string[] = [
  'bao_invalid_request',
  'bao_permission_denied',
  'bao_not_found',
  'bao_rate_limited',
  'bao_unknown',
  'bao_protocol_error',
  'transit_response_invalid',
];

/**
 * Whether OpenBao answered, and refused what was asked together: its items may fare better alone. An OpenBao that is not there, or that
 * says it cannot serve, would say the same to each of them.
 */
export function isRefusedTogether(error: unknown): boolean {
  if (!(error instanceof ProviderError)) return false;
  const { status, maxBytes } = error.facts;
  return (
    refusals.includes(error.class) || (error.class === 'bao_unavailable' && (status === 500 || maxBytes !== undefined))
  );
}
