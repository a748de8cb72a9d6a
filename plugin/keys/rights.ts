// The rights of our token, as OpenBao itself tells them: what is missing for the service, and what a provider must never have.
// Pure. Only a missing right to encrypt or decrypt is a reason to be unhealthy; every other finding is told.

import { isFatal, type RightFinding, rightFindings } from '../../shared/errors/words.ts';

export { isFatal, type RightFinding, rightFindings };

/** Capabilities by path, each list complete. */
export type Capabilities = ReadonlyMap<string, readonly string[]>;

type Row = {
  readonly path: string;
  readonly needed?: readonly [capability: string, finding: RightFinding];
  readonly forbidden: readonly string[];
  readonly extra?: RightFinding;
};

const changing = ['create', 'update', 'patch', 'delete', 'sudo'];
const reading = ['read', ...changing];

/** Administration of the key, which a provider never does. */
function administration(mount: string, key: string): readonly Row[] {
  const row = (path: string, extra: RightFinding, forbidden = changing): Row => ({
    path: `${mount}/${path}`,
    forbidden,
    extra,
  });
  return [
    row(`keys/${key}/config`, 'extra_key_config'),
    row(`keys/${key}/trim`, 'extra_trim'),
    row(`keys/${key}/rotate`, 'extra_rotate'),
    row(`keys/${key}/soft-delete`, 'extra_soft_delete'),
    row(`keys/${key}/soft-delete-restore`, 'extra_soft_delete'),
    row(`keys/${key}/import`, 'extra_import'),
    row(`keys/${key}/import_version`, 'extra_import'),
    row('restore', 'extra_restore'),
    row(`restore/${key}`, 'extra_restore'),
    row(`rewrap/${key}`, 'extra_rewrap'),
    row(`export/encryption-key/${key}`, 'extra_export', reading),
    row(`byok-export/${key}/${key}`, 'extra_export', reading),
    row(`backup/${key}`, 'extra_backup', reading),
  ];
}

function rowsOf(mount: string, key: string): readonly Row[] {
  return [
    {
      path: `${mount}/encrypt/${key}`,
      needed: ['update', 'missing_encrypt'],
      // With `create` an Encrypt could make a key.
      forbidden: ['create', 'sudo'],
      extra: 'extra_on_encrypt',
    },
    {
      path: `${mount}/decrypt/${key}`,
      needed: ['update', 'missing_decrypt'],
      forbidden: ['sudo'],
      extra: 'extra_on_decrypt',
    },
    {
      path: `${mount}/keys/${key}`,
      needed: ['read', 'missing_metadata_read'],
      forbidden: changing,
      extra: 'extra_on_key',
    },
    {
      path: `${mount}/config/keys`,
      needed: ['read', 'missing_upsert_read'],
      forbidden: changing,
      extra: 'extra_on_mount_config',
    },
    { path: 'auth/token/renew-self', needed: ['update', 'missing_renew'], forbidden: [] },
    ...administration(mount, key),
  ];
}

/** The paths to ask about, in one question. */
export function rightPaths(mount: string, key: string): readonly string[] {
  return rowsOf(mount, key).map(({ path }) => path);
}

/** What is wrong, in the order of `rightFindings`, none twice; `root` alone says everything about extra rights. */
export function findRights(mount: string, key: string, capabilities: Capabilities): readonly RightFinding[] {
  const rows = rowsOf(mount, key);
  const granted = ({ path }: Row) => capabilities.get(path) ?? [];
  const isRoot = rows.some((row) => granted(row).includes('root'));
  if (isRoot) return ['extra_root'];
  const found = new Set<RightFinding>();
  for (const row of rows) {
    const has = granted(row);
    if (row.needed !== undefined && !has.includes(row.needed[0])) found.add(row.needed[1]);
    if (row.extra !== undefined && row.forbidden.some((capability) => has.includes(capability))) found.add(row.extra);
  }
  return rightFindings.filter((finding) => found.has(finding));
}
