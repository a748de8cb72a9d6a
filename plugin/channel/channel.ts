// The plugin's end of the channel: descriptor 3. End-of-file means that the supervisor is gone, and so are we.

import type { Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder } from '../../shared/channel/frame.ts';
import {
  encodeMessage,
  type PluginMessage,
  parseSupervisorMessage,
  type SupervisorMessage,
} from '../../shared/channel/messages.ts';

export type PluginChannel = { readonly send: (message: PluginMessage) => void };

/**
 * @param receive  gets each message in order
 * @param lost  called once, when the channel ended or said something that is not in its schema
 */
export function openChannel(
  stream: Duplex,
  receive: (message: SupervisorMessage) => void,
  lost: (error: unknown) => void,
): PluginChannel {
  const decoder = new FrameDecoder();
  let isLost = false;
  const lose = (error: unknown) => {
    if (isLost) return;
    isLost = true;
    lost(error);
  };
  stream.on('data', (chunk: Buffer) => {
    try {
      for (const payload of decoder.push(chunk)) receive(parseSupervisorMessage(payload));
    } catch (error) {
      lose(error);
    }
  });
  stream.on('end', () => lose(undefined));
  stream.on('close', () => lose(undefined));
  stream.on('error', (error) => lose(error));
  return {
    send: (message) => {
      if (!isLost) stream.write(encodeFrame(encodeMessage(message)));
    },
  };
}
