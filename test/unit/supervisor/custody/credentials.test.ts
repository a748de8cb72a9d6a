// Custody of credential files: all six kinds with their rules, generations by content, and what an unsafe file does.

import {
  chmodSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CredentialName, credentialNames } from '../../../../shared/channel/messages.ts';
import {
  createCredentialCustody,
  credentialFiles,
  credentialRules,
  newsOnce,
  noNews,
} from '../../../../supervisor/custody/credentials.ts';
import { readTrustedFile } from '../../../../supervisor/custody/trusted-file.ts';
import { throwsClass } from '../../../support/throws.ts';

const reader = { uid: process.geteuid?.() ?? -1, gids: [process.getegid?.() ?? -1] };

const auth = { method: 'jwt' } as const;

function withCustody(
  run: (bench: {
    readonly at: (name: CredentialName) => string;
    readonly custody: ReturnType<typeof createCredentialCustody>;
    readonly refused: string[];
  }) => void,
): void {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-custody-'));
  const at = (name: CredentialName) => join(directory, name);
  for (const name of credentialNames) writeFileSync(at(name), `first ${name}`, { mode: 0o600 });
  const paths = Object.fromEntries(credentialNames.map((name) => [name, at(name)])) as Record<CredentialName, string>;
  const refused: string[] = [];
  const files = credentialNames.map((name) => ({ name, path: paths[name], rules: credentialRules[name] }));
  const custody = createCredentialCustody(files, reader, {
    ...noNews,
    refused: (name, reason) => void refused.push(`${name} ${reason}`),
  });
  try {
    run({ at, custody, refused });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('all six kinds are read, each with generation 1 and its bytes', () =>
  withCustody(({ custody }) => {
    const messages = custody.look();

    assert.equal(
      messages.map(({ name, generation }) => [name, generation]),
      credentialNames.map((name) => [name, 1]),
    );
    assert.is(Buffer.from(messages[0]?.bytes ?? '', 'base64').toString(), 'first jwt');
  }));

test('a file that a configuration does not name is not in custody', () => {
  const none = { jwt: '', client_secret: '', client_chain: '', pin: '', openbao_ca: '/ca', issuer_ca: '' };

  assert.equal(
    credentialFiles({ auth, credentialPaths: none }).map(({ name }) => name),
    ['openbao_ca'],
  );
});

test('a file that the login method does not need is not in custody, although the configuration names it', () => {
  const all = Object.fromEntries(credentialNames.map((name) => [name, `/${name}`])) as Record<CredentialName, string>;

  assert.equal(
    credentialFiles({ auth, credentialPaths: all }).map(({ name }) => name),
    ['jwt', 'openbao_ca'],
  );
});

for (const name of credentialNames) {
  test(`${name}: new content is the next generation, and so are the same bytes written again; a look alone is none`, () =>
    withCustody(({ at, custody }) => {
      const generation = () => custody.look().find((message) => message.name === name)?.generation;
      generation();
      assert.is(generation(), 1);
      writeFileSync(`${at(name)}.next`, `second ${name}`, { mode: 0o600 });
      renameSync(`${at(name)}.next`, at(name));
      assert.is(generation(), 2);
      writeFileSync(at(name), `third ${name}`);
      assert.is(generation(), 3);
      utimesSync(at(name), 1, 1);
      assert.is(generation(), 4, 'another time');
      writeFileSync(`${at(name)}.next`, `third ${name}`, { mode: 0o600 });
      utimesSync(`${at(name)}.next`, 1, 1);
      renameSync(`${at(name)}.next`, at(name));
      assert.is(generation(), 5, 'another inode with the same bytes and time');
      assert.is(generation(), 5);
    }));

  test(`${name}: each forbidden bit is refused, named and counted, and changes nothing`, () =>
    withCustody(({ at, custody, refused }) => {
      custody.look();
      const { forbiddenBits } = credentialRules[name];
      for (let bit = 1; bit <= 0o400; bit *= 2) {
        if ((forbiddenBits & bit) === 0) continue;
        chmodSync(at(name), 0o600 | bit);
        refused.length = 0;
        const message = custody.look().find((one) => one.name === name);
        assert.equal([message?.generation, message?.absence], [0, 'unsafe_permissions'], bit.toString(8));
        assert.equal(refused, [`${name} unsafe_permissions`]);
        assert.match(throwsClass(custody.check, 'file_unsafe').message, credentialRules[name].field);
      }
      chmodSync(at(name), 0o600);
      assert.is(custody.look().find((one) => one.name === name)?.generation, 1, 'safe again: the same generation');
    }));

  test(`${name}: one byte over its limit is refused, the limit itself is read`, () =>
    withCustody(({ at, custody, refused }) => {
      const { maxBytes } = credentialRules[name];
      writeFileSync(at(name), Buffer.alloc(maxBytes, 0x61));
      custody.look();
      assert.equal(refused, []);
      writeFileSync(at(name), Buffer.alloc(maxBytes + 1, 0x61));
      custody.look();
      assert.equal(refused, [`${name} file_too_large`]);
    }));
}

test('a vanished file is absent with its reason; when it is back it is the next generation', () =>
  withCustody(({ at, custody, refused }) => {
    custody.look();
    unlinkSync(at('jwt'));
    const gone = custody.look()[0];
    assert.equal([gone?.generation, gone?.absence], [0, 'file_missing']);
    writeFileSync(at('jwt'), 'first jwt', { mode: 0o600 });
    assert.is(custody.look()[0]?.generation, 2);
    assert.equal(refused, ['jwt file_missing']);
  }));

test('a check names every problem at once, by its configuration field', () =>
  withCustody(({ at, custody }) => {
    chmodSync(at('pin'), 0o644);
    chmodSync(at('openbao_ca'), 0o666);
    const { message } = throwsClass(custody.check, 'file_unsafe');

    assert.match(message, /auth\.cert\.pkcs11\.pinFile.*openbao\.caCertFile/u);
  }));

test('each kind of file has its own forbidden bits and greatest size', () => {
  assert.equal(
    Object.entries(credentialRules).map(([name, { forbiddenBits, maxBytes }]) => [
      name,
      forbiddenBits.toString(8),
      maxBytes,
    ]),
    [
      ['openbao_ca', '22', 1_048_576],
      ['jwt', '37', 1_048_576],
      ['client_secret', '137', 1_048_576],
      ['issuer_ca', '22', 1_048_576],
      ['client_chain', '37', 1_048_576],
      ['pin', '37', 4_096],
    ],
  );
});

test('the custody of another configuration goes on from the same generations, and neither shows in the other', () =>
  withCustody(({ at, custody }) => {
    const generationOf = (of: typeof custody) => of.look().find(({ name }) => name === 'jwt')?.generation;
    const other = join(dirname(at('jwt')), 'another');
    writeFileSync(other, 'another', { mode: 0o600 });
    assert.is(generationOf(custody), 1);
    const forked = custody.fork([{ name: 'jwt', path: other, rules: credentialRules.jwt }], noNews);
    const same = custody.fork([{ name: 'jwt', path: at('jwt'), rules: credentialRules.jwt }], noNews);
    assert.equal([generationOf(forked), generationOf(same), generationOf(custody)], [2, 1, 1]);
    writeFileSync(at('jwt'), 'second jwt', { mode: 0o600 });
    assert.equal([generationOf(custody), generationOf(forked)], [2, 2]);
  }));

test('of files that do not count yet nothing is told', () =>
  withCustody(({ at, custody }) => {
    const told: string[] = [];
    let counts = false;
    const news = {
      refused: (name: CredentialName) => void told.push(`refused ${name}`),
      read: (name: CredentialName) => void told.push(`read ${name}`),
    };
    const files = [
      { name: 'jwt', path: at('jwt'), rules: credentialRules.jwt },
      { name: 'pin', path: '/nonexistent/pin', rules: credentialRules.pin },
    ] as const;
    const forked = custody.fork(
      files,
      newsOnce(() => counts, news),
    );
    forked.look();
    assert.equal(told, []);
    counts = true;
    forked.look();
    assert.equal(told, ['read jwt', 'refused pin']);
  }));

test('behind a linked directory the one that holds the link is watched too, and nothing twice', () =>
  withCustody(({ at }) => {
    const directory = dirname(at('jwt'));
    symlinkSync('.', join(directory, '..data'));
    const path = join(directory, '..data/jwt');
    const named = {
      jwt: path,
      client_secret: '',
      client_chain: '',
      pin: '',
      openbao_ca: '',
      issuer_ca: '',
    };
    const custody = createCredentialCustody(credentialFiles({ auth, credentialPaths: named }), reader, noNews);
    assert.equal([...custody.directories()].sort(), [directory, join(directory, '..data')].sort());
  }));

test('a file that is swapped while it is opened is not read', () =>
  withCustody(({ at }) => {
    const swap = () => {
      writeFileSync(`${at('jwt')}.new`, 'another', { mode: 0o600 });
      renameSync(`${at('jwt')}.new`, at('jwt'));
    };
    throwsClass(() => readTrustedFile(at('jwt'), credentialRules.jwt, reader, { after: swap }), 'file_changed');
    assert.is(readTrustedFile(at('jwt'), credentialRules.jwt, reader).bytes.toString(), 'another');
  }));

test.run();
