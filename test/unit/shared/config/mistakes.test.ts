// Mistakes that administrators of real clusters made, each with what it is told: the one problem, with the right spelling.
// Seen on a real OpenBao: each of them was accepted once, and came back later as a TLS failure, a 404 or `auth_rejected`.

import { Compile } from 'typebox/schema';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readConfig } from '../../../../shared/config/config.ts';
import { configSchema } from '../../../../shared/config/schema.ts';
import { documentWith } from '../../../support/config-document.ts';

const serverName =
  'must be a DNS name or an IP address as in the server certificate: no scheme, port, path, brackets, wildcard or dot at the end';
const login = 'must not end with /login: write only the path of the mount, as in auth/my-cluster-jwt';
const auth = 'must start with auth/, as in auth/my-cluster-jwt; a namespace goes into openbao.namespace';
const v1 = 'must not start with v1/: write only the path of the mount';
const noPath = 'must not have a path: leave out /v1, and write the prefix of a proxy into openbao.pathPrefix';
const duration =
  'must be a duration such as 30s or 1h30m, without spaces; its units are ns, us, ms, s, m and h (one day is 24h)';
const prefix =
  'must be a path such as /openbao: a leading slash, no trailing one, and only letters, digits and . _ ~ - between them';

const mistakes: readonly (readonly [string, unknown, readonly string[]])[] = [
  ['openbao.tlsServerName', 'bao.example.internal:8200', [serverName]],
  ['openbao.tlsServerName', 'https://bao.example.internal', [serverName]],
  ['openbao.tlsServerName', 'bao.example.internal/', [serverName]],
  ['openbao.tlsServerName', '[2001:db8::1]', [serverName]],
  ['openbao.tlsServerName', '[2001:db8::1]:8200', [serverName]],
  ['openbao.tlsServerName', '10.0.0.1:8200', [serverName]],
  ['openbao.tlsServerName', '10.0.0.0/24', [serverName]],
  ['openbao.tlsServerName', '10.0.0', [serverName]],
  ['openbao.tlsServerName', '10.0.0.256', [serverName]],
  ['openbao.tlsServerName', '10.0.0.1.', [serverName]],
  ['openbao.tlsServerName', 'fe80::1%eth0', [serverName]],
  ['openbao.tlsServerName', '2001:db8::1::2', [serverName]],
  ['openbao.tlsServerName', '*.example.internal', [serverName]],
  ['openbao.tlsServerName', 'bao.example.internal.', [serverName]],
  ['openbao.tlsServerName', 'bao..internal', [serverName]],
  ['openbao.tlsServerName', '-bao.internal', [serverName]],
  ['openbao.tlsServerName', 'bao example', [serverName]],
  ['openbao.tlsServerName', ' bao.example.internal', [serverName]],
  ['openbao.tlsServerName', 'bäo.example', [serverName]],
  ['openbao.tlsServerName', `${'a'.repeat(64)}.example`, [serverName]],
  ['openbao.tlsServerName', `${'a.'.repeat(126)}aa`, [serverName]],
  ['auth.jwt.mountPath', 'k8s-jwt', [auth]],
  ['auth.jwt.mountPath', 'admin/auth/k8s-jwt', [auth]],
  ['auth.jwt.mountPath', 'auth', [auth]],
  ['auth.jwt.mountPath', 'auth/k8s-jwt/login', [login]],
  ['auth.jwt.mountPath', 'auth/team/k8s-jwt/login', [login]],
  ['auth.jwt.mountPath', '/auth/k8s-jwt', ['must not start with /']],
  ['auth.jwt.mountPath', 'auth/k8s-jwt/', ['must not end with /']],
  ['auth.jwt.mountPath', 'v1/auth/k8s-jwt', [v1]],
  ['auth.jwt.mountPath', '/v1/auth/k8s-jwt/login', ['must not start with /', v1, login]],
  ['auth.jwt.mountPath', 'auth/../sys', ['must not have a . or .. segment']],
  ['transit.mountPath', '/transit', ['must not start with /']],
  ['transit.mountPath', 'transit/', ['must not end with /']],
  ['transit.mountPath', 'v1/transit', [v1]],
  ['transit.mountPath', '/v1/transit/', ['must not start with /', 'must not end with /', v1]],
  ['openbao.namespace', 'admin/team-a/', ['must not end with /']],
  ['openbao.address', 'https://bao.example.internal:8200/v1', [noPath]],
  ['openbao.address', 'https://bao.example.internal:8200/v1/', [noPath]],
  ['openbao.address', 'https://bao.example.internal/openbao', [noPath]],
  ['openbao.address', 'https://bao.example.internal//', [noPath]],
  ['openbao.address', 'https://bao.example.internal/.', [noPath]],
  ['openbao.pathPrefix', 'openbao', [prefix]],
  ['openbao.pathPrefix', '/', [prefix]],
  ['openbao.pathPrefix', '/openbao/', [prefix]],
  ['openbao.pathPrefix', '/openbao//x', [prefix]],
  ['openbao.pathPrefix', '/openbao/../x', [prefix]],
  ['openbao.pathPrefix', '/open%62ao', [prefix]],
  ['openbao.pathPrefix', '/openbao?x', [prefix]],
  ['openbao.pathPrefix', '/openbao/v1', ['must not end with /v1: every request adds it']],
  ['status.deepProbeInterval', '1d', [duration]],
  ['status.deepProbeInterval', '5 m', [duration]],
  ['status.deepProbeInterval', '1h 30m', [duration]],
  ['status.deepProbeInterval', '5min', [duration]],
  ['status.deepProbeInterval', 'PT5M', [duration]],
  ['status.deepProbeInterval', '300', [duration]],
  ['status.deepProbeInterval', 300, [duration]],
];

for (const [field, value, messages] of mistakes) {
  test(`${field}: ${JSON.stringify(value).slice(0, 50)} is told`, () => {
    const { problems } = readConfig(documentWith(field, value));

    assert.equal(
      problems.map((one) => `${one.field}: ${one.message}`),
      messages.map((message) => `${field}: ${message}`),
    );
  });
}

const right = [
  ['openbao.tlsServerName', 'localhost'],
  ['openbao.tlsServerName', 'bao-0.bao_internal.svc'],
  ['openbao.tlsServerName', '1bao.EXAMPLE.internal'],
  ['openbao.tlsServerName', `${'a.'.repeat(125)}aaa`],
  ['openbao.tlsServerName', '10.0.0.1'],
  ['openbao.tlsServerName', '255.255.255.255'],
  ['openbao.tlsServerName', '::1'],
  ['openbao.tlsServerName', '2001:db8::ff'],
  ['openbao.tlsServerName', '::ffff:10.0.0.1'],
  ['auth.jwt.mountPath', 'auth/team/k8s-jwt'],
  ['auth.jwt.mountPath', 'auth/login'],
  ['auth.jwt.mountPath', 'auth/v1'],
  ['transit.mountPath', 'v1-transit'],
  ['openbao.namespace', 'v1/admin'],
  ['openbao.address', 'https://bao.example.internal:8200/'],
  ['openbao.address', 'https://[2001:db8::1]:8200'],
  ['openbao.pathPrefix', '/openbao'],
  ['openbao.pathPrefix', '/a/b.c_d~e-f'],
  ['openbao.pathPrefix', '/v1/openbao'],
  ['status.deepProbeInterval', '1h30m'],
  ['status.deepProbeInterval', '24h'],
] as const;

for (const [field, value] of right) {
  test(`${field}: ${JSON.stringify(value).slice(0, 50)} is right`, () => {
    assert.equal(readConfig(documentWith(field, value)).problems, []);
  });
}

test('the address that requests are sent to ends with the prefix, and has no slash too many', () => {
  const addressOf = (address: string, pathPrefix: string) => {
    const document = documentWith('openbao.address', address);
    Object.assign(document['openbao'] as object, { pathPrefix });
    return readConfig(document).config?.openbao.address;
  };

  assert.is(addressOf('https://bao:8200', ''), 'https://bao:8200');
  assert.is(addressOf('https://bao:8200/', ''), 'https://bao:8200');
  assert.is(addressOf('https://bao:8200/', '/openbao'), 'https://bao:8200/openbao');
  assert.is(addressOf('https://bao', '/a/b'), 'https://bao/a/b');
});

test('an editor with the JSON Schema refuses what the schema can say, and nothing that is right', () => {
  const schema = Compile(configSchema() as never);
  const accepts = ([field, value]: readonly [string, unknown, ...unknown[]]) =>
    schema.Check(documentWith(field, value));
  const isSchemas = ([, , messages]: (typeof mistakes)[number]) =>
    [auth, noPath, duration].some((message) => messages.includes(message));

  assert.equal(mistakes.filter(isSchemas).filter(accepts), []);
  assert.equal(
    right.filter((one) => !accepts(one)),
    [],
  );
});

test.run();
