// What a plugin writes to its standard error: a pipe of its own, read here, so that it silences nobody and says nothing in our name.
// Lines of its log go on as its own; anything else, such as the last words of its runtime, is kept as text.

import type { Readable } from 'node:stream';
import { type LogEvent, parseLogLine } from '../../shared/log/relay.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { createSpacing } from '../../shared/time/spacing.ts';

/** A line of the log with every field at its longest is shorter; of a longer one the begin is kept. */
const maxLineBytes = 8 * 1024;
/** A plugin logs a few lines a minute, and at level debug one a call. */
const maxLinesPerSecond = 200;
/** More in one second is left in the pipe until the next. */
const maxBytesPerSecond = 4 * 1024 * 1024;
/** What a line costs beside its bytes: a flood of short ones is left in the pipe sooner. */
const lineCostBytes = 64;
const droppedToldEveryMs = 60_000;

export type OutputSink = {
  readonly event: (event: LogEvent) => void;
  /** At most 8 KiB, as it came: control characters are the sink's business. */
  readonly text: (text: string) => void;
  /** So many lines were dropped since this was last said. */
  readonly dropped: (lines: number) => void;
};

/** Reads to the end of the pipe. Never throws, and never lets the plugin wait for long. */
export function readPluginOutput(stream: Readable, clock: Pick<Clock, 'nowMs' | 'after'>, sink: OutputSink): void {
  new Output(stream, clock, sink);
}

class Output {
  readonly #stream: Readable;
  readonly #clock: Pick<Clock, 'nowMs' | 'after'>;
  readonly #sink: OutputSink;
  readonly #mayTellDropped: () => boolean;
  #line: Buffer[] = [];
  #lineBytes = 0;
  #isCut = false;
  #second = { atMs: Number.NEGATIVE_INFINITY, lines: 0, bytes: 0 };
  #dropped = 0;

  constructor(stream: Readable, clock: Pick<Clock, 'nowMs' | 'after'>, sink: OutputSink) {
    this.#stream = stream;
    this.#clock = clock;
    this.#sink = sink;
    this.#mayTellDropped = createSpacing(clock, droppedToldEveryMs);
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    // Of a pipe that is cut there is no end, only a close.
    stream.on('close', () => this.#end());
    stream.on('error', () => {});
  }

  #read(chunk: Buffer): void {
    this.#beginSecond();
    this.#second.bytes += chunk.length;
    for (let at = 0; at < chunk.length; ) {
      const newline = chunk.indexOf(0x0a, at);
      const end = newline < 0 ? chunk.length : newline;
      if (newline >= 0) this.#endLine(chunk.subarray(at, end));
      else this.#collect(chunk.subarray(at, end));
      at = end + 1;
    }
    if (this.#second.bytes <= maxBytesPerSecond) return;
    this.#stream.pause();
    this.#clock.after(1_000, () => this.#stream.resume());
  }

  #beginSecond(): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#second.atMs < 1_000) return;
    this.#second = { atMs: nowMs, lines: 0, bytes: 0 };
    this.#tellDropped();
  }

  /** A copy: what is kept of a chunk does not keep all of it. */
  #collect(part: Buffer): void {
    if (part.length === 0) return;
    const kept = part.subarray(0, maxLineBytes - this.#lineBytes);
    this.#isCut ||= kept.length < part.length;
    if (kept.length > 0) this.#line.push(Buffer.from(kept));
    this.#lineBytes += kept.length;
    // A line that comes byte by byte is not kept in as many pieces.
    if (this.#line.length > 64) this.#line = [Buffer.concat(this.#line)];
  }

  /** Once this second has had its lines, empty ones among them, the next ones are counted and not even put together. */
  #endLine(last: Buffer): void {
    this.#second.bytes += lineCostBytes; // control: output.line-cost
    this.#second.lines += 1;
    // control: plugin-output.lines
    if (this.#second.lines <= maxLinesPerSecond) {
      this.#collect(last);
      return this.#finish();
    }
    if (this.#lineBytes + last.length > 0) this.#dropped += 1;
    this.#forgetLine();
  }

  #finish(): void {
    const text = Buffer.concat(this.#line).toString('utf8').replace(/\r$/u, '');
    const isCut = this.#isCut;
    this.#forgetLine();
    if (text === '') return;
    const event = isCut ? undefined : parseLogLine(text);
    if (event === undefined) this.#sink.text(text);
    else this.#sink.event(event);
  }

  #forgetLine(): void {
    if (this.#lineBytes === 0) return;
    this.#line = [];
    this.#lineBytes = 0;
    this.#isCut = false;
  }

  #end(): void {
    this.#finish();
    if (this.#dropped > 0) this.#sink.dropped(this.#dropped);
    this.#dropped = 0;
  }

  #tellDropped(): void {
    if (this.#dropped === 0 || !this.#mayTellDropped()) return;
    this.#sink.dropped(this.#dropped);
    this.#dropped = 0;
  }
}
