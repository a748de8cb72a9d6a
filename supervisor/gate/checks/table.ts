// The checks of the gate in the order of trust: each relies on what those before it have found. A new one is one file and one row.

import { type CheckId, checkIds } from '../../refusal.ts';
import type { FactName, Facts, GateCheck, Visit } from './check.ts';
import { config } from './config.ts';
import { credentials } from './credentials.ts';
import { identity } from './identity.ts';
import { listeners } from './listeners.ts';
import { locks, stateLock } from './lock.ts';
import { runtime } from './runtime.ts';
import { runtimeDirectory } from './runtime-directory.ts';
import { socket } from './socket.ts';
import { state } from './state.ts';

export type Row = {
  readonly id: CheckId;
  readonly title: string;
  readonly needs: readonly FactName[];
  readonly gives: readonly FactName[];
  /** Only those of `needs` have to be there. */
  readonly look: (facts: Facts, visit: Visit) => Promise<Partial<Facts>>;
  readonly take: (facts: Facts, visit: Visit) => Promise<Partial<Facts>>;
};

type Unnamed = Omit<Row, 'id'>;

/** Every check has its place among the others; what it needs is known by name. */
function place<Needs extends FactName, Gives extends FactName, Taken extends FactName>(
  check: GateCheck<Needs, Gives, Taken>,
): Unnamed {
  const { title, needs, gives, look, take = look } = check;
  return {
    title,
    needs,
    gives,
    look: async (facts, visit) => look(facts, visit),
    take: async (facts, visit) => take(facts, visit),
  };
}

const [forAll, onlyServing] = [{ isForCommands: true }, { isForCommands: false }] as const;

const table = {
  'gate.runtime': { ...place(runtime), ...forAll },
  'gate.config': { ...place(config), ...forAll },
  'gate.credentials': { ...place(credentials), ...forAll },
  'gate.identity': { ...place(identity), ...forAll },
  'gate.runtime_directory': { ...place(runtimeDirectory), ...onlyServing },
  'gate.lock': { ...place(locks), ...onlyServing },
  'gate.state': { ...place(state), ...forAll },
  'gate.socket': { ...place(socket), ...onlyServing },
  'gate.listeners': { ...place(listeners), ...onlyServing },
} as const satisfies Record<CheckId, Unnamed & { readonly isForCommands: boolean }>;

const named = (id: CheckId): Row => ({ id, ...table[id] });

/** In their order. */
export const servingChecks: readonly Row[] = checkIds.map(named);

/** A command has no socket: it needs only the lock of the state. */
export const commandChecks: readonly Row[] = checkIds.flatMap((id) => {
  if (id === 'gate.lock') return { id, ...place(stateLock) };
  return table[id].isForCommands ? named(id) : [];
});
