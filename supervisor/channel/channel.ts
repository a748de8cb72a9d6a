// The supervisor's end of the channel to one plugin. It takes nothing on trust: frame length, schema, rate, and whether the
// message may come in the present state. Any violation ends the plugin, never the supervisor.

import type { Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder } from '../../shared/channel/frame.ts';
import {
  encodeMessage,
  type PluginMessage,
  parsePluginMessage,
  type SupervisorMessage,
} from '../../shared/channel/messages.ts';
import { type ErrorClass, errorClassOf, ProviderError } from '../../shared/errors/error.ts';

/** Where the plugin is in its life, as far as the channel is concerned. */
export type ChannelPhase = 'starting' | 'serving' | 'draining' | 'task';

/** The complete list of what may be said when. */
const allowed: Readonly<Record<ChannelPhase, readonly PluginMessage['kind'][]>> = {
  starting: ['ready', 'giving_up', 'pong', 'credential_result'],
  serving: ['health', 'propose', 'credential_result', 'pong'],
  task: ['ready', 'report', 'credential_result'],
  draining: ['health', 'propose', 'credential_result', 'pong', 'drained'],
};

const greatestFramesPerSecond = 50;
/** A state and every credential, twice; a plugin that leaves more unread does not read. */
const greatestUnreadBytes = 32 * 1024 * 1024;

export type SupervisorChannel = {
  readonly send: (message: SupervisorMessage) => void;
  readonly setPhase: (phase: ChannelPhase) => void;
};

export type ChannelHandlers = {
  readonly receive: (message: PluginMessage) => void;
  /** Called once, with the class of what was wrong; the channel is deaf afterwards. */
  readonly violated: (errorClass: ErrorClass) => void;
};

export function openSupervisorChannel(
  stream: Duplex,
  handlers: ChannelHandlers,
  nowMs: () => number,
  firstPhase: ChannelPhase = 'starting',
): SupervisorChannel {
  const decoder = new FrameDecoder();
  let phase = firstPhase;
  let isDeaf = false;
  let hasProposal = false;
  let recent: number[] = [];
  const checkRate = () => {
    const now = nowMs();
    recent = recent.filter((atMs) => atMs > now - 1000);
    recent.push(now);
    if (recent.length > greatestFramesPerSecond) throw violation('too many frames in a second');
  };
  const receiveOne = (payload: Buffer) => {
    checkRate();
    const message = parsePluginMessage(payload);
    if (!allowed[phase].includes(message.kind)) throw violation('a message that is not allowed now');
    if (message.kind === 'propose') {
      if (hasProposal) throw violation('a second proposal before the answer to the first');
      hasProposal = true;
    }
    if (message.kind === 'ready' && phase === 'starting') phase = 'serving';
    handlers.receive(message);
  };
  const violate = (error: unknown) => {
    isDeaf = true;
    stream.destroy();
    handlers.violated(errorClassOf(error));
  };
  stream.on('data', (chunk: Buffer) => {
    if (isDeaf) return;
    try {
      for (const payload of decoder.push(chunk)) if (!isDeaf) receiveOne(payload);
    } catch (error) {
      violate(error);
    }
  });
  stream.on('error', () => {});
  return {
    send: (message) => {
      if (message.kind === 'committed') hasProposal = false;
      if (isDeaf || !stream.writable) return;
      stream.write(encodeFrame(encodeMessage(message)));
      if (stream.writableLength > greatestUnreadBytes) violate(violation('nothing back: it does not read'));
    },
    setPhase: (next) => {
      phase = next;
    },
  };
}

function violation(what: string): ProviderError {
  return new ProviderError('channel_violation', `the plugin sent ${what}`);
}
