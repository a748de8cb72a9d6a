// Calls without a pause until it is told to stop: Encrypt, Decrypt of what was encrypted, Status. Counts what was served and
// keeps every refusal.

import { randomBytes } from 'node:crypto';
import type { KmsClient } from './kms-client.ts';

export type Load = {
  readonly served: () => number;
  /** What went wrong until now. */
  readonly errors: readonly string[];
  /** Ends the load; every call in flight is waited for. @returns all errors */
  readonly stop: () => Promise<readonly string[]>;
};

export type LoadOptions = {
  readonly inFlight: number;
  readonly methods?: readonly ('encrypt' | 'decrypt' | 'status')[];
  /** Between two calls of one worker. */
  readonly pauseMs?: number;
  /** What the decrypts ask for; made by an encrypt when left out. */
  readonly sealed?: Awaited<ReturnType<KmsClient['encrypt']>>;
};

export async function startLoad(client: KmsClient, options: LoadOptions): Promise<Load> {
  const methods = options.methods ?? ['encrypt', 'decrypt', 'status'];
  const sealed = options.sealed ?? (methods.includes('decrypt') ? await client.encrypt(randomBytes(32)) : undefined);
  const errors: string[] = [];
  let served = 0;
  let isOver = false;
  const callOf = (method: (typeof methods)[number]): Promise<unknown> => {
    if (method === 'encrypt') return client.encrypt(randomBytes(32), 'u', 10_000);
    if (method === 'decrypt' && sealed !== undefined) return client.decrypt(sealed, 'u', 10_000);
    return client.status(10_000).then(({ healthz }) => {
      if (healthz !== 'ok') throw new Error(`Status is ${healthz}`);
    });
  };
  const workers = Array.from({ length: options.inFlight }, async (_, index) => {
    for (let count = index; !isOver; count += 1) {
      const method = methods[count % methods.length] ?? 'status';
      await callOf(method).then(
        () => {
          served += 1;
        },
        (error: unknown) => errors.push(`${method}: ${error instanceof Error ? error.message : 'unknown'}`),
      );
      if (options.pauseMs !== undefined) await new Promise((resolve) => setTimeout(resolve, options.pauseMs));
    }
  });
  return {
    served: () => served,
    errors,
    stop: async () => {
      isOver = true;
      await Promise.all(workers);
      return errors;
    },
  };
}
