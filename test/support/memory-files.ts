// The file operations of a save in memory: what is synced survives a crash, and each operation can be the last one.

import type { StateFiles } from '../../supervisor/custody/state-files.ts';

export type MemoryFiles = StateFiles & {
  readonly contents: Map<string, string>;
  /** Names of the operations done so far. */
  readonly done: string[];
  /** Fails from this operation on (counted from 1); 0: never. `crash` leaves temporary files, `fail` lets clean-up run. */
  failFrom: number;
  isOneFailure: boolean;
};

export function createMemoryFiles(contents = new Map<string, string>()): MemoryFiles {
  const step = (name: string) => {
    files.done.push(name);
    const count = files.done.length;
    const isFault = files.failFrom > 0 && (files.isOneFailure ? count === files.failFrom : count >= files.failFrom);
    if (isFault) throw new Error('the disk is gone');
  };
  const files: MemoryFiles = {
    contents,
    done: [],
    failFrom: 0,
    isOneFailure: false,
    checkDirectory: async () => step('checkDirectory'),
    checkTarget: async () => step('checkTarget'),
    create: async (name) => {
      step('create');
      contents.set(name, '');
      return {
        write: async (text) => {
          step('write');
          contents.set(name, text);
        },
        chmod: async () => step('chmod'),
        sync: async () => step('sync'),
        close: async () => step('close'),
      };
    },
    rename: async (from, to) => {
      step('rename');
      contents.set(to, contents.get(from) ?? '');
      contents.delete(from);
    },
    remove: async (name) => {
      step('remove');
      contents.delete(name);
    },
    syncDirectory: async () => step('syncDirectory'),
    list: () => [...contents.keys()],
    read: async (name) => contents.get(name),
  };
  return files;
}
