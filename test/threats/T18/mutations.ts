import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the path of a request stands in the log',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/auth/authorized.ts',
        find: 'operation: call.operation.name, label',
        replace: 'operation: call.path, label',
      },
    ],
  },
  {
    name: 'raw key ids stand in the log',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/kms/kms.ts',
        find: 'noted.keyIdHash = hashText(view.keyId);\n  const resolved',
        replace: 'noted.keyIdHash = view.keyId;\n  const resolved',
      },
    ],
  },
  {
    name: 'the server’s text stands in messages, and messages in the log',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/openbao/response.ts',
        find: 'failed: ',
        replace: '',
      },
      {
        file: 'plugin/openbao/response.ts',
        find: 'return baoError(classify(reply.status, readErrors(reply.body)), operation, reply.status, more);',
        replace:
          'return new ProviderError(classify(reply.status, readErrors(reply.body)), readErrors(reply.body), { facts: { status: reply.status, waitMs: retryAfterMs ?? 0 } });',
      },
      {
        file: 'plugin/telemetry/observer.ts',
        find: '    openbao_operation: event.operation,',
        replace: '    openbao_operation: event.error instanceof Error ? event.error.message : event.operation,',
      },
    ],
  },
];
