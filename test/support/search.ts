// Looks for canaries wherever a process or a directory could have left them, in every spelling they could have.

import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** The spellings under which a secret may leak: as it is, base64, base64url, hex. */
export function spellings(secret: Buffer | string): string[] {
  const bytes = Buffer.from(secret);
  const texts = [bytes.toString('base64').replace(/=+$/u, ''), bytes.toString('base64url'), bytes.toString('hex')];
  return typeof secret === 'string' ? [secret, ...texts] : texts;
}

/** Names of the canaries that stand in a text. */
export function found(text: string, canaries: Readonly<Record<string, Buffer | string>>): string[] {
  return Object.entries(canaries)
    .filter(([, secret]) => spellings(secret).some((spelling) => text.includes(spelling)))
    .map(([name]) => name);
}

/** All regular files below a directory as one text each. */
export function filesBelow(directory: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    const path = join(directory, name);
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats?.isFile() && stats.size < 8_000_000 && !name.startsWith('dist'))
      files.set(path, readFileSync(path, 'latin1'));
  }
  return files;
}

/** What others may read of a process: its environment, its command line, the names of its open files. */
export function processText(pid: number): string {
  const read = (name: string) => {
    try {
      return readFileSync(`/proc/${pid}/${name}`, 'latin1');
    } catch {
      return '';
    }
  };
  const links = readdirSync(`/proc/${pid}/fd`).map((name) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      return '';
    }
  });
  return [read('environ'), read('cmdline'), ...links].join('\n');
}
