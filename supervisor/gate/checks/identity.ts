// Check 4: users and groups of this host, and whether the plugin can run as its user.

import type { Config } from '../../../shared/config/config.ts';
import { confinementProblem, type Privilege, parseProcStatus } from '../../../shared/confinement/confinement.ts';
import { ProviderError } from '../../../shared/errors/error.ts';
import { pluginCommand } from '../../launch/plugin-command.ts';
import type { GateCheck, GateSystem, Helpers, ResolvedIdentity } from './check.ts';

export const identity: GateCheck<'helpers' | 'loaded', 'identity'> = {
  title: 'the configured users and groups exist, and the plugin can run as its own',
  needs: ['helpers', 'loaded'],
  gives: ['identity'],
  look: async ({ helpers, loaded }, { deps, purpose }) => {
    const resolve = purpose === 'serve' ? checkIdentity : checkTaskIdentity; // step: identity.check
    return { identity: await resolve(deps, helpers, loaded.config) };
  },
};

/** @throws ProviderError `identity_unresolved`; with two users the drop is tried once */
async function checkIdentity(system: GateSystem, helpers: Helpers, config: Config): Promise<ResolvedIdentity> {
  const socketGid = await resolveGroup(system, helpers, 'server.socketGroup', config.server.socketGroup);
  const privilege = await resolvePrivilege(system, helpers, config, socketGid);
  if (privilege.kind === 'separate') await tryDrop(system, helpers, privilege);
  return { socketGid, privilege };
}

/**
 * For a command: the plugin's user where this caller can change to it, else the caller itself.
 *
 * @throws ProviderError `identity_unresolved`
 */
async function checkTaskIdentity(system: GateSystem, helpers: Helpers, config: Config): Promise<ResolvedIdentity> {
  const socketGid = await resolveGroup(system, helpers, 'server.socketGroup', config.server.socketGroup);
  const privilege = await resolvePrivilege(system, helpers, config, socketGid);
  if (privilege.kind === 'same-user') return { socketGid, privilege };
  const canDrop = await tryDrop(system, helpers, privilege).then(
    () => true,
    () => false,
  );
  return { socketGid, privilege: canDrop ? privilege : { kind: 'same-user' } };
}

async function resolveGroup(system: GateSystem, helpers: Helpers, field: string, group: string): Promise<number> {
  if (/^[0-9]+$/u.test(group)) return Number(group);
  const fields = await lookUp(system, helpers, 'group', group);
  const gid = Number(fields?.[2] ?? Number.NaN);
  if (Number.isInteger(gid)) return gid;
  throw unresolved(
    `${field}: this host has no group of this name; check with \`getent group\` and create it, or use a numeric GID in a container`,
  );
}

async function resolvePrivilege(
  system: GateSystem,
  helpers: Helpers,
  config: Config,
  socketGid: number,
): Promise<Privilege> {
  const { pluginUser, pluginGroup } = config.process;
  if (pluginUser === '') {
    if (system.identity.uid !== 0) return { kind: 'same-user' };
    throw unresolved(
      'the plugin must not run as root; set process.pluginUser, or start the provider as an unprivileged user',
    );
  }
  const user = await resolveUser(system, helpers, pluginUser);
  const gid = pluginGroup === '' ? user.gid : await resolveGroup(system, helpers, 'process.pluginGroup', pluginGroup);
  if (user.uid === 0 || user.uid === system.identity.uid) {
    throw unresolved('process.pluginUser: must name an unprivileged user other than the user of the supervisor');
  }
  if (gid === 0 || gid === socketGid || system.identity.gids.includes(gid)) {
    throw unresolved(
      'process.pluginGroup: must be neither group 0, nor server.socketGroup, nor another group of the supervisor; see `id`',
    );
  }
  return { kind: 'separate', uid: user.uid, gid };
}

async function resolveUser(
  system: GateSystem,
  helpers: Helpers,
  user: string,
): Promise<{ readonly uid: number; readonly gid: number }> {
  if (/^[0-9]+$/u.test(user)) return { uid: Number(user), gid: Number(user) };
  const fields = await lookUp(system, helpers, 'passwd', user);
  const [uid, gid] = [Number(fields?.[2] ?? Number.NaN), Number(fields?.[3] ?? Number.NaN)];
  if (Number.isInteger(uid) && Number.isInteger(gid)) return { uid, gid };
  throw unresolved(
    'process.pluginUser: this host has no user of this name; check with `getent passwd` and create it, or use a numeric UID in a container',
  );
}

async function lookUp(
  system: GateSystem,
  helpers: Helpers,
  database: string,
  name: string,
): Promise<readonly string[] | undefined> {
  if (helpers.getent === undefined) return undefined;
  const { exitCode, output } = await system.runHelper(helpers.getent, [database, name]);
  const fields = output.split('\n')[0]?.split(':');
  return exitCode === 0 && fields?.[0] === name ? fields : undefined;
}

/** The same drop as for the plugin, on a child that does nothing but say what it is. */
async function tryDrop(system: GateSystem, helpers: Helpers, privilege: Privilege): Promise<void> {
  const cat = system.findHelper('cat');
  if (cat === undefined) throw unresolved('the helper cat is missing; install the package coreutils');
  const [command, ...args] = pluginCommand(helpers, privilege, [cat, '/proc/self/status']);
  const { exitCode, output } = await system.runHelper(command, args);
  const problem = exitCode === 0 ? confinementProblem(parseProcStatus(output), privilege) : 'the attempt failed';
  if (problem === undefined) return;
  const what = `process.pluginUser: the supervisor cannot change to this user (${problem})`;
  throw unresolved(`${what}; it needs CAP_SETUID, CAP_SETGID, CAP_SETPCAP and CAP_KILL`);
}

function unresolved(message: string): ProviderError {
  return new ProviderError('identity_unresolved', message);
}
