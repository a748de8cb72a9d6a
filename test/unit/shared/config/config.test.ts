// The configuration: every problem at once, unknown names with a suggestion, and schema and validator of one mind.

import { Compile } from 'typebox/schema';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readConfig } from '../../../../shared/config/config.ts';
import { withoutPaths } from '../../../../shared/config/paths.ts';
import { configSchema } from '../../../../shared/config/schema.ts';
import { parseDurationMs } from '../../../../shared/time/duration.ts';
import { parseArguments } from '../../../../supervisor/arguments.ts';
import { parseYaml } from '../../../../supervisor/gate/yaml.ts';
import { type Document, documentWith, minimalDocument } from '../../../support/config-document.ts';
import { throwsClass } from '../../../support/throws.ts';

const problemsOf = (document: unknown) =>
  readConfig(document).problems.map(({ field, message }) => `${field}: ${message}`);

test('the minimal file is valid and complete', () => {
  const { config, problems } = readConfig(minimalDocument());

  assert.equal(problems, []);
  assert.is(config?.openbao.timeoutMs, 2_000);
  assert.is(config?.auth.loginTimeoutMs, 5_000);
  assert.is(config?.server.socketMode, 0o660);
  assert.ok(Object.isFrozen(config?.auth.jwt));
});

test('an absent source with both a jwtFile and an oauth2 section is required: which is meant cannot be told', () => {
  const document = documentWith('auth.jwt.source', undefined);
  const { jwt } = document['auth'] as { jwt: Record<string, unknown> };
  const both = { ...document, auth: { method: 'jwt', jwt: { ...jwt, oauth2: { clientId: 'x' } } } };
  assert.ok(problemsOf(both).includes('auth.jwt.source: is required'), problemsOf(both).join('\n'));
});

test('a field that is wrong by itself is not compared with another one', () => {
  assert.equal(
    problemsOf(documentWith('status', { probeInterval: '9h', statusMaxStaleness: 'x' })).filter((one) =>
      one.includes('shorter'),
    ),
    [],
  );
});

for (const level of ['debug', 'info', 'warn', 'error'] as const) {
  test(`the level ${level} that is written is the level of the log`, () => {
    assert.is(readConfig(documentWith('logging.level', level)).config?.logging.level, level);
  });
}

test('an absent source with a jwtFile and no oauth2 section is file', () => {
  assert.equal(problemsOf(documentWith('auth.jwt.source', undefined)), []);
});

const refused: readonly (readonly [string, unknown, string])[] = [
  ['configVersion', undefined, 'configVersion: is required'],
  ['configVersion', 'v1', 'configVersion: must be v1alpha1'],
  ['server.socketPath', 'kms.sock', 'server.socketPath: must be an absolute Unix socket path'],
  ['server.socketPath', '/tmp/kms.sock', 'server.socketPath: must be below /run/openbao-kms or /var/run/openbao-kms'],
  [
    'server.socketPath',
    '/run/openbao-kms-x/kms.sock',
    'server.socketPath: must be below /run/openbao-kms or /var/run/openbao-kms',
  ],
  [
    'server.socketPath',
    '/run/openbao-kms/../kms.sock',
    'server.socketPath: must be below /run/openbao-kms or /var/run/openbao-kms',
  ],
  [
    'server.socketPath',
    `/run/openbao-kms/${'a'.repeat(90)}`,
    'server.socketPath: must be shorter: a Unix socket path has at most 107 bytes',
  ],
  ['server.socketMode', '0666', 'server.socketMode: must not allow world access or execute bits'],
  ['server.socketMode', '0760', 'server.socketMode: must not allow world access or execute bits'],
  ['server.socketMode', '060', 'server.socketMode: must let the owner read and write'],
  ['server.socketMode', '0060', 'server.socketMode: must let the owner read and write'],
  ['server.socketMode', 'rw', 'server.socketMode: must be an octal permission mode'],
  ['server.socketMode', 660, 'server.socketMode: must be a string; put it in quotes'],
  ['server.socketGroup', undefined, 'server.socketGroup: is required'],
  ['server.socketGroup', '2147483648', 'server.socketGroup: must be a group name or a GID from 0 to 2147483647'],
  ['server.metricsAddress', '127.0.0.1', 'server.metricsAddress: must be host:port'],
  ['server.metricsAddress', '127.0.0.1:http', 'server.metricsAddress: must be host:port'],
  ['server.metricsAddress', '127.0.0.1:65536', 'server.metricsAddress: must be host:port'],
  [
    'server.metricsAddress',
    '127.0.0.1:8082',
    'server.metricsAddress: must differ from server.healthAddress for a fixed port',
  ],
  [
    'server.metricsAddress',
    '[::ffff:127.0.0.1]:8082',
    'server.metricsAddress: must differ from server.healthAddress for a fixed port',
  ],
  ['server.maxConcurrentStatus', 0, 'server.maxConcurrentStatus: must be between 1 and 1024'],
  ['server.maxConcurrentDecrypt', 1025, 'server.maxConcurrentDecrypt: must be between 1 and 1024'],
  ['server.maxConcurrentDecrypt', '64', 'server.maxConcurrentDecrypt: must be an integer without quotes'],
  ['server.maxConcurrentDecrypt', 1.5, 'server.maxConcurrentDecrypt: must be an integer without quotes'],
  ...[
    'http://bao',
    'https://',
    'https://:8200',
    'https://u@bao',
    'https://bao?x=1',
    'https://bao#x',
    'bao:8200',
    'https://bao:0',
  ].map(
    (address) =>
      [
        'openbao.address',
        address,
        'openbao.address: must be an https URL with a host and without user info, query or fragment',
      ] as const,
  ),
  ['openbao.caCertFile', 'ca.crt', 'openbao.caCertFile: must be an absolute path'],
  ['openbao.tlsServerName', '', 'openbao.tlsServerName: is required'],
  ['openbao.instanceId', ' a', 'openbao.instanceId: must not have surrounding whitespace or control characters'],
  ['openbao.instanceId', 'a\u200bb', 'openbao.instanceId: must not have surrounding whitespace or control characters'],
  ['openbao.instanceId', 'u\u0308', 'openbao.instanceId: must be written in Unicode form NFC'],
  ['openbao.namespace', '/a', 'openbao.namespace: must not start with /'],
  ['openbao.namespace', 'a//b', 'openbao.namespace: must not contain //'],
  ['openbao.namespace', 'a/../b', 'openbao.namespace: must not have a . or .. segment'],
  ['openbao.namespace', 'a%2f', 'openbao.namespace: must not use percent encoding'],
  ['openbao.timeout', '0s', 'openbao.timeout: must be positive'],
  ['openbao.timeout', '10m', 'openbao.timeout: must be between 100ms and 30s'],
  [
    'openbao.timeout',
    2,
    'openbao.timeout: must be a duration such as 30s or 1h30m, without spaces; its units are ns, us, ms, s, m and h (one day is 24h)',
  ],
  [
    'openbao.timeout',
    '2',
    'openbao.timeout: must be a duration such as 30s or 1h30m, without spaces; its units are ns, us, ms, s, m and h (one day is 24h)',
  ],
  ['auth.method', 'kubernetes', 'auth.method: must be one of jwt or cert'],
  ['auth.jwt.source', '', 'auth.jwt.source: is required'],
  ['auth.jwt.source', 'vault', 'auth.jwt.source: must be file or oauth2'],
  ['auth.jwt.jwtFile', undefined, 'auth.jwt.jwtFile: is required'],
  ['auth.jwt.oauth2', { clientId: 'x' }, 'auth.jwt.oauth2: must be omitted for source file'],
  [
    'auth.jwt.role',
    '-role',
    'auth.jwt.role: must start and end with an ASCII letter, digit or underscore; dots and hyphens only inside',
  ],
  ['auth.jwt.expectedAudience', ['a', ''], 'auth.jwt.expectedAudience: must not contain empty values'],
  ['auth.jwt.expectedAudience', 'a', 'auth.jwt.expectedAudience: must be a list of strings'],
  ['auth.jwt.clockSkewLeeway', '6m', 'auth.jwt.clockSkewLeeway: must not exceed 5m'],
  ['auth.tokenRenewalIncrement', '5m', 'auth.tokenRenewalIncrement: must exceed auth.loginBeforeTokenExpiry'],
  [
    'transit.keyName',
    'a/b',
    'transit.keyName: must start and end with an ASCII letter, digit or underscore; dots and hyphens only inside',
  ],
  ['transit.mountPath', 'transit/', 'transit.mountPath: must not end with /'],
  ['status.probeInterval', '2m', 'status.probeInterval: must be shorter than status.statusMaxStaleness'],
  ['status.probeInterval', '1ns', 'status.probeInterval: must be between 1s and 1h'],
  ['rotation.mode', 'automatic', 'rotation.mode: only observed is supported'],
  ['rotation.requireStableObservationCount', 0, 'rotation.requireStableObservationCount: must be positive'],
  ['rotation.activationDelay', '25h', 'rotation.activationDelay: must not exceed 24h'],
  ['logging.level', 'trace', 'logging.level: must be one of debug, info, warn, error'],
  ['process.pluginUser', 'root', 'process.pluginUser: must name another, unprivileged user'],
  ['process.pluginUser', '0', 'process.pluginUser: must name another, unprivileged user'],
  ['process.pluginGroup', 'kms', 'process.pluginGroup: needs process.pluginUser'],
  ['server', 'x', 'server: must be a mapping'],
];

for (const [path, value, message] of refused) {
  test(`${path} = ${JSON.stringify(value)?.slice(0, 40)} is refused: ${message.slice(0, 70)}`, () => {
    assert.ok(
      problemsOf(documentWith(path, value)).includes(message),
      problemsOf(documentWith(path, value)).join('\n'),
    );
  });
}

test('all problems come in one pass, one for each empty required field', () => {
  const document = documentWith('openbao.address', 'http://x');
  (document['server'] as Document)['socketMode'] = '0777';
  delete (document['transit'] as Document)['keyName'];

  assert.equal(problemsOf(document), [
    'server.socketMode: must not allow world access or execute bits',
    'openbao.address: must be an https URL with a host and without user info, query or fragment',
    'transit.keyName: is required',
  ]);
});

test('an unknown name is refused with the nearest known one, at every level', () => {
  assert.ok(
    problemsOf(documentWith('openbao.adress', 'x')).includes(
      'openbao.adress: is not a known field; did you mean address?',
    ),
  );
  assert.ok(problemsOf(documentWith('Transit', {})).includes('Transit: is not a known field; did you mean transit?'));
  assert.ok(problemsOf(documentWith('openbao.zzzzzzzzzz', 1)).includes('openbao.zzzzzzzzzz: is not a known field'));
});

test('each problem has a stable machine code', () => {
  const codes = readConfig(documentWith('server.socketMode', '0666')).problems.map(({ code }) => code);

  assert.equal(codes, ['config.server.socketMode.world_access']);
});

for (const [what, document] of [
  ['cert', documentWith('auth', { method: 'cert', cert: {} })],
  ['oauth2', documentWith('auth.jwt.source', 'oauth2')],
] as const) {
  test(`${what} is known, checked, and refused as not available`, () => {
    const problems = problemsOf(document);

    assert.ok(
      problems.some((text) => text.includes('is not available in this version')),
      problems.join('\n'),
    );
    assert.ok(problems.length > 1, 'its own fields are checked too');
  });
}

test('debug correlation needs level debug, request ids and an incident', () => {
  const document = documentWith('logging', {
    debugCorrelation: { enabled: true, ttl: '2h' },
    logOpenBaoRequestIDs: false,
  });

  assert.equal(problemsOf(document), [
    'logging.level: must be debug while logging.debugCorrelation is enabled',
    'logging.logOpenBaoRequestIDs: must be true while debug correlation is enabled',
    'logging.debugCorrelation.ttl: must not exceed 1h',
    'logging.debugCorrelation.incidentId: is required',
  ]);
});

test('--development accepts a socket below the given directory and nothing beside it', () => {
  const at = (path: string) =>
    readConfig(documentWith('server.socketPath', path), { developmentDirectory: '/home/me/kms' }).problems.length;

  assert.is(at('/home/me/kms/run/kms.sock'), 0);
  assert.is(at('/home/me/kms-other/kms.sock'), 1);
});

test('routable listeners and a short staleness are warnings', () => {
  const document = documentWith('server.metricsAddress', '0.0.0.0:8081');
  (document as { status?: unknown })['status'] = { statusMaxStaleness: '45s' };

  assert.equal(
    readConfig(document).warnings.map(({ field }) => field),
    ['server.metricsAddress', 'status.statusMaxStaleness'],
  );
});

test('what is sent to the plugin holds no path of the host', () => {
  const sent = JSON.stringify(withoutPaths(minimalDocument()));

  for (const path of ['/etc/openbao-kms', '/var/lib']) assert.not.ok(sent.includes(path));
  assert.is(readConfig(JSON.parse(sent)).problems.length, 0);
});

const durations: readonly (readonly [string, number])[] = [
  ['0', 0],
  ['0s', 0],
  ['30s', 30_000],
  ['1h30m', 5_400_000],
  ['1.5h', 5_400_000],
  ['.5s', 500],
  ['500ms', 500],
  ['250us', 0.25],
  ['250µs', 0.25],
  ['1ns', 0.000_001],
  ['-5s', -5_000],
  ['+5s', 5_000],
];

for (const [text, ms] of durations) {
  test(`the duration ${text} is ${ms} ms`, () => {
    assert.is(parseDurationMs(text), ms);
  });
}

for (const text of [
  '',
  '5',
  '1d',
  '1',
  's',
  '1 s',
  '1h-5m',
  '9223372036854775808ns',
  '1e3s',
  '1H',
  `${'9'.repeat(200)}s`,
]) {
  test(`${JSON.stringify(text).slice(0, 30)} is no duration`, () => {
    throwsClass(() => parseDurationMs(text), 'config_invalid');
  });
}

test('schema and validator agree on every accepted and refused sample that a schema can judge', () => {
  const schema = Compile(configSchema() as never);
  assert.ok(schema.Check(minimalDocument()), 'the minimal document');
  const bySchema = [
    'configVersion',
    'server.max',
    'server.socketMode',
    'auth.method',
    'transit.keyName',
    'auth.jwt.role',
    'rotation.mode',
    'logging.level',
  ];
  for (const [path, value] of refused) {
    const isJudged =
      bySchema.some((prefix) => path.startsWith(prefix)) && value !== '0060' && value !== '0666' && value !== '0760';
    if (isJudged) assert.not.ok(schema.Check(documentWith(path, value)), `${path} = ${JSON.stringify(value)}`);
  }
  for (const [path, value] of [
    ['openbao.timeout', '1m30s'],
    ['server.maxConcurrentStatus', 1024],
    ['openbao.namespace', 'a/b'],
  ] as const) {
    assert.ok(schema.Check(documentWith(path, value)), path);
  }
  assert.not.ok(schema.Check(documentWith('openbao.adress', 'x')), 'unknown names');
});

for (const [what, text] of [
  ['a duplicate key', 'a: 1\na: 2\n'],
  ['two documents', 'a: 1\n---\na: 2\n'],
  ['an unknown tag', 'a: !secret x\n'],
  ['an alias', 'a: &x 1\nb: *x\n'],
  ['nothing', ''],
  ['broken YAML', 'a: [1\n'],
] as const) {
  test(`YAML with ${what} is refused without quoting the file`, () => {
    const error = throwsClass(() => parseYaml(Buffer.from(text)), 'config_invalid');

    assert.not.match(error.message, /secret/u);
  });
}

test('bytes that are not UTF-8 are refused', () => {
  throwsClass(() => parseYaml(Buffer.from([0x61, 0x3a, 0xff, 0xfe])), 'config_invalid');
});

test('flags win over variables, an empty variable counts as unset, the first of a pair wins', () => {
  const environment = {
    BAO_KMS_PROVIDER_CONFIG: '',
    BAO_KMS_PROVIDER_CONFIG_PATH: '/b.yaml',
    BAO_KMS_PROVIDER_LOG_LEVEL: 'warn',
    BAO_KMS_PROVIDER_LOGGING_LEVEL: 'error',
    BAO_KMS_PROVIDER_SERVER_HEALTH_ADDRESS: '127.0.0.1:1',
  };
  const parsed = parseArguments(['serve', '--health-address', '127.0.0.1:2'], environment, '/');

  assert.is(parsed.configPath, '/b.yaml');
  assert.equal(Object.fromEntries(parsed.options.overrides ?? []), {
    'logging.level': 'warn',
    'server.healthAddress': '127.0.0.1:2',
  });
});

for (const words of [
  ['nope'],
  ['serve', 'extra'],
  ['serve', '--nope'],
  ['serve', '--config'],
  ['config', 'schema', '--development'],
  ['config', 'check', 'x'],
  ['config', '--output', 'json'],
  ['serve', '--output', 'json'],
  ['rotation-plan', '--output', 'yaml'],
  ['rotation-plan', '--apply'],
  ['retire-versions', '--versions', '2'],
  ['help', 'nope'],
  ['nope', '--help'],
]) {
  test(`the command line "${words.join(' ')}" is a usage error`, () => {
    throwsClass(() => parseArguments(words, {}, '/'), 'usage_invalid');
  });
}

test('a word about help asks about the command that it stands with', () => {
  const asked = (...words: string[]) => {
    const { name, topic } = parseArguments(words, {}, '/');
    return [name, topic];
  };
  assert.equal(asked(), ['help', undefined]);
  assert.equal(asked('--help'), ['help', undefined]);
  assert.equal(asked('help', 'config', 'check'), ['help', 'config check']);
  assert.equal(asked('serve', '-h'), ['help', 'serve']);
  assert.equal(asked('--version'), ['version', undefined]);
});

test.run();
