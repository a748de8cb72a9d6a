// The Transit engine of the development server: real AES-256-GCM, versions, restrictions and the error texts of OpenBao
// 2.6, in OpenBao's order of checks.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { type Answer, noContent, notImplemented, Refusal, refuse, success, wrapped } from './answer.ts';
import { decodeGoBase64 } from './go-base64.ts';
import { answerItems, type BatchItem, readItems } from './transit-batch.ts';

type Version = { readonly material: Buffer; createdAtUnix: number };

export type TransitKey = {
  readonly name: string;
  type: string;
  versions: Map<number, Version>;
  latestVersion: number;
  minAvailableVersion: number;
  minDecryptionVersion: number;
  minEncryptionVersion: number;
  isExportable: boolean;
  isPlaintextBackupAllowed: boolean;
  isDeletionAllowed: boolean;
  isSoftDeleted: boolean;
  isImported: boolean;
  isDerived: boolean;
  isConvergent: boolean;
  supportsEncryption: boolean;
  supportsDecryption: boolean;
  autoRotatePeriodSeconds: number;
};

const keyName = /^[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_])?$/u;

export class TransitEngine {
  readonly keys = new Map<string, TransitKey>();
  isUpsertDisabled = false;
  /** False: a server of a version that ignores `batch_input`. */
  knowsBatches = true;

  /** An engine of its own as this one is now. */
  copy(): TransitEngine {
    const copy = new TransitEngine();
    copy.isUpsertDisabled = this.isUpsertDisabled;
    for (const [name, key] of this.keys) copy.keys.set(name, { ...key, versions: new Map(key.versions) });
    return copy;
  }

  /** Whether a path of this mount asks for `create` instead of `update`. */
  needsCreate(path: string): boolean {
    const [, name] = /^encrypt\/([^/]+)$/u.exec(path) ?? [];
    return name !== undefined && !this.keys.has(name);
  }

  handle(method: 'read' | 'write' | 'delete', path: string, body: Record<string, unknown>, nowUnix: number): Answer {
    const [area = '', name = '', action = ''] = path.split('/');
    if (path === 'config/keys') return this.#configKeys(method, body);
    if (name !== '' && !keyName.test(name)) return wrapped(404, 'unsupported path');
    if (area === 'encrypt' && action === '')
      return method === 'write' ? this.#encrypt(name, body, nowUnix) : unsupported;
    if (area === 'decrypt' && action === '') return method === 'write' ? this.#decrypt(name, body) : unsupported;
    if (area === 'keys') return this.#keys(method, name, action, body, nowUnix);
    if (['backup', 'restore', 'rewrap', 'datakey', 'export', 'cache-config'].includes(area))
      return notImplemented(area);
    return wrapped(404, 'unsupported path');
  }

  create(name: string, nowUnix: number): TransitKey {
    const key: TransitKey = {
      name,
      type: 'aes256-gcm96',
      versions: new Map([[1, { material: randomBytes(32), createdAtUnix: nowUnix }]]),
      latestVersion: 1,
      minAvailableVersion: 0,
      minDecryptionVersion: 1,
      minEncryptionVersion: 0,
      isExportable: false,
      isPlaintextBackupAllowed: false,
      isDeletionAllowed: false,
      isSoftDeleted: false,
      isImported: false,
      isDerived: false,
      isConvergent: false,
      supportsEncryption: true,
      supportsDecryption: true,
      autoRotatePeriodSeconds: 0,
    };
    this.keys.set(name, key);
    return key;
  }

  #configKeys(method: string, body: Record<string, unknown>): Answer {
    if (method === 'write') this.isUpsertDisabled = body['disable_upsert'] === true;
    return method === 'delete' ? unsupported : success({ disable_upsert: this.isUpsertDisabled });
  }

  #encrypt(name: string, body: Record<string, unknown>, nowUnix: number): Answer {
    const items = this.#items(body, 'plaintext');
    if (items !== undefined && 'status' in items) return items;
    if (items === undefined && !('plaintext' in body)) return refuse(400, 'missing plaintext to encrypt');
    const key = this.keys.get(name) ?? (this.isUpsertDisabled ? undefined : this.create(name, nowUnix));
    if (key === undefined) return refuse(400, 'encryption key not found');
    if (items === undefined) return encryptOne(key, body);
    const one = (item: BatchItem) => answered(() => encryptOne(key, item));
    return answerItems(items, one, 'plaintext', body['partial_failure_response_code']);
  }

  #decrypt(name: string, body: Record<string, unknown>): Answer {
    const items = this.#items(body, 'ciphertext');
    if (items !== undefined && 'status' in items) return items;
    if (items === undefined && textOf(body['ciphertext']) === '') return refuse(400, 'missing ciphertext to decrypt');
    const key = this.keys.get(name);
    if (key === undefined) return refuse(400, 'encryption key not found');
    if (items === undefined) return decryptOne(key, body);
    const one = (item: BatchItem) => answered(() => decryptOne(key, item));
    return answerItems(items, one, 'ciphertext', body['partial_failure_response_code']);
  }

  /** Undefined: a single request. */
  #items(
    body: Record<string, unknown>,
    required: 'plaintext' | 'ciphertext',
  ): readonly BatchItem[] | Answer | undefined {
    const input = body['batch_input'];
    if (input === undefined || input === null) return undefined;
    return this.knowsBatches ? readItems(input, required) : undefined;
  }

  #keys(method: string, name: string, action: string, body: Record<string, unknown>, nowUnix: number): Answer {
    if (name === '') {
      const names = [...this.keys.keys()].sort();
      return names.length === 0 ? refuse(404) : success({ keys: names });
    }
    const key = this.keys.get(name);
    if (action === '') return this.#key(method, name, key, body, nowUnix);
    if (method === 'read') return unsupported;
    if (action === 'rotate') return rotate(key, nowUnix);
    if (action === 'config') return configure(key, name, body);
    if (action === 'trim') return trim(key, body);
    if (action === 'soft-delete' || action === 'soft-delete-restore') {
      if (key === undefined) return noContent;
      key.isSoftDeleted = action === 'soft-delete';
      return success(describe(key));
    }
    return wrapped(404, 'unsupported path');
  }

  #key(
    method: string,
    name: string,
    key: TransitKey | undefined,
    body: Record<string, unknown>,
    nowUnix: number,
  ): Answer {
    if (method === 'read') return key === undefined ? refuse(404) : success(describe(key));
    if (method === 'delete') return this.#delete(name, key);
    if (key !== undefined) return success(describe(key));
    const type = body['type'] ?? 'aes256-gcm96';
    if (type !== 'aes256-gcm96' && type !== 'chacha20-poly1305') return notImplemented(`key type ${String(type)}`);
    if (body['derived'] === true || body['convergent_encryption'] === true) return notImplemented('derived keys');
    const made = this.create(name, nowUnix);
    // The name of the other type, and nothing else of it: another key, as it would be.
    made.type = type;
    made.isExportable = body['exportable'] === true;
    made.isPlaintextBackupAllowed = body['allow_plaintext_backup'] === true;
    return success(describe(made));
  }

  #delete(name: string, key: TransitKey | undefined): Answer {
    if (key === undefined) return refuse(400, `error deleting policy ${name}: could not delete key; not found`);
    if (!key.isDeletionAllowed)
      return refuse(400, `error deleting policy ${name}: deletion is not allowed for this key`);
    this.keys.delete(name);
    return noContent;
  }
}

/** What an endpoint throws from its depth is an answer too. */
function answered(run: () => Answer): Answer {
  try {
    return run();
  } catch (error) {
    if (error instanceof Refusal) return error.answer;
    throw error;
  }
}

function encryptOne(key: TransitKey, body: Record<string, unknown>): Answer {
  if (body['context'] !== undefined) return notImplemented('context');
  const requested = integerOf(body['key_version'], 'key_version');
  const plaintext = decodeGoBase64(textOf(body['plaintext']));
  if (typeof plaintext === 'number') return refuse(400, `illegal base64 data at input byte ${plaintext}`);
  if (key.isSoftDeleted) return refuse(400, 'refusing to use soft-deleted key');
  const version = requested === 0 ? key.latestVersion : requested;
  if (version < 0) return refuse(400, 'requested version for encryption is negative');
  if (version > key.latestVersion) {
    return refuse(400, 'requested version for encryption is higher than the latest key version');
  }
  if (version < key.minEncryptionVersion) {
    return refuse(400, 'requested version for encryption is less than the minimum encryption key version');
  }
  const material = version < key.minDecryptionVersion ? undefined : key.versions.get(version)?.material;
  if (material === undefined) return refuse(400, 'no such key version');
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', material, nonce).setAAD(aadOf(body));
  const sealed = Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  return success({ ciphertext: `vault:v${version}:${sealed.toString('base64')}`, key_version: version });
}

function decryptOne(key: TransitKey, body: Record<string, unknown>): Answer {
  if (body['context'] !== undefined) return notImplemented('context');
  const text = textOf(body['ciphertext']);
  if (text === '') return refuse(400, 'missing ciphertext to decrypt');
  if (key.isSoftDeleted) return refuse(400, 'refusing to use soft-deleted key');
  if (!text.startsWith('vault:v')) return refuse(400, 'invalid ciphertext: no prefix');
  const [, number = '', encoded] = /^vault:v([^:]*):([\s\S]*)$/u.exec(text) ?? [];
  if (encoded === undefined) return refuse(400, 'invalid ciphertext: wrong number of fields');
  if (!/^[+-]?[0-9]+$/u.test(number)) return refuse(400, 'invalid ciphertext: version number could not be decoded');
  const version = Number(number) || 1;
  if (version > key.latestVersion) return refuse(400, 'invalid ciphertext: version is too new');
  const material = key.versions.get(version)?.material;
  const isTooOld = version < key.minDecryptionVersion || version < key.minAvailableVersion || material === undefined;
  if (isTooOld) return refuse(400, 'ciphertext or signature version is disallowed by policy (too old)');
  const sealed = decodeGoBase64(encoded);
  if (typeof sealed === 'number') return refuse(400, 'invalid ciphertext: could not decode base64');
  const aad = aadOf(body);
  if (sealed.length < 12) return refuse(400, 'invalid ciphertext length');
  const plaintext = open(material, sealed, aad);
  return plaintext === undefined
    ? refuse(400, 'cipher: message authentication failed')
    : success({ plaintext: plaintext.toString('base64') });
}

const unsupported = wrapped(405, 'unsupported operation');

function open(material: Buffer, sealed: Buffer, aad: Buffer): Buffer | undefined {
  if (sealed.length < 28) return undefined;
  try {
    const decipher = createDecipheriv('aes-256-gcm', material, sealed.subarray(0, 12)).setAAD(aad);
    decipher.setAuthTag(sealed.subarray(-16));
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
  } catch {
    return undefined;
  }
}

function aadOf(body: Record<string, unknown>): Buffer {
  const aad = decodeGoBase64(textOf(body['associated_data']));
  if (typeof aad !== 'number') return aad;
  const text = `unable to get associated_data/additional_data from factory[0]: illegal base64 data at input byte ${aad}`;
  throw new Refusal(wrapped(500, text));
}

/** Field values convert loosely at top level. */
function textOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  return value === true ? '1' : value === false ? '0' : String(value);
}

function integerOf(value: unknown, field: string): number {
  if (value === undefined || value === null || value === '') return 0;
  const number = typeof value === 'string' || typeof value === 'number' ? Number(value) : Number.NaN;
  if (Number.isInteger(number)) return number;
  throw new Refusal(refuse(400, `error converting input for field "${field}": invalid value`));
}

function describe(key: TransitKey): Record<string, unknown> {
  const visible = [...key.versions].filter(([version]) => version >= key.minDecryptionVersion);
  return {
    name: key.name,
    type: key.type,
    latest_version: key.latestVersion,
    min_available_version: key.minAvailableVersion,
    min_decryption_version: key.minDecryptionVersion,
    min_encryption_version: key.minEncryptionVersion,
    derived: key.isDerived,
    ...(key.isDerived ? { convergent_encryption: key.isConvergent } : {}),
    exportable: key.isExportable,
    allow_plaintext_backup: key.isPlaintextBackupAllowed,
    deletion_allowed: key.isDeletionAllowed,
    imported_key: key.isImported,
    soft_deleted: key.isSoftDeleted,
    supports_encryption: key.supportsEncryption,
    supports_decryption: key.supportsDecryption,
    supports_derivation: true,
    supports_signing: false,
    auto_rotate_period: key.autoRotatePeriodSeconds,
    keys: Object.fromEntries(visible.map(([version, { createdAtUnix }]) => [String(version), createdAtUnix])),
  };
}

function rotate(key: TransitKey | undefined, nowUnix: number): Answer {
  if (key === undefined) return refuse(400, 'key not found');
  if (key.isSoftDeleted) return wrapped(500, 'refusing to use soft-deleted key');
  key.latestVersion += 1;
  key.versions.set(key.latestVersion, { material: randomBytes(32), createdAtUnix: nowUnix });
  return success(describe(key));
}

function configure(key: TransitKey | undefined, name: string, body: Record<string, unknown>): Answer {
  if (key === undefined) return refuse(400, `no existing key named ${name} could be found`);
  const warnings: string[] = [];
  let minDecryption =
    'min_decryption_version' in body
      ? integerOf(body['min_decryption_version'], 'min_decryption_version')
      : key.minDecryptionVersion;
  const minEncryption =
    'min_encryption_version' in body
      ? integerOf(body['min_encryption_version'], 'min_encryption_version')
      : key.minEncryptionVersion;
  const latest = key.latestVersion;
  if (minDecryption < 0) return refuse(400, 'min decryption version cannot be negative');
  if (minDecryption === 0) {
    minDecryption = 1;
    warnings.push(
      'since Vault 0.3 (prior to the OpenBao fork), transit key numbering starts at 1; forcing minimum to 1',
    );
  }
  if (minDecryption > latest) {
    return refuse(400, `cannot set min decryption version of ${minDecryption}, latest key version is ${latest}`);
  }
  if (minEncryption < 0) return refuse(400, 'min encryption version cannot be negative');
  if (minEncryption > latest) {
    return refuse(400, `cannot set min encryption version of ${minEncryption}, latest key version is ${latest}`);
  }
  if (minEncryption !== 0 && minEncryption < minDecryption) {
    const text = 'cannot set min encryption/decryption values; min encryption version of';
    return refuse(
      400,
      `${text} ${minEncryption} must be greater than or equal to min decryption version of ${minDecryption}`,
    );
  }
  if (key.minAvailableVersion > 0 && minEncryption < key.minAvailableVersion) {
    return refuse(400, 'min encryption version should not be less than min available version');
  }
  if (minDecryption < key.minAvailableVersion) {
    return refuse(400, 'min decryption version should not be less then min available version');
  }
  key.minDecryptionVersion = minDecryption;
  key.minEncryptionVersion = minEncryption;
  if (typeof body['deletion_allowed'] === 'boolean') key.isDeletionAllowed = body['deletion_allowed'];
  if (body['exportable'] === true) key.isExportable = true;
  if (body['allow_plaintext_backup'] === true) key.isPlaintextBackupAllowed = true;
  if (typeof body['auto_rotate_period'] === 'number') key.autoRotatePeriodSeconds = body['auto_rotate_period'];
  return success(describe(key), null, warnings.length === 0 ? null : warnings);
}

function trim(key: TransitKey | undefined, body: Record<string, unknown>): Answer {
  if (key === undefined) return refuse(400, 'invalid key name');
  if (!('min_available_version' in body)) return refuse(400, 'missing min_available_version');
  const least = integerOf(body['min_available_version'], 'min_available_version');
  if (least < key.minAvailableVersion) return refuse(400, 'minimum available version cannot be decremented');
  if (key.minEncryptionVersion === 0) {
    return refuse(400, 'minimum available version cannot be set when minimum encryption version is not set');
  }
  if (least > key.minEncryptionVersion) {
    return refuse(400, 'minimum available version cannot be greater than minmum encryption version');
  }
  if (least > key.minDecryptionVersion) {
    return refuse(400, 'minimum available version cannot be greater than minimum decryption version');
  }
  if (least <= 0) return refuse(400, 'minimum available version should be positive');
  key.minAvailableVersion = least;
  for (const version of key.versions.keys()) if (version < least) key.versions.delete(version);
  return success(describe(key));
}
