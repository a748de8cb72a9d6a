// Which directory of its file system the mount at a path shows, read from /proc/self/mountinfo. A mount goes on showing a
// directory that was removed or renamed where it came from; only the text of that table tells.

import { readFileSync } from 'node:fs';

/** The kernel writes this behind the root of a mount that was removed. */
const deletedSuffix = '//deleted';

/** What the innermost mount above a path shows; undefined when the table cannot be read. */
export function mountRootOf(path: string): string | undefined {
  try {
    return findMountRoot(readFileSync('/proc/self/mountinfo', 'utf8'), path);
  } catch {
    return undefined;
  }
}

/**
 * @param table  lines as in proc(5): id, parent, device, root, mount point, …
 * @param path  absolute, without links
 * @returns the root of the mount that a look-up of the path ends in; of several at one point the last one counts
 */
export function findMountRoot(table: string, path: string): string | undefined {
  let innermost: { readonly root: string; readonly point: string } | undefined;
  for (const line of table.split('\n')) {
    const [, , , root, escapedPoint] = line.split(' ');
    if (root === undefined || escapedPoint === undefined) continue;
    const point = unescaped(escapedPoint);
    if (!isAtOrBelow(path, point)) continue;
    if (innermost === undefined || point.length >= innermost.point.length) innermost = { root, point };
  }
  return innermost?.root;
}

/** Whether the directory that a mount shows has been removed. */
export function isDeletedRoot(root: string | undefined): boolean {
  return root?.endsWith(deletedSuffix) === true;
}

function isAtOrBelow(path: string, point: string): boolean {
  return point === '/' || path === point || path.startsWith(`${point}/`);
}

function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/gu, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
