// Several encrypts or decrypts in one request: the shape is judged as a whole, then each item on its own. An answer with a failed item
// is an envelope with an error status and without `errors`.

import { type Answer, refuse, success, wrapped } from './answer.ts';

export type BatchItem = Record<string, unknown>;

/** How Go calls the types of JSON. */
function goType(value: unknown): string {
  if (value === null) return '<nil>';
  if (Array.isArray(value)) return '[]interface {}';
  if (typeof value === 'object') return 'map[string]interface {}';
  return { string: 'string', number: 'json.Number', boolean: 'bool' }[typeof value as 'string'] ?? 'string';
}

const texts = ['associated_data', 'ciphertext', 'context', 'nonce', 'plaintext', 'reference'];

/** What is wrong with the members of one item. */
function itemFaults(item: BatchItem, index: number, required: 'plaintext' | 'ciphertext'): string[] {
  const faults: string[] = [];
  const purpose = required === 'plaintext' ? 'encrypt' : 'decrypt';
  if (!(required in item)) faults.push(`'[${index}].${required}' missing ${required} to ${purpose}`);
  for (const name of texts) {
    const value = item[name];
    if (value === undefined || typeof value === 'string' || (value === null && name !== 'plaintext')) continue;
    faults.push(`'[${index}].${name}' expected type 'string', got unconvertible type '${goType(value)}'`);
  }
  const version = item['key_version'];
  if (version === undefined || version === null) return faults;
  if (typeof version !== 'number') {
    faults.push(`'[${index}].key_version' expected type 'int', got unconvertible type '${goType(version)}'`);
  } else if (!Number.isInteger(version)) {
    const number = `strconv.ParseInt: parsing "${version}": invalid syntax`;
    faults.push(`error decoding json.Number into [${index}].key_version: ${number}`);
  }
  return faults;
}

/** The items, or the answer to a request whose shape is wrong. */
export function readItems(input: unknown, required: 'plaintext' | 'ciphertext'): readonly BatchItem[] | Answer {
  const failed = (details: string) => wrapped(500, `failed to parse batch input: ${details}`);
  if (!Array.isArray(input)) return failed(`source data must be an array or slice, got ${goKind(input)}`);
  if (input.length === 0) return refuse(400, 'missing batch input to process');
  const strange = input.flatMap((item, index) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? []
      : [`[${index}] expected a map, got '${goKind(item)}'`],
  );
  const faults = strange.length > 0 ? strange : input.flatMap((item, index) => itemFaults(item, index, required));
  return faults.length > 0 ? failed(faults.join('\n')) : (input as BatchItem[]);
}

function goKind(value: unknown): string {
  if (Array.isArray(value)) return 'slice';
  if (typeof value === 'object') return value === null ? 'invalid' : 'map';
  return typeof value === 'boolean' ? 'bool' : 'string';
}

/**
 * @param one  what the item would be answered alone
 * @param override  `partial_failure_response_code`
 */
export function answerItems(
  items: readonly BatchItem[],
  one: (item: BatchItem) => Answer,
  required: 'plaintext' | 'ciphertext',
  override: unknown,
): Answer {
  let isCaller = false;
  const results = items.map((item) => {
    const reference = String(item['reference'] ?? '');
    const { status, body } = one(item);
    const { data, errors } = body as { data?: Record<string, unknown>; errors?: readonly string[] };
    if (status === 200) return { ...data, reference };
    if (status === 400) isCaller = true;
    const error = (errors?.[0] ?? '').replace(/^1 error occurred:\n\t\* ([\s\S]*)\n\n$/u, '$1');
    return required === 'ciphertext' ? { plaintext: '', error, reference } : { error, reference };
  });
  const answer = success({ batch_results: results });
  const failed = results.filter((result) => 'error' in result).length;
  if (failed === 0) return answer;
  const isPartial = failed < results.length && typeof override === 'number' && override > 0 && override < 600;
  return { ...answer, status: isPartial ? override : isCaller ? 400 : 500, isWithoutLineFeed: true };
}
