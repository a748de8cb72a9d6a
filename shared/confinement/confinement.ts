// What a process is, read from the text of /proc/self/status, and whether that is confined enough. The plugin reads and
// reports itself; the supervisor judges, and tries the drop once with the same eyes before the first launch.

import type { Confinement } from '../channel/messages.ts';

/** Reads the lines that matter; a line that is missing reads as the worst case. */
export function parseProcStatus(text: string): Confinement {
  const line = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, 'mu').exec(text)?.[1]?.trim();
  const numbers = (name: string) => (line(name) ?? '0').split(/\s+/u).filter(Boolean).map(Number);
  const set = (name: string) => line(name) ?? 'ffffffffffffffff';
  return {
    uids: numbers('Uid'),
    gids: numbers('Gid'),
    groups: numbers('Groups'),
    inheritable: set('CapInh'),
    permitted: set('CapPrm'),
    effective: set('CapEff'),
    bounding: set('CapBnd'),
    ambient: set('CapAmb'),
    noNewPrivs: Number(line('NoNewPrivs') ?? 0),
    seccomp: Number(line('Seccomp') ?? 0),
  };
}

/** Whom the plugin runs as: its own user, or the supervisor's where two are impossible. */
export type Privilege =
  | { readonly kind: 'separate'; readonly uid: number; readonly gid: number }
  | { readonly kind: 'same-user' };

/** What is not as confined as it must be; `permission_model` is found by the plugin itself. */
export const confinementProblems = [
  'no_new_privs',
  'effective',
  'uid',
  'gid',
  'groups',
  'inheritable',
  'permitted',
  'bounding',
  'ambient',
  'permission_model',
] as const;
export type ConfinementProblem = (typeof confinementProblems)[number];

/**
 * The first thing that is not as confined as it must be; undefined when all is.
 *
 * @see spec/supervisor 1.2: separate users: anything but zeros; same user: no_new_privs and no effective capability
 */
export function confinementProblem(found: Confinement, privilege: Privilege): ConfinementProblem | undefined {
  if (found.noNewPrivs !== 1) return 'no_new_privs'; // control: confinement.no-new-privs
  if (!isEmptySet(found.effective)) return 'effective';
  if (privilege.kind === 'same-user') return undefined;
  if (!found.uids.every((uid) => uid === privilege.uid) || found.uids.length < 4) return 'uid';
  if (!found.gids.every((gid) => gid === privilege.gid) || found.gids.length < 4) return 'gid';
  if (found.groups.length > 0) return 'groups'; // control: confinement.groups
  const sets = ['inheritable', 'permitted', 'bounding', 'ambient'] as const;
  return sets.find((name) => !isEmptySet(found[name]));
}

function isEmptySet(hexadecimal: string): boolean {
  return /^0+$/u.test(hexadecimal);
}
