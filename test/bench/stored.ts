// Values as an API server stores them with KMS v2, made without one: thousands of seeds, where each start of an API server makes one.

import { createCipheriv, createHmac, randomBytes } from 'node:crypto';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { KmsClient } from '../support/kms-client.ts';

const infoBytes = 32;
const nonceBytes = 12;

/** HKDF without its first half: the key of one value, from the seed and what stands before the value (SHA-256, one block). */
function keyOf(seed: Buffer, info: Buffer): Buffer {
  return createHmac('sha256', seed).update(info).update(Buffer.of(1)).digest();
}

/** The bytes of a value, bound to its key in etcd: info, nonce, ciphertext, tag. */
function sealWith(seed: Buffer, plaintext: Buffer, key: string): Buffer {
  const [info, nonce] = [randomBytes(infoBytes), randomBytes(nonceBytes)];
  const cipher = createCipheriv('aes-256-gcm', keyOf(seed, info), nonce);
  cipher.setAAD(Buffer.from(key));
  return Buffer.concat([info, nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** Seals a value under a seed of its own, which the provider encrypts. `key`: where it will lie in etcd. */
export async function sealValue(
  client: KmsClient,
  providerName: string,
  plaintext: Buffer,
  key: string,
): Promise<Buffer> {
  const seed = randomBytes(32);
  const { ciphertext, keyId, annotations } = await client.encrypt(seed);
  const envelope = new BinaryWriter();
  const field = (number: number) => envelope.tag(number, WireType.LengthDelimited);
  field(1).bytes(sealWith(seed, plaintext, key));
  field(2).string(keyId);
  field(3).bytes(ciphertext);
  for (const [name, value] of annotations) {
    field(4).fork();
    envelope.tag(1, WireType.LengthDelimited).string(name).tag(2, WireType.LengthDelimited).bytes(value);
    envelope.join();
  }
  // Field 3 is a seed, not the key itself.
  envelope.tag(5, WireType.Varint).int32(1);
  return Buffer.concat([Buffer.from(`k8s:enc:kms:v2:${providerName}:`), envelope.finish()]);
}
