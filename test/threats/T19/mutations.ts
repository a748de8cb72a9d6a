import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the active key stands in a label',
    edits: [
      {
        file: 'plugin/telemetry/collect.ts',
        at: 'control: collect.key-id-hash',
        find: 'hashText(active.kubernetesKeyId)',
        replace: 'active.kubernetesKeyId',
      },
    ],
  },
  {
    name: 'a label takes what comes from outside',
    edits: [
      {
        file: 'plugin/telemetry/observer.ts',
        at: 'control: observer.status-label',
        find: 'isOk ? labels.ok : labels.error',
        replace: "{ method, status: event.uid ?? 'ok' }",
      },
    ],
  },
];
