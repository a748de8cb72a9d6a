// Transit's ciphertext text, `vault:v<N>:<base64>`. We store it unchanged; all we read is the version in front.

/** Whether KMS ciphertext bytes can be Transit text at all: printable ASCII, no blank (spec/formats 6.1). */
export function isPrintableAscii(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte >= 0x21 && byte <= 0x7e);
}

/** The version that the prefix names; undefined without such a prefix, which is no fault. */
export function versionOfCiphertext(ciphertext: string): number | undefined {
  const version = /^vault:v([0-9]{1,10}):/u.exec(ciphertext)?.[1];
  return version === undefined ? undefined : Number(version);
}
