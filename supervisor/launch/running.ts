// One plugin under the supervisor's eyes: its process, its end of the channel, what it was started with. Starts and greets
// it; which plugin is the incumbent is the loop's business.

import type {
  Counters,
  CredentialMessage,
  CredentialName,
  HealthMessage,
  PluginMessage,
  StartMessage,
} from '../../shared/channel/messages.ts';
import type { Privilege } from '../../shared/confinement/confinement.ts';
import { type ErrorClass, errorClassOf } from '../../shared/errors/error.ts';
import { encodeState } from '../../shared/registry/state.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import { openSupervisorChannel, type SupervisorChannel } from '../channel/channel.ts';
import type { CredentialCustody } from '../custody/credentials.ts';
import type { StateStore } from '../custody/state-store.ts';
import type { Child, ChildEnd } from './child.ts';
import type { Liveness } from './liveness.ts';

/** What the gate left in our hands for a plugin. */
export type Custody = {
  readonly store: Pick<StateStore, 'commit' | 'current' | 'stable' | 'idle' | 'isClockBehind'>;
  /** Whether the path of the state directory no longer leads to the one that is held. */
  readonly isStateDirectoryGone: () => boolean;
  readonly credentials: Pick<CredentialCustody, 'look'>;
  /** Those that the plugin logs in with. */
  readonly loginCredentials: readonly CredentialName[];
  readonly privilege: Privilege;
  /** Starts the process on the listeners of this custody. */
  readonly launch: () => Child;
  /** The `start` message without what changes between plugins. */
  readonly start: Omit<StartMessage, 'state' | 'stable' | 'counters' | 'credentialCount' | 'listen'>;
};

export type Proposal = Extract<PluginMessage, { kind: 'propose' }>;

export type Running = {
  readonly launch: number;
  readonly child: Child;
  readonly channel: SupervisorChannel;
  /** The state it was started with. */
  readonly startedWith: string | undefined;
  readonly custody: Custody;
  /** `when_healthy`: by the time it is ready it has proven itself. */
  readonly listen: StartMessage['listen'];
  liveness: Liveness | undefined;
  lastHealth: HealthMessage | undefined;
  cancelKill: Cancel;
  /** On the caller's monotonic clock. */
  readonly startedAtMs: number;
  /** The generation of each credential that it said it uses. */
  readonly inUse: Map<CredentialName, number>;
  /** The newest generation of each credential that it got. */
  readonly sent: Map<CredentialName, number>;
  /** A proposal that came before the hand-over to it. */
  early: Proposal | undefined;
};

export type RunningEvents = {
  readonly receive: (message: PluginMessage, launch: number) => void;
  readonly violated: (errorClass: ErrorClass, running: Running) => void;
  /** It does not read what it is told. */
  readonly stuck: (running: Running) => void;
  readonly ended: (running: Running, end: ChildEnd) => void;
  /** What it was to be told could not be said; it is being killed. */
  readonly notGreeted: (errorClass: ErrorClass, running: Running) => void;
};

/** Launches a plugin, sends `start` and every credential, and reports what it says and how it ends. */
export function startRunning(
  custody: Custody,
  launch: number,
  greeting: { readonly listen: StartMessage['listen']; readonly counters: Counters; readonly clock: Clock },
  events: RunningEvents,
): Running {
  const child = custody.launch(); // step: plugin.launch
  const channel = openSupervisorChannel(
    child.channel,
    {
      receive: (message) => events.receive(message, launch),
      violated: (errorClass) => events.violated(errorClass, running),
      stuck: () => events.stuck(running),
    },
    greeting.clock,
  );
  const running: Running = {
    launch,
    child,
    channel,
    startedWith: custody.store.current?.currentHash,
    custody,
    listen: greeting.listen,
    liveness: undefined,
    lastHealth: undefined,
    cancelKill: () => {},
    startedAtMs: greeting.clock.nowMs(),
    inUse: new Map(),
    sent: new Map(),
    early: undefined,
  };
  try {
    greet(running, greeting.listen, greeting.counters); // step: plugin.greet
  } catch (error) {
    // A plugin that was never greeted says nothing; its end is what the life machine hears of.
    events.notGreeted(errorClassOf(error), running);
    child.kill();
  }
  void child.ended.then((end) => events.ended(running, end));
  return running;
}

function greet({ channel, custody, sent }: Running, listen: StartMessage['listen'], counters: Counters): void {
  const { store, credentials, start } = custody;
  const messages = credentials.look();
  channel.send({
    ...start,
    listen,
    counters,
    credentialCount: messages.length,
    ...(store.current === undefined ? {} : { state: encodeState(store.current) }),
    ...(store.stable === undefined ? {} : { stable: store.stable }),
  });
  for (const message of messages) {
    sent.set(message.name, message.generation);
    channel.send(message);
  }
}

/** Sends a generation that this plugin does not have yet; an absent file takes nothing away from it. */
export function sendCredential({ channel, sent }: Running, message: CredentialMessage): void {
  if (message.generation <= (sent.get(message.name) ?? 0)) return; // control: credential.generation
  sent.set(message.name, message.generation);
  channel.send(message);
}
