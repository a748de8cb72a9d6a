import type { Mutation } from '../run.ts';

const response = 'plugin/openbao/response.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the path of a request stands in the log',
    edits: [
      {
        file: 'plugin/auth/authorized.ts',
        at: 'control: authorized.noted-operation',
        find: 'call.operation.name',
        replace: 'call.path',
      },
    ],
  },
  {
    name: 'raw key ids stand in the log',
    edits: [
      {
        file: 'plugin/kms/kms.ts',
        at: 'control: decrypt.noted-key-id',
        find: 'hashOf(view.keyId)',
        replace: 'view.keyId',
      },
    ],
  },
  {
    name: 'the server’s text stands in messages, and messages in the log',
    edits: [
      { file: response, at: 'control: response.message', find: 'failed: ', replace: '' },
      {
        file: response,
        at: 'control: response.refusal',
        replace:
          'return new ProviderError(classify(reply.status, readErrors(reply.body)), readErrors(reply.body), { facts: { status: reply.status, waitMs: retryAfterMs ?? 0 } });',
      },
      {
        file: 'plugin/telemetry/observer.ts',
        at: 'control: observer.operation',
        find: 'event.operation',
        replace: 'event.error instanceof Error ? event.error.message : event.operation',
      },
    ],
  },
];
