// The OpenBao calls that this program makes; there are no others (openbao-client 1).

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
};

const operation = (name: string, method: 'GET' | 'POST', maxBytes = 256 * kib): Operation => ({
  name,
  label: name.replaceAll(' ', '_'),
  method,
  maxBytes,
  isRepeatable: true,
});

export const operations = {
  metadataRead: operation('transit metadata read', 'GET', 4 * kib * kib),
  upsertRead: operation('transit disable_upsert read', 'GET'),
  encrypt: operation('transit encrypt', 'POST'),
  decrypt: operation('transit decrypt', 'POST'),
  capabilitiesSelf: operation('capabilities self', 'POST'),
  jwtLogin: { ...operation('jwt login', 'POST'), isRepeatable: false },
  renewSelf: operation('token renew self', 'POST'),
} as const satisfies Record<string, Operation>;
