// Who runs this command. Told before any other check has its say: that a provider runs already, and that the caller is not
// the user of the provider. Otherwise the first thing an administrator reads is a complaint about owners or capabilities,
// and what it advises breaks the installation. Looks only; makes and changes nothing.

import { basename, dirname, join } from 'node:path';
import { decodeDocument } from '../../shared/config/decode.ts';
import type { FieldPath } from '../../shared/config/fields.ts';
import { printable } from '../../shared/config/problem.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { checkLockFree, type LockDeps } from '../custody/lock.ts';
import { isDenied, type Owner, ownerOf } from '../custody/owner.ts';
import type { CallerDeps, GateSystem, Helpers } from './checks/check.ts';

/** Where a provider keeps what it owns. */
export type Places = { readonly statePath: string; readonly socketPath: string };

/** Those that a document names, valid or not; where it says nothing usable, or cannot be read, those of an installation. */
export function placesOf(document: unknown): Places {
  const { values } = decodeDocument(document, new Map());
  const defaults = decodeDocument(undefined, new Map()).values;
  const pathAt = (field: FieldPath) => {
    const written = values.get(field);
    return typeof written === 'string' && written.startsWith('/') ? written : String(defaults.get(field));
  };
  return { statePath: pathAt('state.path'), socketPath: pathAt('server.socketPath') };
}

export function stateLockPath({ statePath }: Places): string {
  return `${statePath}.lock`;
}

/** In the directory of the socket, hidden. */
export function socketLockPath({ socketPath }: Places): string {
  return join(dirname(socketPath), socketLockName(basename(socketPath)));
}

/** The lock in the runtime directory. */
export function socketLockName(socketName: string): string {
  return `.${socketName}.lock`;
}

/** @throws ProviderError `locked` naming the provider that holds one of the locks */
export async function checkNobodyRuns(lockPaths: readonly string[], deps: Pick<LockDeps, 'isShareable' | 'pause'>) {
  for (const path of lockPaths) await checkLockFree(path, deps);
}

type Evidence = { readonly what: string; readonly owner: Owner };

/**
 * The owner of the state directory is the user of the provider; without one, the owner of the runtime directory. Root is no
 * evidence against anybody: a directory of root's is more often one that was made with the wrong owner.
 *
 * @throws ProviderError `wrong_user` with the command to run instead
 */
export async function checkUser(places: Places, deps: CallerDeps, helpers: Helpers): Promise<void> {
  const caller = deps.identity.uid;
  const state = evidenceOf('the state directory', dirname(places.statePath));
  const runtime = evidenceOf('the runtime directory', dirname(places.socketPath));
  const isOwn = (found: Evidence | undefined) => found?.owner.uid === caller;
  if (isOwn(state) || (caller !== 0 && isOwn(runtime))) return;
  const found = [state, runtime].find((one) => one !== undefined && one.owner.uid !== 0 && !isOwn(one)); // control: caller.root-directory
  if (found !== undefined) throw await wrongUser(found, deps, helpers);
}

/**
 * The same where the configuration cannot be read: it keeps the caller out, or root reads a file of somebody else's, or one in a directory
 * of somebody else's.
 *
 * @throws ProviderError `wrong_user`
 */
export async function checkReader(configPath: string, deps: CallerDeps, helpers: Helpers): Promise<void> {
  if (isDenied(configPath)) return checkUser(placesOf(undefined), deps, helpers);
  if (deps.identity.uid !== 0) return;
  const above = directoriesAbove(configPath).map((path) => evidenceOf('a directory above the configuration', path));
  const found = [evidenceOf('the configuration', configPath), ...above].find((one) => (one?.owner.uid ?? 0) !== 0);
  if (found !== undefined) throw await wrongUser(found, deps, helpers);
}

/** The nearest one first. */
function directoriesAbove(path: string): readonly string[] {
  const above = dirname(path);
  return above === path ? [] : [above, ...directoriesAbove(above)];
}

function evidenceOf(what: string, path: string): Evidence | undefined {
  const owner = ownerOf(path);
  return owner && { what, owner };
}

async function wrongUser({ what, owner }: Evidence, deps: CallerDeps, helpers: Helpers): Promise<ProviderError> {
  const [caller, name] = [await userName(deps.identity.uid, deps, helpers), await userName(owner.uid, deps, helpers)];
  const [is, needed] = [caller ?? `uid ${deps.identity.uid}`, name ?? `uid ${owner.uid}`];
  const command = ['bao-kms-provider', ...deps.words].map(shellWord).join(' ');
  const line = `${changeUser(deps.identity.uid, owner, name)} -- ${command}`;
  return new ProviderError(
    'wrong_user',
    `run this as ${needed}: \`${line}\`; ${what} belongs to ${needed}, and this is ${is}`,
  );
}

/** Root needs no password and no configuration for `runuser`; others have `sudo`, if anything. */
function changeUser(callerUid: number, { uid, gid }: Owner, name: string | undefined): string {
  if (callerUid !== 0) return `sudo -u ${name ?? `'#${uid}'`}`;
  return name === undefined ? `setpriv --reuid=${uid} --regid=${gid} --clear-groups` : `runuser -u ${name}`;
}

async function userName(uid: number, deps: GateSystem, helpers: Helpers): Promise<string | undefined> {
  if (helpers.getent === undefined) return undefined;
  const { exitCode, output } = await deps.runHelper(helpers.getent, ['passwd', String(uid)]);
  const [name = '', , found] = output.split('\n')[0]?.split(':') ?? [];
  return exitCode === 0 && found === String(uid) && /^[A-Za-z_][\w.-]*\$?$/u.test(name) ? name : undefined;
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/u.test(word) ? word : `'${printable(word).replaceAll("'", "'\\''")}'`;
}
