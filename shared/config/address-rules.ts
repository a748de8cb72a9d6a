// Rules of the fields that say where OpenBao is and where its mounts are: addresses, names in certificates, paths. What
// people paste there (a whole login URL, a name with its port, a path as an API call writes it) is told with what belongs there.

import { namespaceProblem } from '../registry/key-id.ts';
import { identifier, isHttpsUrl, type Rule, text } from './rules.ts';

export const baoAddress = [
  text(
    'https_url',
    'must be an https URL with a host and without user info, query or fragment',
    (value) => isHttpsUrl(value, false),
    { format: 'uri', pattern: '^https://[^/\\\\?#\\s@]+/?$' },
  ),
  text(
    'path',
    'must not have a path: leave out /v1, and write the prefix of a proxy into openbao.pathPrefix',
    (value) => !isHttpsUrl(value, false) || /^https:\/\/[^/]+\/?$/u.test(value),
  ),
];

const prefixPattern = '^$|^(?:/[A-Za-z0-9._~-]+)+$';
const prefixRegex = new RegExp(prefixPattern, 'u');

export const pathPrefix = [
  text(
    'path_prefix',
    'must be a path such as /openbao: a leading slash, no trailing one, and only letters, digits and . _ ~ - between them',
    (value) => prefixRegex.test(value) && !value.split('/').some(isDots),
    { pattern: prefixPattern },
  ),
  text('v1', 'must not end with /v1: every request adds it', (value) => !/\/v1$/u.test(value)),
];

const label = '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?';
const dnsName = new RegExp(`^${label}(?:\\.${label})*$`, 'u');
const ipv4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.|$)){4}$/u;

/** An address without brackets, zone or mask. */
function isIpAddress(value: string): boolean {
  if (!value.includes(':')) return ipv4.test(value) && !value.endsWith('.');
  return /^[0-9A-Fa-f:.]+$/u.test(value) && URL.canParse(`https://[${value}]/`);
}

/** A last label of digits only would be read as a piece of an IPv4 address. */
function isDnsName(value: string): boolean {
  return value.length <= 253 && dnsName.test(value) && !/(?:^|\.)\d+$/u.test(value);
}

export const tlsServerName: Rule<string> = text(
  'server_name',
  'must be a DNS name or an IP address as in the server certificate: no scheme, port, path, brackets, wildcard or dot at the end',
  (value) => isIpAddress(value) || isDnsName(value),
  { pattern: '^[A-Za-z0-9_.:-]+$' },
);

const isDots = (segment: string) => segment === '.' || segment === '..';

/** Rules of every path inside OpenBao; each mistake is one problem. */
const path = [
  ...identifier,
  text('leading_slash', 'must not start with /', (value) => !value.startsWith('/')),
  text('trailing_slash', 'must not end with /', (value) => !value.endsWith('/')),
  text('double_slash', 'must not contain //', (value) => !value.includes('//')),
  text('segment', 'must not have a . or .. segment', (value) => !value.split('/').some(isDots)),
];

const withoutSlashes = (value: string) => value.trim().replace(/^\/+|\/+$/gu, '');
const withoutV1 = (value: string) => withoutSlashes(value).replace(/^v1(?:\/+|$)/u, '');

export const mountPath = [
  ...path,
  text('v1', 'must not start with v1/: write only the path of the mount', (value) => !/^\/*v1(?:\/|$)/u.test(value)),
];

const isLoginPath = (value: string) => /^auth\/+.+\/+login$/u.test(withoutV1(value));

export const loginMountPath = [
  ...mountPath,
  text(
    'auth',
    'must start with auth/, as in auth/my-cluster-jwt; a namespace goes into openbao.namespace',
    (value) => /^auth\/+[^/]/u.test(withoutV1(value)),
    { pattern: '^auth/[^/]' },
  ),
  text(
    'login',
    'must not end with /login: write only the path of the mount, as in auth/my-cluster-jwt',
    (value) => !isLoginPath(value),
  ),
];

export const namespacePath = [
  ...path,
  text('percent', 'must not use percent encoding', (value) => !value.includes('%')),
  text('namespace', 'must be a namespace path', (value) => namespaceProblem(value) !== 'control', {
    pattern: '^$|^[^/%\\s]+(?:/[^/%\\s]+)*$',
  }),
];
