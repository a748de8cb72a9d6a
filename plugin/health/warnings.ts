// What is no fault yet and will become one when nobody acts: told in `/ready` (still 200), in the status line and as gauges.

import type { DirectoryName, PortName } from '../../shared/channel/messages.ts';
import { isFatal, type RightFinding, type WarningCode, warningCodes } from '../../shared/errors/words.ts';

export { type WarningCode, warningCodes };

export type Warning = {
  readonly warning: WarningCode;
  /** Of the credential. */
  readonly name?: string;
  readonly class?: string;
  readonly detail?: string;
  readonly waitingMs?: number;
};

/** A newer generation of a credential that is not in use. */
export type CredentialWarning = {
  readonly name: string;
  /** `refused`: tried and not accepted; `waiting`: not tried yet, or nothing answered. */
  readonly state: 'refused' | 'waiting';
  readonly class?: string;
  readonly detail?: string;
  /** Since it lies on disk. */
  readonly waitingMs: number;
};

export type WarningSources = {
  readonly credentials: () => readonly CredentialWarning[];
  /** Whether nobody has asked for Status for too long. */
  readonly isStatusSilent: () => boolean;
  readonly decryptFailing: () => { readonly class: string } | undefined;
  readonly rightFindings: () => readonly RightFinding[];
  /** Of the supervisor: no new credential can arrive, nothing can be saved. That of the socket is a fault and no warning. */
  readonly directoriesGone: () => readonly DirectoryName[];
  /** Of the supervisor: nobody can scrape, or probe, there. */
  readonly portsTaken: () => readonly PortName[];
  /** Whether the registry comes near to what it may hold at most. */
  readonly isRegistryLarge: () => boolean;
};

const directoryWarnings = [
  ['credentials', 'credentials_directory_gone'],
  ['state', 'state_directory_gone'],
] as const;

export function warningsOf(sources: WarningSources): readonly Warning[] {
  const decrypt = sources.decryptFailing();
  const gone = sources.directoriesGone();
  return [
    ...sources.credentials().map(credentialWarning),
    ...(sources.isStatusSilent() ? [{ warning: 'no_status_calls' as const }] : []),
    ...(decrypt === undefined ? [] : [{ warning: 'decrypt_failing' as const, class: decrypt.class }]),
    ...directoryWarnings.filter(([name]) => gone.includes(name)).map(([, warning]) => ({ warning })),
    ...(sources.isRegistryLarge() ? [{ warning: 'registry_large' as const }] : []),
    ...sources.portsTaken().map((name) => ({ warning: `${name}_port_taken` as const })),
    ...sources
      .rightFindings()
      .filter((finding) => !isFatal(finding))
      .map((finding) => ({ warning: finding })),
  ];
}

function credentialWarning({ state, ...rest }: CredentialWarning): Warning {
  return { warning: state === 'refused' ? 'credential_refused' : 'credential_waiting', ...rest };
}
