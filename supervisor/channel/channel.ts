// The supervisor's end of the channel to one plugin. It takes nothing on trust: length of a frame by its kind, schema, rate, time,
// and whether the message may come in the present state. Any violation ends the plugin, never the supervisor.

import type { Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder, maxFrameBytes } from '../../shared/channel/frame.ts';
import {
  encodeMessage,
  type PluginMessage,
  parsePluginMessage,
  type SupervisorMessage,
} from '../../shared/channel/messages.ts';
import { type ErrorClass, errorClassOf, ProviderError } from '../../shared/errors/error.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { createPatience } from './patience.ts';

/** Where the plugin is in its life, as far as the channel is concerned. */
export type ChannelPhase = 'starting' | 'serving' | 'draining' | 'task';

/** The complete list of what may be said when. */
const allowed: Readonly<Record<ChannelPhase, readonly PluginMessage['kind'][]>> = {
  starting: ['ready', 'giving_up', 'pong', 'credential_result'],
  serving: ['health', 'propose', 'credential_result', 'pong'],
  task: ['ready', 'report', 'credential_result'],
  draining: ['health', 'propose', 'credential_result', 'pong', 'drained'],
};

const maxFramesPerSecond = 50;
/** Every kind but the two below; with the rate of frames less than 1 MiB a second. */
const maxMessageBytes = 4 * 1024;
/** A report names up to 256 versions and every finding. */
const maxReportBytes = 16 * 1024;
/** A frame that has begun is complete within this time. */
const maxFrameMs = 5_000;
/** A plugin that serves leaves this much unread for a moment only. */
const maxUnreadBytes = 1024 * 1024;
const maxUnreadMs = 5_000;
/** A state and every credential, twice: what a plugin that is still starting may have before it. */
const maxQueuedBytes = 32 * 1024 * 1024;

export type SupervisorChannel = {
  readonly send: (message: SupervisorMessage) => void;
  readonly setPhase: (phase: ChannelPhase) => void;
};

export type ChannelHandlers = {
  readonly receive: (message: PluginMessage) => void;
  /** Called once, with the class of what was wrong; the channel is deaf afterwards. */
  readonly violated: (errorClass: ErrorClass) => void;
  /** Called once instead: it does not read what it is told; the channel is deaf afterwards. */
  readonly stuck: () => void;
};

export function openSupervisorChannel(
  stream: Duplex,
  handlers: ChannelHandlers,
  clock: Pick<Clock, 'nowMs' | 'after'>,
  firstPhase: ChannelPhase = 'starting',
): SupervisorChannel {
  return new Channel(stream, handlers, clock, firstPhase);
}

class Channel implements SupervisorChannel {
  readonly #stream: Duplex;
  readonly #handlers: ChannelHandlers;
  readonly #nowMs: () => number;
  readonly #decoder = new FrameDecoder((head) => this.#maxBytes(head));
  readonly #frame: ReturnType<typeof createPatience>;
  readonly #unread: ReturnType<typeof createPatience>;
  #phase: ChannelPhase;
  #isDeaf = false;
  #hasProposal = false;
  #recent: number[] = [];

  constructor(
    stream: Duplex,
    handlers: ChannelHandlers,
    clock: Pick<Clock, 'nowMs' | 'after'>,
    firstPhase: ChannelPhase,
  ) {
    this.#stream = stream;
    this.#handlers = handlers;
    this.#nowMs = clock.nowMs;
    this.#phase = firstPhase;
    this.#frame = createPatience(clock, maxFrameMs, () => this.#violate(violation('a frame that does not end')));
    this.#unread = createPatience(clock, maxUnreadMs, () => this.#giveUp());
    stream.on('data', this.#read);
    stream.on('error', () => {});
    stream.on('close', () => {
      this.#frame.end();
      this.#unread.end();
    });
  }

  send = (message: SupervisorMessage): void => {
    if (message.kind === 'committed') this.#hasProposal = false;
    if (this.#isDeaf || !this.#stream.writable) return;
    // Called when these bytes are gone, so also when the last of them are.
    this.#stream.write(encodeFrame(encodeMessage(message)), () => this.#lookAtUnread());
    if (this.#stream.writableLength > maxQueuedBytes) return this.#giveUp();
    this.#lookAtUnread();
  };

  setPhase = (next: ChannelPhase): void => {
    this.#phase = next;
  };

  /** A runtime that starts reads nothing for a while; that it starts in time is watched elsewhere. */
  #lookAtUnread(): void {
    const isServing = this.#phase === 'serving' || this.#phase === 'draining';
    const isLate = isServing && this.#stream.writableLength > maxUnreadBytes;
    // control: channel.unread
    if (isLate && !this.#isDeaf) this.#unread.begin();
    else this.#unread.end();
  }

  #maxBytes(head: string): number {
    const [, kind] = /^\{"kind":"(\w+)"/u.exec(head) ?? [];
    if (kind === 'report' && this.#phase === 'task') return maxReportBytes;
    // control: channel.message-size
    if (kind !== 'propose' || this.#phase === 'task' || this.#phase === 'starting') return maxMessageBytes;
    if (this.#hasProposal) throw violation('a second proposal before the answer to the first');
    return maxFrameBytes;
  }

  #read = (chunk: Buffer): void => {
    if (this.#isDeaf) return;
    try {
      const payloads = this.#decoder.push(chunk);
      for (const payload of payloads) if (!this.#isDeaf) this.#receive(payload);
      // Each frame has its own time, from its first byte.
      if (payloads.length > 0) this.#frame.end();
      if (this.#decoder.pendingBytes > 0 && !this.#isDeaf) this.#frame.begin(); // control: channel.frame-time
    } catch (error) {
      this.#violate(error);
    }
  };

  #receive(payload: Buffer): void {
    this.#checkRate();
    const message = parsePluginMessage(payload);
    if (!allowed[this.#phase].includes(message.kind)) throw violation('a message that is not allowed now'); // control: channel.phase
    if (message.kind === 'propose') {
      if (this.#hasProposal) throw violation('a second proposal before the answer to the first');
      this.#hasProposal = true;
    }
    if (message.kind === 'ready' && this.#phase === 'starting') this.#phase = 'serving';
    this.#handlers.receive(message);
  }

  #checkRate(): void {
    const now = this.#nowMs();
    this.#recent = this.#recent.filter((atMs) => atMs > now - 1000);
    this.#recent.push(now);
    // control: channel.frame-rate
    if (this.#recent.length > maxFramesPerSecond) throw violation('too many frames in a second');
  }

  #violate(error: unknown): void {
    this.#close();
    this.#handlers.violated(errorClassOf(error));
  }

  #giveUp(): void {
    if (this.#isDeaf) return;
    this.#close();
    this.#handlers.stuck();
  }

  #close(): void {
    this.#isDeaf = true;
    this.#frame.end();
    this.#unread.end();
    this.#stream.destroy();
  }
}

function violation(what: string): ProviderError {
  return new ProviderError('channel_violation', `the plugin sent ${what}`);
}
