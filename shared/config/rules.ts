// The reusable rules of configuration values: each is a claim about one value, with its message, its stable code and, where
// JSON Schema can say it, its schema. Empty strings pass every rule but `required`, so each empty field is one problem.

import { hasOuterSpace } from '../registry/key-id.ts';

export type Rule<T> = {
  readonly code: string;
  readonly message: string;
  readonly holds: (value: T) => boolean;
  readonly schema?: Readonly<Record<string, unknown>>;
  readonly isOfPaths?: never;
};

/** What only a path of this host has to keep: a row with such a rule compiles only when it says `isPath`. */
export type PathRule = Omit<Rule<string>, 'isOfPaths'> & { readonly isOfPaths: true };

export const pathNamePattern = '^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$';
const pathNameRegex = new RegExp(pathNamePattern, 'u');
/** Unicode control, format, line and paragraph separators: invisible, so two look-alikes could differ. */
const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
const control = /\p{Cc}/u;

/** A rule of texts that an empty one passes. */
export const text = (
  code: string,
  message: string,
  holds: (value: string) => boolean,
  schema?: Rule<string>['schema'],
) => ({
  code,
  message,
  holds: (value: string) => value === '' || holds(value),
  ...(schema === undefined ? {} : { schema }),
});

export const required: Rule<string> = {
  code: 'required',
  message: 'is required',
  holds: (value) => value.trim() !== '',
  schema: { minLength: 1 },
};

export const identifier = [
  text(
    'identifier',
    'must not have surrounding whitespace or control characters',
    (value) => !hasOuterSpace(value) && !invisible.test(value),
  ),
  text('not_nfc', 'must be written in Unicode form NFC', (value) => value.normalize('NFC') === value),
];

export const pathName = text(
  'path_name',
  'must start and end with an ASCII letter, digit or underscore; dots and hyphens only inside',
  (value) => pathNameRegex.test(value),
  { pattern: pathNamePattern },
);

const ofPaths = (rule: Rule<string>): PathRule => ({ ...rule, isOfPaths: true });

export const absolutePath = ofPaths(
  text('absolute_path', 'must be an absolute path', (value) => value.startsWith('/')),
);

/** Linux: sockaddr_un holds 107 usable bytes; the private name adds a dot, a dot and 8 characters. */
const maxSocketPathBytes = 107;
const privateNameExtraBytes = '.'.length + '.01234567'.length;

export const socketPath = [
  text(
    'absolute_path',
    'must be an absolute Unix socket path',
    (value) => value.startsWith('/') && !value.includes('\0'),
  ),
  text(
    'too_long',
    'must be shorter: a Unix socket path has at most 107 bytes',
    (value) => Buffer.byteLength(value, 'utf8') + privateNameExtraBytes <= maxSocketPathBytes,
  ),
].map(ofPaths);

export const socketMode = [
  text('octal', 'must be an octal permission mode', (value) => /^0?[0-7]{3}$/u.test(value), { pattern: '^0[0-7]{3}$' }),
  text('world_access', 'must not allow world access or execute bits', (value) => {
    return !/^0?[0-7]{3}$/u.test(value) || (Number.parseInt(value, 8) & 0o117) === 0;
  }),
  text('owner', 'must let the owner read and write', (value) => {
    return !/^0?[0-7]{3}$/u.test(value) || (Number.parseInt(value, 8) & 0o600) === 0o600;
  }),
];

export const groupName = text('group', 'must be a group name or a GID from 0 to 2147483647', (value) => {
  return /^[0-9]+$/u.test(value) ? Number(value) <= 2_147_483_647 : /^[^\s:\p{Cc}]+$/u.test(value);
});

/** host:port, split; undefined when the text is no listener. The host comes without brackets. */
export function parseListener(value: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]/]*)):([0-9]{1,5})$/u.exec(value);
  const port = Number(match?.[3] ?? Number.NaN);
  const host = match?.[1] ?? match?.[2] ?? '';
  return match === null || port > 65_535 || host === '' ? undefined : { host, port };
}

export const listener = text('listener', 'must be host:port', (value) => parseListener(value) !== undefined);

/** An https URL with a host name, a port from 1 if any, no user info, no fragment; a query only where allowed. */
export function isHttpsUrl(value: string, isQueryAllowed: boolean): boolean {
  if (!/^https:\/\/[^/\\?#\s]+/u.test(value) || /^https:\/\/:/u.test(value)) return false;
  if (value.includes('#') || (!isQueryAllowed && value.includes('?'))) return false;
  try {
    const url = new URL(value);
    return (
      url.hostname !== '' && url.username === '' && url.password === '' && !value.includes('@') && url.port !== '0'
    );
  } catch {
    return false;
  }
}

export const tokenUrl = text(
  'https_url',
  'must be an https URL with a host and without user info or fragment',
  (value) => isHttpsUrl(value, true),
);

export const noControl = text('control', 'must not have control characters', (value) => !control.test(value));

export const scope = text('scope', 'must have only printable ASCII except " and \\', (value) => {
  return /^[\x21\x23-\x5b\x5d-\x7e]+$/u.test(value);
});

export const resource = text('resource', 'must be an absolute URI without user info or fragment', (value) => {
  return URL.canParse(value) && !value.includes('#') && new URL(value).username === '';
});

export function oneOf(values: readonly string[], message = `must be one of ${values.join(', ')}`): Rule<string> {
  return { code: 'one_of', message, holds: (value) => values.includes(value), schema: { enum: values } };
}

export function between(least: number, greatest: number): Rule<number> {
  return {
    code: 'range',
    message: `must be between ${least} and ${greatest}`,
    holds: (value) => value >= least && value <= greatest, // control: config.integer-bounds
    schema: { minimum: least, maximum: greatest },
  };
}

export function atLeast(least: number, message: string): Rule<number> {
  return { code: 'range', message, holds: (value) => value >= least, schema: { minimum: least } };
}

/** Bounds of a duration, in milliseconds. */
export function durationBetween(minMs: number, maxMs: number, message: string): Rule<number> {
  return { code: 'range', message, holds: (value) => value <= 0 || (value >= minMs && value <= maxMs) };
}

export const positive: Rule<number> = { code: 'positive', message: 'must be positive', holds: (value) => value > 0 };
export const nonNegative: Rule<number> = {
  code: 'negative',
  message: 'must not be negative',
  holds: (value) => value >= 0,
};
