// Transit's ciphertext text, `vault:v<N>:<base64>`. We store it unchanged; all we read is the version in front.

/** Whether KMS ciphertext, one character a byte, can be Transit text at all: printable ASCII, no blank (spec/formats 6.1). */
export function isPrintableAscii(text: string): boolean {
  return /^[!-~]*$/u.test(text);
}

/** The version that the prefix names; undefined without such a prefix, which is no fault. */
export function versionOfCiphertext(ciphertext: string): number | undefined {
  const version = /^vault:v([0-9]{1,10}):/u.exec(ciphertext)?.[1];
  return version === undefined ? undefined : Number(version);
}
