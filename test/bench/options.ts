// What `npm run bench -- …` takes.

import { parseArgs } from 'node:util';

export type Options = {
  /** Of each measurement of calls. */
  readonly seconds: number;
  /** How often the targets take their turns; medians are of these. */
  readonly rounds: number;
  readonly isJson: boolean;
  /** 1 and 1 000 versions, 1 and 64 connections. Two minutes. */
  readonly hasFlat: boolean;
  /** A million Decrypts. Some ten minutes. */
  readonly hasMemory: boolean;
  /** The metadata probe with 1 and 3 000 versions. Three minutes. */
  readonly hasProbe: boolean;
  /** A real API server that starts with 2 000 seeds. A minute, and what it takes to build one. */
  readonly hasColdStart: boolean;
  /** Nothing but the long parts that are named. */
  readonly isOnlyLong: boolean;
  /** Without the Go client, although there is Go. */
  readonly isOld: boolean;
};

/** @throws Error for a word that is none of these */
export function readOptions(words: readonly string[]): Options {
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    args: [...words],
    options: {
      json: flag,
      flat: flag,
      memory: flag,
      probe: flag,
      'cold-start': flag,
      only: flag,
      'node-client': flag,
      seconds: { type: 'string', default: '1' },
      rounds: { type: 'string', default: '3' },
    },
  });
  return {
    seconds: positive('seconds', values.seconds),
    rounds: positive('rounds', values.rounds),
    isJson: values.json,
    hasFlat: values.flat,
    hasMemory: values.memory,
    hasProbe: values.probe,
    hasColdStart: values['cold-start'],
    isOnlyLong: values.only,
    isOld: values['node-client'],
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new Error(`--${name} must be a number above 0`);
  return value;
}
