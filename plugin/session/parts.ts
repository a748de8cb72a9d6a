// What is used together: one generation of each credential of a method, or of the CA alone. The machine of trials counts them as one,
// with one number; outside, each credential goes by its own name and generation.

import type { CredentialName } from '../../shared/channel/messages.ts';

export type Credential = { readonly name: CredentialName; readonly generation: number; readonly bytes: Buffer };

/** One for each name, in the order of the names. */
export type Parts = readonly Credential[];

/** The newest generation of each name. */
export class NewestParts {
  readonly #names: readonly CredentialName[];
  readonly #newest = new Map<CredentialName, Credential>();

  constructor(names: readonly CredentialName[]) {
    this.#names = names;
  }

  /** @returns undefined while one is missing, or when this one is not newer */
  take(credential: Credential): Parts | undefined {
    const { name, generation } = credential;
    if (generation <= (this.#newest.get(name)?.generation ?? 0)) return undefined;
    this.#newest.set(name, credential);
    const parts = this.#names.flatMap((one) => this.#newest.get(one) ?? []);
    return parts.length === this.#names.length ? parts : undefined;
  }

  has(bytes: Buffer): boolean {
    return [...this.#newest.values()].some((credential) => credential.bytes === bytes);
  }
}

/** Grows with each newer part; of a single part it is the generation. */
export function numberOf(parts: Parts): number {
  return parts.reduce((sum, { generation }) => sum + generation, 0);
}

export function hasSameBytes(parts: Parts, others: Parts): boolean {
  return parts.every(({ bytes }, index) => others[index]?.bytes.equals(bytes) === true);
}

/** Those that are not the same generation in the others. */
export function newIn(parts: Parts, others: Parts): Parts {
  return parts.filter(({ generation }, index) => others[index]?.generation !== generation);
}
