// Credential and CA files: read safely at the start, before every relaunch and when they change; their bytes go to the
// plugin with the next generation and are not kept, only their hash is.

import { createHash } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import type { CredentialMessage, CredentialName } from '../../shared/channel/messages.ts';
import type { Config } from '../../shared/config/config.ts';
import { errorChain, ProviderError } from '../../shared/errors/error.ts';
import { type FileRules, type Reader, readTrustedFile, type TrustedFile } from './trusted-file.ts';

export type CredentialFile = { readonly name: CredentialName; readonly path: string; readonly rules: FileRules };

const mib = 1024 * 1024;

/** The files that a configuration names (configuration 7). */
export function credentialFiles(config: Config): readonly CredentialFile[] {
  return [
    {
      name: 'openbao_ca',
      path: config.openbao.caCertFile,
      rules: { field: 'openbao.caCertFile', forbiddenBits: 0o022, greatestBytes: mib },
    },
    {
      name: 'jwt',
      path: config.auth.jwt.jwtFile,
      rules: { field: 'auth.jwt.jwtFile', forbiddenBits: 0o037, greatestBytes: mib },
    },
  ];
}

export type CredentialCustody = {
  /**
   * Reads every file and refuses if one is not safe.
   *
   * @throws ProviderError `file_unsafe` naming all problems
   */
  readonly check: () => void;
  /** Every credential as a message, for a new plugin; a file that cannot be read safely is absent with its reason. */
  readonly all: () => readonly CredentialMessage[];
  /** Looks again; messages for those whose content changed. Files that are not safe are counted and change nothing. */
  readonly changed: () => readonly CredentialMessage[];
  /** Directories in which a change of a file shows. */
  readonly directories: () => readonly string[];
};

type Known = { generation: number; sha256: string; modifiedAtUnixMs: number };

/**
 * @param files  asked each time: a reload may name others
 * @param refused  told of each file that could not be read safely, and why
 */
export function createCredentialCustody(
  files: () => readonly CredentialFile[],
  reader: Reader,
  refused: (name: CredentialName, reason: string) => void,
): CredentialCustody {
  const known = new Map<CredentialName, Known>();
  const take = (file: CredentialFile): { readonly message: CredentialMessage; readonly isNew: boolean } => {
    const { bytes, modifiedAtUnixMs } = readTrustedFile(file.path, file.rules, reader);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const before = known.get(file.name);
    const isNew = before?.sha256 !== sha256;
    const generation = isNew ? (before?.generation ?? 0) + 1 : (before?.generation ?? 1);
    known.set(file.name, { generation, sha256, modifiedAtUnixMs });
    const message: CredentialMessage = {
      kind: 'credential',
      name: file.name,
      generation,
      modifiedAtUnixMs,
      bytes: bytes.toString('base64'),
    };
    bytes.fill(0);
    return { message, isNew };
  };
  return {
    directories: () => [...new Set(files().flatMap(({ path }) => directoriesOf(path)))],
    check: () => checkAll(files(), reader),
    all: () =>
      files().map((file) => {
        try {
          return take(file).message;
        } catch (error) {
          const reason = reasonOf(error);
          refused(file.name, reason);
          return { kind: 'credential', name: file.name, generation: 0, modifiedAtUnixMs: 0, absence: reason } as const;
        }
      }),
    changed: () =>
      files().flatMap((file) => {
        try {
          const { message, isNew } = take(file);
          return isNew ? [message] : [];
        } catch (error) {
          refused(file.name, reasonOf(error));
          return [];
        }
      }),
  };
}

/** The file's directory; for `…/..data/token` also the one in which the link `..data` is swapped. */
function directoriesOf(path: string): readonly string[] {
  const directory = dirname(path);
  const isLink = lstatSync(directory, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  return isLink ? [directory, dirname(directory)] : [directory];
}

function checkAll(files: readonly CredentialFile[], reader: Reader): void {
  const problems: string[] = [];
  for (const file of files) {
    try {
      const read: TrustedFile = readTrustedFile(file.path, file.rules, reader);
      read.bytes.fill(0);
    } catch (error) {
      const [first] = errorChain(error);
      problems.push(first?.message ?? `${file.rules.field}: cannot be read`);
    }
  }
  if (problems.length > 0) throw new ProviderError('file_unsafe', problems.join('; '));
}

function reasonOf(error: unknown): string {
  const reason = errorChain(error)[0]?.facts['reason'];
  return typeof reason === 'string' ? reason : 'file_unreadable';
}
