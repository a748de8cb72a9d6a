// What the probes tell: the log and the metrics are made from it.

import type { Snapshot } from '../../shared/registry/state.ts';
import type { Failure } from '../health/verdict.ts';
import type { KeyProfile } from '../keys/profile.ts';
import type { RightFinding } from '../keys/rights.ts';

export type ProbeKind = 'metadata' | 'deep';

/** `call`: an Encrypt, a Decrypt or a login brought it forward. */
export type Trigger = 'bootstrap' | 'schedule' | 'discovery' | 'candidate' | 'call';

export type FailedWith = { readonly failure: Failure; readonly error: unknown };

export type ProbeEvent =
  | {
      readonly kind: 'probe';
      readonly probe: ProbeKind;
      readonly trigger: Trigger;
      readonly durationMs: number;
      /** Absent when it succeeded. */
      readonly failed?: FailedWith;
    }
  /** After repeated failures; nothing was learned. */
  | { readonly kind: 'skipped'; readonly probe: ProbeKind; readonly trigger: Trigger }
  /** A look at our rights; with an error OpenBao did not tell them, and the findings are what was known. */
  | { readonly kind: 'rights'; readonly findings: readonly RightFinding[]; readonly error?: unknown }
  | { readonly kind: 'promoted'; readonly previous: Snapshot; readonly active: Snapshot }
  | { readonly kind: 'clock_regressed' }
  | { readonly kind: 'profile'; readonly profile: KeyProfile };
