// Which of several failures is named as the cause: one that decides the verdict before one that only lets evidence age, and a
// denial together with the right that is missing for it. Pure.

import { isFatal, type RightFinding } from '../keys/rights.ts';
import type { Evidence, Failing, Failure, KindEvidence, Reason, ShownCause } from './verdict.ts';

export function causeShown({ metadata, deep, rights }: Evidence): ShownCause | undefined {
  const { findings } = rights;
  const fatal = findings.find(isFatal);
  return (
    shown(metadata.wrong, metadata, findings) ??
    shown(deep.wrong, deep, findings) ??
    (fatal && missing(fatal, rights.failing)) ??
    shown(metadata.failure, metadata, findings) ??
    shown(deep.failure, deep, findings)
  );
}

/** A right that is missing is a denial that has not happened yet, and has the class of one. */
function missing(finding: RightFinding, failing: Failing | undefined): ShownCause | undefined {
  return failing && { reason: 'rights_missing', class: 'permission_denied', finding, ...failing };
}

function shown(
  failure: Failure | undefined,
  { failing }: KindEvidence,
  findings: readonly RightFinding[],
): ShownCause | undefined {
  if (failure === undefined || failing === undefined) return undefined;
  const { reason, cause } = failure;
  const isDenial = cause.class === 'permission_denied' && cause.finding === undefined;
  const finding = isDenial ? rightsBehind[reason]?.find((right) => findings.includes(right)) : undefined;
  return { reason, ...cause, ...(finding === undefined ? {} : { finding }), ...failing };
}

const rightsBehind: Partial<Record<Reason, readonly RightFinding[]>> = {
  upsert_check_failed: ['missing_upsert_read'],
  metadata_read_failed: ['missing_metadata_read'],
  deep_probe_failed: ['missing_encrypt', 'missing_decrypt'],
};
