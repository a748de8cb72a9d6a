// Credential and CA files: read safely at the start, before every relaunch and when they change; their bytes go to the
// plugin with the next generation and are not kept, only their hash is.

import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { type CredentialMessage, type CredentialName, credentialNames } from '../../shared/channel/messages.ts';
import type { Config } from '../../shared/config/config.ts';
import { isNeeded } from '../../shared/config/login-methods.ts';
import { errorChain, ProviderError } from '../../shared/errors/error.ts';
import { isLink } from './credential-directories.ts';
import { type FileRules, type Reader, readTrustedFile, type TrustedFile } from './trusted-file.ts';

export type CredentialFile = { readonly name: CredentialName; readonly path: string; readonly rules: FileRules };

const kib = 1024;
const rule = (field: string, forbiddenBits: number, maxBytes = kib * kib): FileRules => ({
  field,
  forbiddenBits,
  maxBytes,
});

/** All six kinds that can be in custody, with the rules of their files (spec/supervisor 2.1). */
export const credentialRules = {
  openbao_ca: rule('openbao.caCertFile', 0o022),
  jwt: rule('auth.jwt.jwtFile', 0o037),
  client_secret: rule('auth.jwt.oauth2.clientSecretFile', 0o137),
  issuer_ca: rule('auth.jwt.oauth2.caCertFile', 0o022),
  client_chain: rule('auth.cert.pkcs11.certificateFile', 0o037),
  pin: rule('auth.cert.pkcs11.pinFile', 0o037, 4 * kib),
} as const satisfies Record<CredentialName, FileRules>;

type LoginFiles = Pick<Config, 'credentialPaths'> & { readonly auth: Pick<Config['auth'], 'method'> };

/** The files that the login method of a configuration needs, as far as the configuration names them. */
export function credentialFiles({ auth, credentialPaths }: LoginFiles): readonly CredentialFile[] {
  return credentialNames
    .filter((name) => isNeeded(name, auth.method))
    .map((name) => ({ name, path: credentialPaths[name], rules: credentialRules[name] }))
    .filter(({ path }) => path !== '');
}

export type CredentialCustody = {
  /**
   * Reads every file and refuses if one is not safe.
   *
   * @throws ProviderError `file_unsafe` naming all problems
   */
  readonly check: () => void;
  /**
   * Reads every file: one message each, with the generation that its content and its identity on disk have. A file that
   * cannot be read safely is absent with its reason, which is counted; it changes nothing for a plugin that has it already.
   */
  readonly look: () => readonly CredentialMessage[];
  /** Directories in which a change of a file shows. */
  readonly directories: () => readonly string[];
  /**
   * Custody of the files of another configuration. It goes on from the generations that are known here; from then on what is read
   * by one does not show in the other.
   */
  readonly fork: (files: readonly CredentialFile[], news: FileNews) => CredentialCustody;
};

export type FileNews = {
  /** A file could not be read safely: why, and what it has to be. */
  readonly refused: (name: CredentialName, reason: string, hint: string) => void;
  /** A file could be read safely. */
  readonly read: (name: CredentialName) => void;
};

/** For who only looks. */
export const noNews: FileNews = { refused: () => {}, read: () => {} };

/** Says nothing until it counts: of files that only a prepared configuration names. */
export function newsOnce(counts: () => boolean, news: FileNews): FileNews {
  return {
    refused: (...told) => {
      if (counts()) news.refused(...told);
    },
    read: (...told) => {
      if (counts()) news.read(...told);
    },
  };
}

type Known = { readonly generation: number; readonly sha256: string; readonly identity: string };

/** @param news  told of each file whether it could be read safely */
export function createCredentialCustody(
  files: readonly CredentialFile[],
  reader: Reader,
  news: FileNews,
  before: ReadonlyMap<CredentialName, Known> = new Map(),
): CredentialCustody {
  const known = new Map(before);
  const take = (file: CredentialFile): CredentialMessage => {
    const { bytes, modifiedAtUnixMs, identity } = readTrustedFile(file.path, file.rules, reader);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const before = known.get(file.name);
    // The same bytes written again are an administrator's wish to have them tried again.
    const isNew = before?.sha256 !== sha256 || before.identity !== identity;
    const generation = (before?.generation ?? 0) + (isNew ? 1 : 0);
    known.set(file.name, { generation, sha256, identity });
    const base64 = bytes.toString('base64');
    bytes.fill(0); // control: credentials.wipe-sent
    return { kind: 'credential', name: file.name, generation, modifiedAtUnixMs, bytes: base64 };
  };
  return {
    directories: () => [...new Set(files.flatMap(({ path }) => directoriesOf(path)))],
    check: () => checkAll(files, reader),
    fork: (others, newsOfOthers) => createCredentialCustody(others, reader, newsOfOthers, known),
    look: () =>
      files.map((file) => {
        try {
          const message = take(file);
          news.read(file.name);
          return message;
        } catch (error) {
          const reason = reasonOf(error);
          news.refused(file.name, reason, sentenceOf(file, error));
          return { kind: 'credential', name: file.name, generation: 0, modifiedAtUnixMs: 0, absence: reason } as const;
        }
      }),
  };
}

/** The file's directory; for `…/..data/token` also the one in which the link `..data` is swapped. */
function directoriesOf(path: string): readonly string[] {
  const directory = dirname(path);
  return isLink(directory) ? [directory, dirname(directory)] : [directory];
}

function checkAll(files: readonly CredentialFile[], reader: Reader): void {
  const problems: string[] = [];
  const fields: string[] = [];
  for (const file of files) {
    try {
      const read: TrustedFile = readTrustedFile(file.path, file.rules, reader);
      read.bytes.fill(0); // control: credentials.wipe-checked
    } catch (error) {
      fields.push(file.rules.field);
      problems.push(sentenceOf(file, error));
    }
  }
  if (problems.length > 0)
    throw new ProviderError('file_unsafe', problems.join('; '), { facts: { field: fields.join(',') } });
}

function sentenceOf({ rules }: CredentialFile, error: unknown): string {
  return errorChain(error)[0]?.message ?? `${rules.field}: cannot be read`;
}

function reasonOf(error: unknown): string {
  const reason = errorChain(error)[0]?.facts['reason'];
  return typeof reason === 'string' ? reason : 'file_unreadable';
}
