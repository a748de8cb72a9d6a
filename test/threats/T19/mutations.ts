import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the active key stands in a label',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/telemetry/collect.ts',
        find: 'hash: hashText(active.kubernetesKeyId)',
        replace: 'hash: active.kubernetesKeyId',
      },
    ],
  },
  {
    name: 'a label takes what comes from outside',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/telemetry/observer.ts',
        find: "metrics.count('grpc_requests_total', { method, status: isOk ? 'ok' : 'error' });",
        replace: "metrics.count('grpc_requests_total', { method, status: event.uid ?? 'ok' });",
      },
    ],
  },
];
