// The plugin process: unprivileged, without a path. Order of trust: ignore signals → take the channel → wait for `start` →
// serve. Its exit code carries no meaning; why it ends it says on the channel.

import type { CredentialMessage, PluginMessage, StartMessage, SupervisorMessage } from '../shared/channel/messages.ts';
import { requireConfig } from '../shared/config/config.ts';
import { parseProcStatus } from '../shared/confinement/confinement.ts';
import { causeOf } from '../shared/errors/cause.ts';
import { errorClassOf } from '../shared/errors/error.ts';
import { policyOf } from '../shared/errors/policy.ts';
import { createLog } from '../shared/log/logger.ts';
import { openChannel } from './channel/channel.ts';
import * as system from './system.ts';
import { type Serving, startServing } from './tasks/serve.ts';
import { tasks } from './tasks/table.ts';
import { createEventLoopLag } from './telemetry/event-loop-lag.ts';

system.ignoreSignals(); // step: plugin.signals
const eventLoopLag = createEventLoopLag(system.clock);

let serving: Serving | undefined;
let startMessage: StartMessage | undefined;
const credentials: CredentialMessage[] = [];
const early: SupervisorMessage[] = [];
/** A plugin that proves itself before it serves needs newer credentials at once. */
let takeCredential: ((message: CredentialMessage) => void) | undefined;

const channel = openChannel(system.openChannelStream(), receive, () => process.exit(1));
const send = (message: PluginMessage) => channel.send(message);

/** `start` and the credentials it announces come first; nothing is opened before they are complete. */
function receive(message: SupervisorMessage): void {
  if (serving !== undefined) return serving.receive(message);
  const isComplete = () => startMessage !== undefined && credentials.length >= startMessage.credentialCount;
  if (message.kind === 'start' && startMessage === undefined) startMessage = message;
  else if (message.kind === 'credential' && !isComplete()) credentials.push(message);
  else if (message.kind === 'credential' && takeCredential !== undefined) return takeCredential(message);
  else return void early.push(message);
  if (startMessage !== undefined && isComplete()) void start(startMessage);
}

const confinement = () => ({
  confinement: parseProcStatus(system.readProcStatus()),
  isPermissionModelOn: system.isPermissionModelOn(),
});

async function start(message: StartMessage): Promise<void> {
  if (message.task !== 'serve') {
    return tasks[message.task](message, credentials, { clock: system.clock, random: system.random, send, confinement });
  }
  try {
    const config = requireConfig(message.config, { overrides: new Map(Object.entries(message.overrides)) });
    const { level } = config.logging;
    serving = await startServing(message, credentials, {
      clock: system.clock,
      random: system.random,
      randomBytes: system.randomBytes,
      // The supervisor reads it, and writes it in the format of the configuration.
      log: createLog({ process: 'plugin', level, format: 'json' }, system.clock, system.writeLine),
      send,
      confinement,
      memoryUsage: system.memoryUsage,
      eventLoopLag,
      credentialsArrive: (take) => {
        takeCredential = take;
      },
    });
  } catch (error) {
    const { probeClass } = policyOf(error);
    const { finding } = causeOf(error);
    const known = finding === undefined ? {} : { finding };
    const canRelaunchHelp = errorClassOf(error) === 'internal';
    return send({ kind: 'giving_up', class: probeClass, ...known, canRelaunchHelp });
  }
  for (const waiting of early.splice(0)) serving.receive(waiting);
  await serving.ended;
  process.exit(0);
}
