// What a client of the benchmark can be asked for. There are two: the Go client, which speaks as kube-apiserver does, and the one in this
// process, which takes its place on a machine without Go and is part of what it measures.

export type Target = 'status' | 'encrypt' | 'decrypt' | 'raw-encrypt' | 'raw-decrypt';

/** Ends after `seconds`, after `calls`, or when it is stopped, whichever is named and comes first. */
export type Plan = {
  readonly target: Target;
  readonly inFlight: number;
  readonly seconds?: number;
  readonly calls?: number;
  /** Of the KMS socket; 1 when left out. */
  readonly connections?: number;
  /** Of one call; 3 s, as kube-apiserver has it, when left out. */
  readonly timeoutMs?: number;
  /** Calls before the begin, which are not counted. */
  readonly warmUp?: number;
};

export type Measured = {
  readonly seconds: number;
  /** Answered well; rate and times are those of these calls alone. */
  readonly served: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failed: number;
  /** What refused calls said, with how many said it. */
  readonly errors: Readonly<Record<string, number>>;
  /** Between two calls that were answered well, or between the last of them and the end. */
  readonly longestGapMs: number;
};

export type Measurement = {
  /** The warm-up is over. */
  readonly begun: Promise<void>;
  /** @throws Error when it could not be begun */
  readonly measured: Promise<Measured>;
  readonly stop: () => void;
};

/** What refused calls said over a whole run, with how many said it. */
export type Failures = Map<string, number>;

export function noteErrors(failures: Failures, errors: Measured['errors']): void {
  for (const [text, count] of Object.entries(errors)) failures.set(text, (failures.get(text) ?? 0) + count);
}

/** Does one thing at a time. */
export type LoadClient = {
  readonly kind: 'grpc-go' | 'grpc-js in this process';
  /** Seals that many more seeds, which the Decrypts then ask for in turn. */
  readonly prepare: (count: number) => Promise<void>;
  readonly measure: (plan: Plan) => Measurement;
  /** Resolves when a Status is answered, or is `ok`, over a new connection to a socket that need not be there yet. */
  readonly first: (wanted: 'answer' | 'ok') => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Where a client finds both servers. */
export type Addresses = {
  readonly socketPath: string;
  readonly address: string;
  readonly ca: string;
  readonly caPath: string;
  readonly mountPath: string;
  readonly keyName: string;
  /** May do with the key what the provider may do, and no more. */
  readonly token: string;
};
