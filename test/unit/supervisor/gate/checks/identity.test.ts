// Whom the plugin runs as: every refusal, and what a command does that a provider does not.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { requireConfig } from '../../../../../shared/config/config.ts';
import type { GateDeps, Helpers, Purpose, ResolvedIdentity } from '../../../../../supervisor/gate/checks/check.ts';
import { identity } from '../../../../../supervisor/gate/checks/identity.ts';
import { minimalDocument } from '../../../../support/config-document.ts';
import { rejectsClass } from '../../../../support/throws.ts';

const helpers: Helpers = { prlimit: '/p', setpriv: '/s', flock: '/f', getent: '/getent' };
const names: Readonly<Record<string, string>> = {
  'group sockets': 'sockets:x:500:a,b\n',
  'group other': 'plugins:x:992:\n',
  'passwd plugin': 'plugin:x:991:992::/:/bin/false\n',
  'group wheel': 'wheel:x:0:\n',
  'passwd toor': 'toor:x:0:992::/:/bin/sh\n',
  'passwd other': 'someone:x:7:7::/:/bin/sh\n',
};

/** What a child says that was dropped to these, and nothing of it was kept. */
const dropped = (uid: number, gid: number) =>
  [
    `Uid:\t${Array(4).fill(uid).join('\t')}`,
    `Gid:\t${Array(4).fill(gid).join('\t')}`,
    'Groups:\t',
    ...['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t0000000000000000`),
    'NoNewPrivs:\t1',
  ].join('\n');

type World = {
  readonly uid?: number;
  readonly gids?: readonly number[];
  readonly purpose?: Purpose;
  readonly child?: { readonly exitCode: number; readonly output: string };
  readonly helpers?: Helpers;
  readonly socketGroup?: string;
};

async function resolved(
  process: Record<string, string>,
  world: World = {},
): Promise<ResolvedIdentity & { drops: number }> {
  let drops = 0;
  const document = minimalDocument();
  const config = requireConfig({
    ...document,
    server: { ...(document['server'] as object), socketGroup: world.socketGroup ?? 'sockets' },
    ...(Object.keys(process).length === 0 ? {} : { process }),
  });
  const deps = {
    identity: { uid: world.uid ?? 100, gids: world.gids ?? [100] },
    findHelper: () => '/cat',
    runHelper: async (path: string, args: readonly string[]) => {
      if (path === '/getent') {
        const output = names[args.join(' ')];
        return output === undefined ? { exitCode: 2, output: '' } : { exitCode: 0, output };
      }
      drops += 1;
      return world.child ?? { exitCode: 0, output: dropped(991, 992) };
    },
  } as unknown as GateDeps;
  const loaded = { config, document, warnings: [] };
  const visit = { configPath: '', options: {}, deps, purpose: world.purpose ?? 'serve', hold: () => {} } as const;
  const found = await identity.look({ helpers: world.helpers ?? helpers, loaded }, visit);
  return { ...found.identity, drops };
}

const separate = { kind: 'separate', uid: 991, gid: 992 } as const;

test('without a user of its own the plugin has the one of an unprivileged supervisor, and nothing is dropped', async () => {
  for (const purpose of ['serve', 'read', 'change'] as const) {
    assert.equal(await resolved({}, { purpose }), { socketGid: 500, privilege: { kind: 'same-user' }, drops: 0 });
  }
});

test('root is never the user of the plugin', async () => {
  for (const purpose of ['serve', 'read', 'change'] as const) {
    await rejectsClass(resolved({}, { uid: 0, purpose }), 'identity_unresolved');
  }
});

test('a user by name brings its group, a number is both, and the drop is tried once', async () => {
  assert.equal(await resolved({ pluginUser: 'plugin' }), { socketGid: 500, privilege: separate, drops: 1 });
  const child = { exitCode: 0, output: dropped(7, 7) };
  const { privilege } = await resolved({ pluginUser: '7' }, { child });
  assert.equal(privilege, { kind: 'separate', uid: 7, gid: 7 });
});

for (const [what, process, world] of [
  ['root under another name', { pluginUser: 'toor', pluginGroup: '992' }, {}],
  ['the user of the supervisor', { pluginUser: '100', pluginGroup: '992' }, {}],
  ['a user of the group of root', { pluginUser: '991', pluginGroup: 'wheel' }, {}],
  ['a user of the group of the socket', { pluginUser: '991', pluginGroup: '500' }, {}],
  ['a user of a group of the supervisor', { pluginUser: 'plugin' }, { gids: [100, 992] }],
  ['a user that the host does not know', { pluginUser: 'nobody-here' }, {}],
  ['a user whose line is that of another one', { pluginUser: 'other' }, {}],
  ['a group whose line is that of another one', { pluginUser: 'plugin', pluginGroup: 'other' }, {}],
  [
    'a user by name without a helper that knows names',
    { pluginUser: 'plugin' },
    { helpers: { ...helpers, getent: undefined }, socketGroup: '500' },
  ],
] as const satisfies readonly (readonly [string, Record<string, string>, World])[]) {
  test(`the plugin cannot be ${what}`, async () => {
    for (const purpose of ['serve', 'read'] as const) {
      await rejectsClass(resolved(process, { ...world, purpose }), 'identity_unresolved');
    }
  });
}

test('a group of the socket that the host does not know is refused', async () => {
  await rejectsClass(resolved({}, { socketGroup: 'nowhere' }), 'identity_unresolved');
});

for (const [what, child] of [
  ['fails', { exitCode: 1, output: dropped(991, 992) }],
  ['keeps a capability', { exitCode: 0, output: dropped(991, 992).replace('CapBnd:\t0', 'CapBnd:\t1') }],
  ['keeps a group', { exitCode: 0, output: dropped(991, 992).replace('Groups:\t', 'Groups:\t4') }],
  ['keeps the user', { exitCode: 0, output: dropped(100, 992) }],
  ['says nothing', { exitCode: 0, output: '' }],
] as const) {
  test(`a drop that ${what} refuses a provider; a command goes on as who it is`, async () => {
    await rejectsClass(resolved({ pluginUser: 'plugin' }, { child }), 'identity_unresolved');
    const { privilege } = await resolved({ pluginUser: 'plugin' }, { child, purpose: 'read' });
    assert.equal(privilege, { kind: 'same-user' });
  });
}

test('a command that can drop does', async () => {
  assert.equal((await resolved({ pluginUser: 'plugin' }, { purpose: 'change' })).privilege, separate);
});

test.run();
