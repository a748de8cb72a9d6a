// When a provider last ended for a lost directory: one line in a file beside the state, and one beside the socket, because
// either directory may be the lost one. The files decide nothing but how soon the next such end may come.

import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs';

export type MarkPlace = {
  readonly directory: { readonly at: (name: string) => string };
  /** Base name of the state or the socket. */
  readonly name: string;
};

const maxBytes = 32;

/** The newest of the marks that can be read, Unix milliseconds; undefined: there is none. */
export function readDepartureMark(places: readonly MarkPlace[], uid: number): number | undefined {
  const found = places.map((place) => readOne(pathOf(place), uid)).filter((atUnixMs) => atUnixMs !== undefined);
  return found.length === 0 ? undefined : Math.max(...found);
}

/** @returns whether at least one mark was written */
export function writeDepartureMark(places: readonly MarkPlace[], atUnixMs: number): boolean {
  return places.map((place) => writeOne(pathOf(place), atUnixMs)).includes(true);
}

function pathOf({ directory, name }: MarkPlace): string {
  return directory.at(`.${name}.departed`);
}

function readOne(path: string, uid: number): number | undefined {
  return withFile(path, constants.O_RDONLY, (descriptor) => {
    const stats = fstatSync(descriptor);
    if (!stats.isFile() || stats.uid !== uid) return undefined;
    const bytes = Buffer.alloc(maxBytes);
    const text = bytes.toString('latin1', 0, readSync(descriptor, bytes));
    return /^[0-9]{1,15}\n$/u.test(text) ? Number(text) : undefined;
  });
}

function writeOne(path: string, atUnixMs: number): boolean {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC;
  return withFile(path, flags, (descriptor) => writeSync(descriptor, `${atUnixMs}\n`) > 0) ?? false;
}

function withFile<T>(path: string, flags: number, use: (descriptor: number) => T): T | undefined {
  try {
    const descriptor = openSync(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600);
    try {
      return use(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return undefined;
  }
}
