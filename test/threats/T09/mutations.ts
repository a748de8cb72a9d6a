import type { Mutation } from '../run.ts';

const member = (what: string) => ({ file: 'plugin/keys/aad.ts', at: `control: aad.${what}`, replace: '' });
/** The hash of the key id binds every label a second time, so it has to go together with the member itself. */
const without = (name: string, what: string): Mutation => ({
  name: `the AAD does not bind the ${name}`,
  edits: [member('key-id'), member(what)],
});

export const mutations: readonly Mutation[] = [
  without('provider name', 'provider'),
  without('cluster', 'cluster'),
  without('OpenBao instance', 'instance'),
  without('namespace', 'namespace'),
  without('mount', 'mount'),
  without('lineage', 'lineage'),
];
