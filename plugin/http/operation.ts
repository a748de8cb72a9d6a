// What a client says of a request before it is sent: what it is called in log and metrics, and how much may come back.

const kib = 1024;
/** Largest error body that is read, bytes. */
export const maxErrorBytes = 64 * kib;

export type Operation = {
  /** Spaced form, for logs. */
  readonly name: string;
  /** For metrics. */
  readonly label: string;
  readonly method: 'GET' | 'POST';
  /** Largest success body that is read, bytes. */
  readonly maxBytes: number;
  /** May be carried out twice without harm. A login that was carried out has made a token. */
  readonly isRepeatable: boolean;
  /** Its answer has a part for each item, also when its status is an error: then it is read up to `maxBytes` as well. */
  readonly isInParts?: true;
};
