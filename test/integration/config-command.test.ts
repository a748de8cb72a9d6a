// `config` and `config check`, run as an administrator runs them: every problem, one a line, none cut, and nothing started.

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { type Document, documentWith, minimalDocument } from '../support/config-document.ts';
import { root } from '../support/workplace.ts';

const executable = join(root, 'dist/bao-kms-provider');

/** Runs with a file of this content; world-readable, as in a checkout. */
function withFile(
  content: string | Document,
  run: (command: (...words: string[]) => Ran, directory: string) => void,
  env = {},
) {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-config-'));
  try {
    const path = join(directory, 'config.yaml');
    writeFileSync(path, typeof content === 'string' ? content : stringify(content));
    chmodSync(path, 0o666);
    run((...words) => ran(words, directory, env), directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

type Ran = { readonly status: number | null; readonly stdout: string; readonly stderr: string };

function ran(words: readonly string[], cwd: string, env: Record<string, string>): Ran {
  const flags = words.includes('--config') ? [] : ['--config', 'config.yaml'];
  const { status, stdout, stderr } = spawnSync(executable, [...words, ...flags], {
    cwd,
    env,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  return { status, stdout, stderr };
}

/** Fifteen mistakes, as one administrator made them in one evening. */
function fifteenMistakes(): Document {
  return {
    configVersion: 'v1',
    server: { socketPath: '/tmp/kms.sock', socketMode: '0666' },
    openbao: {
      address: 'https://bao:8200/v1',
      caCertFile: 'ca.crt',
      tlsServerName: 'bao:8200',
      namespace: 'admin/',
      timeout: '1d',
    },
    auth: {
      jwt: { source: 'file', mountPath: 'k8s-jwt', role: '-', jwtFile: 'jwt', minRemaningTtl: '5m' },
    },
    transit: { mountPath: '/transit', keyName: 'a/b', keyIdScope: minimalKeyScope() },
  };
}

const minimalKeyScope = () => (minimalDocument()['transit'] as Document)['keyIdScope'];

test('a right file: exit 0, no problem, warnings shown, whatever its owner and mode', () =>
  withFile(documentWith('server.metricsAddress', '0.0.0.0:8081'), (command) => {
    const text = command('config', 'check');
    assert.equal([text.status, text.stderr], [0, '']);
    assert.equal(text.stdout.split('\n'), [
      'config check',
      'file: config.yaml',
      'valid: true',
      'problemCount: 0',
      'warning: server.metricsAddress: is not a loopback address: anybody may read it',
      '',
    ]);
    const json = command('config', 'check', '--output', 'json');
    assert.is(json.status, 0);
    assert.equal(JSON.parse(json.stdout), {
      name: 'config check',
      file: 'config.yaml',
      valid: true,
      problemCount: 0,
      problems: [],
      warnings: [
        {
          field: 'server.metricsAddress',
          code: 'config.server.metricsAddress.routable',
          message: 'is not a loopback address: anybody may read it',
        },
      ],
    });
  }));

test('a file with many mistakes: exit 3, one line for each of them, none cut, and the same as JSON', () =>
  withFile(fifteenMistakes(), (command) => {
    const text = command('config', 'check');
    assert.equal([text.status, text.stderr], [3, '']);
    const lines = text.stdout.split('\n').filter((line) => line.startsWith('problem: '));
    assert.equal(
      lines.map((line) => line.split(': ')[1]).sort(),
      [
        'auth.jwt.jwtFile',
        'auth.jwt.minRemaningTtl',
        'auth.jwt.mountPath',
        'auth.jwt.role',
        'configVersion',
        'openbao.address',
        'openbao.caCertFile',
        'openbao.instanceId',
        'openbao.namespace',
        'openbao.timeout',
        'openbao.tlsServerName',
        'server.socketGroup',
        'server.socketMode',
        'server.socketPath',
        'transit.keyName',
        'transit.mountPath',
      ].sort(),
    );
    const json = JSON.parse(command('config', 'check', '--output', 'json').stdout);
    assert.equal([json.valid, json.problemCount], [false, 16]);
    assert.equal(
      json.problems.map(({ field, message }: Document) => `problem: ${field}: ${message}`),
      lines,
    );
  }));

test('as many problems as a file can hold come through a pipe whole', () =>
  withFile(Array.from({ length: 2_000 }, (_, index) => `unknown${index}: 1\n`).join(''), (command) => {
    const { status, stdout } = command('config', 'check');
    assert.is(status, 3);
    assert.match(stdout, /^problemCount: 2015$/mu);
    assert.is(stdout.split('\n').filter((line) => line.startsWith('problem: ')).length, 2_015);
  }));

test('config prints what it can and ends with 3 when the file is wrong, with the problems on standard error', () => {
  withFile(minimalDocument(), (command) => {
    const { status, stdout, stderr } = command('config', '--health-address', '127.0.0.1:9');
    assert.equal([status, stderr], [0, '']);
    assert.match(stdout, /^identityFingerprint: cfg1\.[A-Za-z0-9_-]{43}$/mu);
    assert.match(stdout, /^healthAddress: 127\.0\.0\.1:9$/mu);
  });
  withFile(documentWith('transit.keyName', undefined), (command) => {
    const { status, stdout, stderr } = command('config', '--health-address', 'here');
    assert.equal(
      [status, stderr],
      [
        3,
        'bao-kms-provider: server.healthAddress: must be host:port\nbao-kms-provider: transit.keyName: is required\n',
      ],
    );
    assert.match(stdout, /^authMethod: jwt$/mu);
    assert.not.match(stdout, /identityFingerprint/u);
  });
});

for (const [what, content, message] of [
  ['broken YAML', 'a: [1\n', /^problem: config: the YAML is broken on line \d+ \(\w+\)$/mu],
  ['nothing in it', '', /^problem: config: the file is empty$/mu],
  [
    'a name that writes on the terminal',
    '"a\\u001b[2J\\nb": 1\n',
    /^problem: a\\u\{1b\}\[2J\\u\{a\}b: is not a known field$/mu,
  ],
  ['more than 1 MiB', ' '.repeat(1024 * 1024 + 1), /^problem: config: is larger than 1048576 bytes$/mu],
] as const) {
  test(`a file with ${what}: exit 3 and a problem like any other`, () =>
    withFile(content, (command) => {
      const { status, stdout, stderr } = command('config', 'check');
      assert.equal([status, stderr], [3, '']);
      assert.match(stdout, message);
      assert.is(command('config').status, 3);
    }));
}

test('a missing file is a problem, and a pipe can be checked', () => {
  const missing = spawnSync(executable, ['config', 'check', '--config', '/nonexistent'], { encoding: 'utf8', env: {} });
  assert.is(missing.status, 3);
  assert.match(missing.stdout, /^problem: config: must exist and be readable$/mu);
  withFile(minimalDocument(), (_, directory) => {
    const line = `cat config.yaml | ${executable} config check --config /dev/stdin`;
    const piped = spawnSync('/bin/sh', ['-c', line], { cwd: directory, encoding: 'utf8' });
    assert.is(piped.status, 0, piped.stdout);
  });
});

test('a misspelt variable is a problem for config, config check and serve, and for nothing else', () =>
  withFile(
    minimalDocument(),
    (command, directory) => {
      const problem =
        'BAO_KMS_PROVIDER_LOGLEVEL: is not a known environment variable; did you mean BAO_KMS_PROVIDER_LOG_LEVEL?';
      const check = command('config', 'check');
      assert.is(check.status, 3);
      assert.ok(check.stdout.includes(`\nproblem: ${problem}\n`), check.stdout);
      assert.equal([command('config').status, command('config').stderr], [3, `bao-kms-provider: ${problem}\n`]);
      chmodSync(join(directory, 'config.yaml'), 0o600);
      const serve = ran(['serve', '--config', join(directory, 'config.yaml')], directory, {
        BAO_KMS_PROVIDER_LOGLEVEL: 'debug',
      });
      assert.is(serve.status, 3);
      assert.ok(serve.stderr.includes(problem), serve.stderr);
      assert.is(spawnSync(executable, ['version'], { env: { BAO_KMS_PROVIDER_LOGLEVEL: 'x' } }).status, 0);
    },
    { BAO_KMS_PROVIDER_LOGLEVEL: 'debug' },
  ));

test('--development accepts a socket below the current directory, here too', () => {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-config-'));
  try {
    writeFileSync(
      join(directory, 'config.yaml'),
      stringify(documentWith('server.socketPath', `${directory}/kms.sock`)),
    );
    assert.is(ran(['config', 'check'], directory, {}).status, 3);
    assert.is(ran(['config', 'check', '--development'], directory, {}).status, 0);
    assert.is(ran(['config', '--development'], directory, {}).status, 0);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('the log of a refused start has the count and every problem of it', () =>
  withFile(fifteenMistakes(), (_, directory) => {
    chmodSync(join(directory, 'config.yaml'), 0o600);
    const { status, stderr } = ran(['serve', '--config', join(directory, 'config.yaml')], directory, {});
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const [refusal] = lines.filter(({ message }) => message === 'gate.refused');

    assert.equal([status, refusal.check, refusal.reason], [3, 'gate.config', 'config_invalid']);
    assert.equal([refusal.problem_count, refusal.problems.length], [16, 16]);
    assert.match(refusal.hint, /; and 15 more: run bao-kms-provider config check$/u);
  }));

test.run();
