// The wait between "stable" and "active": monotonic, in memory, for exactly one key_id (spec/rotation 2.4). What an earlier plugin
// has waited comes from the supervisor and counts from the first good observation of this one. Pure.

export type ActivationWait = {
  /** From the supervisor; gone after the first observation. */
  readonly inherited: { readonly keyId: string; readonly elapsedMs: number } | undefined;
  readonly waiting: { readonly keyId: string; readonly endsAtMs: number } | undefined;
};

export function startWait(inherited: ActivationWait['inherited']): ActivationWait {
  return { inherited, waiting: undefined };
}

/** @param keyId  which key_id a saved and published observation found stable; none, or another one, ends the wait */
export function afterObservation(
  { inherited, waiting }: ActivationWait,
  keyId: string | undefined,
  delayMs: number,
  nowMs: number,
): ActivationWait {
  if (keyId === undefined) return { inherited: undefined, waiting: undefined };
  if (keyId === waiting?.keyId) return { inherited: undefined, waiting };
  const elapsedMs = inherited?.keyId === keyId ? inherited.elapsedMs : 0;
  return { inherited: undefined, waiting: { keyId, endsAtMs: nowMs + Math.max(0, delayMs - elapsedMs) } };
}

/** The key_id whose wait is over, if any. */
export function elapsedKeyId({ waiting }: ActivationWait, nowMs: number): string | undefined {
  // control: activation-wait.over
  return waiting !== undefined && nowMs >= waiting.endsAtMs ? waiting.keyId : undefined;
}
