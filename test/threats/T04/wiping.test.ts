// T04 auth material theft, from memory: the buffers that a credential was read into hold nothing of it when it has been passed on.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createCredentialCustody, credentialRules, noNews } from '../../../supervisor/custody/credentials.ts';

const reader = { uid: process.geteuid?.() ?? -1, gids: [process.getegid?.() ?? -1] };
const secret = 'canary-secret-content';

/** Every buffer that is made while `run` runs. */
function buffersOf(run: () => void): Buffer[] {
  const made: Buffer[] = [];
  const { alloc, from } = Buffer;
  const keep = <Made extends Buffer>(buffer: Made): Made => {
    made.push(buffer);
    return buffer;
  };
  Buffer.alloc = (...words: Parameters<typeof alloc>) => keep(alloc(...words));
  Buffer.from = ((...words: Parameters<typeof Buffer.from>) => keep(from(...words))) as typeof Buffer.from;
  try {
    run();
  } finally {
    Object.assign(Buffer, { alloc, from });
  }
  return made;
}

function withSecret(content: string, run: (custody: ReturnType<typeof createCredentialCustody>) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-t04-wiping-'));
  const path = join(directory, 'pin');
  writeFileSync(path, content);
  chmodSync(path, 0o600);
  try {
    run(createCredentialCustody([{ name: 'pin', path, rules: credentialRules.pin }], reader, noNews));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const isWiped = (buffer: Buffer) => buffer.every((byte) => byte === 0);

test('passed on, checked, and refused because it is too large: no buffer keeps a byte', () => {
  withSecret(secret, (custody) => {
    let passedOn = '';
    const made = buffersOf(() => {
      const [message] = custody.look();
      passedOn = message !== undefined && 'bytes' in message ? String(message.bytes) : '';
    });
    assert.is(Buffer.from(passedOn, 'base64').toString(), secret);
    assert.is(made.length, 2);
    assert.ok(made.every(isWiped));
    assert.ok(buffersOf(() => custody.check()).every(isWiped));
  });
  withSecret(secret.repeat(1_000), (custody) => {
    const made = buffersOf(() => assert.throws(() => custody.check()));
    assert.is(made.length, 1);
    assert.ok(made.every(isWiped));
  });
});

test.run();
