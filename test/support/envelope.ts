// What the API server stores with KMS v2: a prefix with the provider's name, then one protobuf message.

import { BinaryReader } from '@bufbuild/protobuf/wire';

export type Envelope = {
  readonly data: Buffer;
  readonly keyId: string;
  /** The seed as our Encrypt has sealed it. */
  readonly seed: Buffer;
  readonly annotations: Map<string, Buffer>;
  /** 1: a seed with a key for each write; 0: the key itself. */
  readonly seedType: number;
};

/** @throws Error when it is no KMS v2 value of this provider, or has members that nobody knows */
export function envelopeOf(stored: Buffer, providerName: string): Envelope {
  const prefix = Buffer.from(`k8s:enc:kms:v2:${providerName}:`);
  if (!stored.subarray(0, prefix.length).equals(prefix)) throw new Error('no KMS v2 value of this provider');
  const reader = new BinaryReader(stored.subarray(prefix.length));
  const bytes = () => Buffer.from(reader.bytes());
  const envelope = { data: Buffer.alloc(0), keyId: '', seed: Buffer.alloc(0), seedType: 0 };
  const annotations = new Map<string, Buffer>();
  while (reader.pos < reader.len) {
    const [field] = reader.tag();
    if (field === 1) envelope.data = bytes();
    else if (field === 2) envelope.keyId = reader.string();
    else if (field === 3) envelope.seed = bytes();
    else if (field === 4) annotations.set(...entryOf(bytes()));
    else if (field === 5) envelope.seedType = reader.int32();
    else throw new Error(`unknown field ${field}`);
  }
  return { ...envelope, annotations };
}

function entryOf(bytes: Buffer): [string, Buffer] {
  const reader = new BinaryReader(bytes);
  let [name, value] = ['', Buffer.alloc(0)];
  while (reader.pos < reader.len) {
    const [field] = reader.tag();
    if (field === 1) name = reader.string();
    else value = Buffer.from(reader.bytes());
  }
  return [name, value];
}
