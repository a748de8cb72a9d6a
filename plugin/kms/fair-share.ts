// A bounded amount of something, shared fairly between connections: when it is used up, the one that has most of it gives way to
// one that has less, so that a stranger who fills it refuses nobody but himself.

import { ProviderError } from '../../shared/errors/error.ts';

export type FairShareOptions = {
  /** What can be had at a time: calls, or bytes. */
  readonly capacity: number;
  /** `always`: whatever can be lost makes room, the oldest first; `fairly`: only for one who has less, the newest first. */
  readonly yields: 'always' | 'fairly';
  /** Hears of each time that somebody lost his part or was refused. */
  readonly reached?: () => void;
};

/** One part that was taken. */
export type Share = {
  /** From now on it cannot be lost. @throws ProviderError `concurrency_limit` when it was lost before */
  readonly keep: () => void;
  /** Gives it back; more than once does nothing. */
  readonly release: () => void;
};

type Part = { readonly size: number; readonly lose: () => void };
type Owner = { size: number; readonly parts: Set<Part> };

export class FairShare {
  readonly #options: FairShareOptions;
  /** What can be lost, by connection, each in the order of taking. */
  readonly #owners = new Map<object, Owner>();
  #used = 0;

  constructor(options: FairShareOptions) {
    this.#options = options;
  }

  get used(): number {
    return this.#used;
  }

  /**
   * Takes a part without waiting.
   *
   * @param connection  whose part it is
   * @param lose  is called when somebody else needs it more; the part is gone by then
   * @throws ProviderError `concurrency_limit`
   */
  take(connection: object, size: number, lose: () => void): Share {
    while (this.#used + size > this.#options.capacity) {
      const victim = this.#victim(connection, size);
      this.#options.reached?.();
      if (victim === undefined) throw concurrencyLimit();
      this.#remove(victim.connection, victim.part);
      this.#used -= victim.part.size;
      victim.part.lose();
    }
    const part: Part = { size, lose };
    this.#add(connection, part);
    let isHeld = true;
    return {
      keep: () => {
        if (!this.#remove(connection, part)) throw concurrencyLimit();
        isHeld = false;
        this.#kept.add(part);
      },
      release: () => {
        if (isHeld ? this.#remove(connection, part) : this.#kept.delete(part)) this.#used -= size;
      },
    };
  }

  readonly #kept = new Set<Part>();

  #victim(connection: object, size: number): { readonly connection: object; readonly part: Part } | undefined {
    let greatest: [object, Owner] | undefined;
    for (const entry of this.#owners) if (greatest === undefined || entry[1].size > greatest[1].size) greatest = entry;
    if (greatest === undefined) return undefined;
    const [whose, owner] = greatest;
    const parts = [...owner.parts];
    const part = this.#options.yields === 'always' ? parts[0] : parts.at(-1);
    const isFair = owner.size > (this.#owners.get(connection)?.size ?? 0) + size;
    if (part === undefined || (this.#options.yields === 'fairly' && !isFair)) return undefined;
    return { connection: whose, part };
  }

  #add(connection: object, part: Part): void {
    const owner = this.#owners.get(connection) ?? { size: 0, parts: new Set<Part>() };
    owner.size += part.size;
    owner.parts.add(part);
    this.#owners.set(connection, owner);
    this.#used += part.size;
  }

  #remove(connection: object, part: Part): boolean {
    const owner = this.#owners.get(connection);
    if (owner?.parts.delete(part) !== true) return false;
    owner.size -= part.size;
    if (owner.parts.size === 0) this.#owners.delete(connection);
    return true;
  }
}

export function concurrencyLimit(): ProviderError {
  return new ProviderError('concurrency_limit', 'kms request concurrency limit reached');
}
