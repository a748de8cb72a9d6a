// Asks an OpenBao in a heap of its own (answers.test.ts): many requests at a time, and what the answers are taken for.

import { parentPort, workerData } from 'node:worker_threads';
import { createTrust } from '../../../plugin/http/tls.ts';
import { createHttp } from '../../../plugin/openbao/client.ts';
import { operations } from '../../../plugin/openbao/operations.ts';
import { readReply } from '../../../plugin/openbao/response.ts';
import { clock, random } from '../../../plugin/system.ts';
import { errorClassOf } from '../../../shared/errors/error.ts';

export type Asking = {
  readonly address: string;
  readonly ca: string;
  readonly operation: 'metadataRead' | 'decrypt';
  readonly requests: number;
  readonly timeoutMs: number;
};

const { address, ca, requests, timeoutMs, ...asking } = workerData as Asking;
const operation = operations[asking.operation];
const trust = createTrust({ ca: Buffer.from(ca), tlsServerName: 'localhost' });
const http = createHttp({ address, namespace: '', userAgent: 't', trust, clock, random, connections: requests });

async function ask(): Promise<string> {
  try {
    readReply(operation, await http.send({ operation, path: 'transit/x', timeoutMs, isLast: true }));
    return 'taken';
  } catch (error) {
    return errorClassOf(error);
  }
}

const outcomes = await Promise.all(Array.from({ length: requests }, ask));
await http.close();
parentPort?.postMessage(outcomes);
