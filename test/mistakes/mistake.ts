// One mistake of an administrator: how it is made, and what must be told of it.

import type { Reason } from '../../plugin/health/verdict.ts';
import type { RightFinding } from '../../plugin/keys/rights.ts';
import type { ConfigDocument } from '../support/workplace.ts';
import type { Place, PlaceOptions } from './place.ts';

export type Told = {
  readonly reason: Reason;
  readonly class: string;
  readonly detail?: string;
  readonly finding?: string;
  readonly httpStatus?: number;
  /** The right that is missing, as OpenBao tells it when it is asked; it stands in place of a finding. */
  readonly right?: RightFinding;
};

export type Mistake = PlaceOptions & {
  readonly title: string;
  readonly told: Told;
  readonly make?: (place: Place) => unknown;
  /** The mistake is made while the provider serves, not before it starts. */
  readonly isMadeWhileServing?: true;
  /** Why it cannot be made on the development server. */
  readonly needsReal?: true;
};

/** What does no harm yet: Status stays ok, and a warning tells of it. */
export type Warned = PlaceOptions & {
  readonly title: string;
  readonly make: (place: Place) => unknown;
  readonly warning: RightFinding;
};

/** Sets a field by its path. */
export const field =
  (path: string, value: unknown) =>
  (config: ConfigDocument): void => {
    const names = path.split('.');
    const last = names.pop() ?? '';
    let at: Record<string, unknown> = config;
    for (const name of names) {
      at[name] ??= {};
      at = at[name] as Record<string, unknown>;
    }
    at[last] = value;
  };
export const role = (changes: Record<string, unknown>) => (place: Place) => place.setRole(changes);
export const now = () => Math.floor(Date.now() / 1000);
