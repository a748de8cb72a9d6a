// The addresses behind the name of OpenBao: asked for again at most every 5 s, and in an order that starts with those that did
// not fail. A resolver that fails or dawdles is no reason to forget what it said before: the certificate decides who answers.

import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Clock } from '../../shared/time/clock.ts';
import { pause } from '../../shared/time/deadline.ts';

export type Resolve = (name: string) => Promise<readonly string[]>;

export type Addresses = {
  /**
   * At least one address; those that failed come last, the latest failure at the very end.
   *
   * @throws the resolver's error when there never was an address
   */
  readonly inOrder: () => Promise<readonly string[]>;
  readonly failed: (address: string) => void;
  /** Whether one is known that did not fail. */
  readonly hasBetter: () => boolean;
  /** A good answer came from there. */
  readonly answered: (address: string) => void;
};

const askedAgainAfterMs = 5_000;
/** How long a new answer of the resolver is waited for while there is an old one. */
const patienceMs = 1_000;

type Asked = { readonly atMs: number; readonly answer: Promise<readonly string[]> };

export function createAddresses(host: string, clock: Clock, resolve: Resolve = resolveName): Addresses {
  let known: readonly string[] = isIP(host) === 0 ? [] : [host];
  let asked: Asked | undefined;
  // In the order in which they failed.
  const failures = new Set<string>();

  const ask = (): Promise<readonly string[]> => {
    const nowMs = clock.nowMs();
    if (asked !== undefined && nowMs - asked.atMs < askedAgainAfterMs) return asked.answer;
    const answer = resolve(host).then((addresses) => {
      if (addresses.length === 0) throw Object.assign(new Error('no address'), { code: 'ENODATA' });
      known = addresses;
      for (const address of failures) if (!addresses.includes(address)) failures.delete(address);
      return addresses;
    });
    answer.catch(() => undefined);
    asked = { atMs: nowMs, answer };
    return answer;
  };
  const newest = async (): Promise<readonly string[]> => {
    if (isIP(host) !== 0) return known;
    if (known.length === 0) return ask();
    await Promise.race([ask().catch(() => undefined), pause(clock, patienceMs)]);
    return known;
  };
  return {
    inOrder: async () => {
      const addresses = await newest();
      const rank = [...failures];
      return addresses.toSorted((one, other) => rank.indexOf(one) - rank.indexOf(other));
    },
    failed: (address) => {
      failures.delete(address);
      failures.add(address);
    },
    hasBetter: () => known.some((address) => !failures.has(address)),
    answered: (address) => void failures.delete(address),
  };
}

async function resolveName(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true, order: 'verbatim' });
  return [...new Set(found.map(({ address }) => address))];
}
