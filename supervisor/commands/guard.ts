// What `serve` keeps an eye on: the directories and files in custody, and whether this process has to make room for a new one
// because a directory is gone. Wires the watch to the life machine and to the departure; decides nothing itself.

import { type Counters, type PortName, portNames } from '../../shared/channel/messages.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { readDepartureMark, writeDepartureMark } from '../custody/departure-mark.ts';
import type { ListenerLook } from '../custody/listener-look.ts';
import { bindPort, type Listeners, type Ports, portsTaken } from '../custody/listeners.ts';
import { splitPath } from '../custody/pinned-directory.ts';
import { watchPorts } from '../custody/port-watch.ts';
import { watchCustody } from '../custody/watch-custody.ts';
import type { Passed } from '../gate/gate.ts';
import { createDeparture, departureReasons } from '../lifecycle/departure.ts';
import type { Loop } from '../lifecycle/loop.ts';

export type GuardDeps = {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  /** What is held at this moment. */
  readonly passed: () => Passed;
  readonly listeners: () => Listeners;
  /** These count from now on. */
  readonly listenersChanged: (listeners: Listeners) => void;
  /** Ports that the incumbent, or the one that is being launched, was given. */
  readonly portsGiven: () => Ports | undefined;
  readonly loop: Loop;
  readonly listenerLook: Pick<ListenerLook, 'isSocketShut'>;
  /** Binds ports anew that were shut down. */
  readonly renewPorts: (when: 'resting' | 'serving') => Promise<void>;
  /** These could not be opened by the plugin that was given them. */
  readonly portsUnopened: (names: readonly PortName[]) => void;
  /** Why this process is about to end. */
  readonly departing: (reason: string) => void;
};

export type Guard = {
  /** Other credential directories may be named now. */
  readonly rewatch: () => void;
  /** Looks at the directories before one of them is used. */
  readonly look: () => void;
  /** The state directory is needed, and it is gone. */
  readonly stateNeeded: () => void;
  /** A plugin could not open ports that it was given. */
  readonly portsUnopened: (names: readonly PortName[]) => void;
};

export function guardCustody(deps: GuardDeps): Guard {
  const { clock, log, loop, passed, uid } = deps;
  const places = () => [
    { directory: passed().stateDirectory, name: splitPath(passed().config.state.path).name },
    { directory: passed().socket.directory, name: passed().socket.name },
  ];
  const before = readDepartureMark(places(), uid);
  const departure = createDeparture({
    clock,
    log,
    isUnderServiceManager: (deps.environment['NOTIFY_SOCKET'] ?? '') !== '',
    isCredentialGood: loop.hasCredential,
    isServing: loop.hasPlugin,
    lastAtUnixMs: () => before,
    note: (atUnixMs) => writeDepartureMark(places(), atUnixMs),
    depart: (name) => {
      deps.departing(departureReasons[name]);
      loop.event({ kind: 'depart' });
    },
  });
  const watch = watchCustody({
    clock,
    log,
    counters: deps.counters,
    runtime: () => passed().socket.directory,
    state: () => passed().stateDirectory,
    isNameOurs: () => deps.listeners().socket.isOurs(),
    credentialDirectories: () => passed().credentials.directories(),
    credentialsChanged: loop.credentialsChanged,
    countersChanged: loop.countersChanged,
    nameLost: () => loop.event({ kind: 'name_lost' }),
    nameLooked: () => void lookAtListeners(deps).catch(() => {}),
    directoriesLooked: departure.looked,
  });
  const stateNeeded = () => {
    watch.look();
    departure.saveDue();
  };
  const settings = () => passed().config.server;
  const given = (name: PortName) => deps.portsGiven()?.[name];
  /** One that was bound again is another one. */
  const isUnserved = (name: PortName) => {
    const port = deps.listeners()[name];
    return port !== undefined && port !== given(name); // control: guard.port-given
  };
  const isWithheld = (name: PortName) => deps.listeners()[name] === undefined && given(name) !== undefined;
  const tellPorts = watchPorts({
    clock,
    log,
    counters: deps.counters,
    taken: () => portsTaken(settings(), deps.listeners()),
    bind: (name) => bindPort(settings(), name),
    bound: (name, port) => deps.listenersChanged({ ...deps.listeners(), [name]: port }),
    unserved: () => portNames.filter(isUnserved),
    withheld: () => portNames.filter(isWithheld),
    countersChanged: loop.countersChanged,
    replace: () => loop.event({ kind: 'port_bound' }),
  });
  const portsUnopened = (names: readonly PortName[]) => {
    deps.portsUnopened(names);
    tellPorts();
  };
  return { rewatch: watch.rewatch, look: watch.look, stateNeeded, portsUnopened };
}

/** Whether anybody can connect: an incumbent that shut its own listener down says that all is well. */
async function lookAtListeners({ loop, listeners, listenerLook, passed, renewPorts }: GuardDeps): Promise<void> {
  const { directory, name } = passed().socket;
  if (await listenerLook.isSocketShut(listeners(), directory.at(name))) loop.event({ kind: 'name_lost' });
  await renewPorts(loop.isServing() ? 'serving' : 'resting');
}
