// What a plugin can be started for, one row each. What a task reports is checked against its row before anybody reads it; the task
// itself stands in plugin/tasks.

import { profileWarningCodes, rightFindings } from '../errors/words.ts';
import { className, count, finding, hashText, wordOf } from './members.ts';
import { type Static, Type } from './shape.ts';

/** What it found in OpenBao, judged against the state that it was given. */
const readKey = Type.Object({
  kind: Type.Literal('report'),
  task: Type.Literal('read_key'),
  /** Whether the key was read and is acceptable, with every record of the state still served. */
  metadata: Type.Enum(['pass', 'fail']),
  errorClass: Type.Optional(className),
  finding: Type.Optional(finding),
  isUnreachable: Type.Optional(Type.Boolean()),
  latestVersion: Type.Optional(count),
  isUpsertDisabled: Type.Optional(Type.Boolean()),
  warnings: Type.Optional(Type.Array(wordOf(profileWarningCodes), { maxItems: 8 })),
  /** What is wrong with the rights of the token; absent: they could not be read. */
  rightFindings: Type.Optional(Type.Array(wordOf(rightFindings), { maxItems: 32 })),
  /** Without a state: whether a first start could make one, and the key_id that it would have. */
  bootstrap: Type.Optional(
    Type.Object({
      isEligible: Type.Boolean(),
      /** One of our sentences; nothing that a terminal obeys. */
      reason: Type.Optional(Type.String({ pattern: '^[ -~]{0,256}$' })),
      keyIdHash: Type.Optional(hashText),
    }),
  ),
  /** Recorded, never active, and not so in OpenBao; ascending, the first of them. */
  contradictedVersions: Type.Optional(Type.Array(count, { maxItems: 256 })),
  /** When OpenBao made version 1, if the only record that was ever active names another second and was wrong from the start. */
  correctedFirstAtUnix: Type.Optional(count),
  /** The latest version, which this node retired before it was ever active. */
  retiredCandidate: Type.Optional(count),
  /** The newer version that an observation would see, with what the state knows of it. */
  pending: Type.Optional(
    Type.Object({
      keyIdHash: hashText,
      transitVersion: count,
      stableObservationCount: count,
      stableAtUnix: count,
      /** Another candidate was waiting before. */
      isSuperseding: Type.Boolean(),
    }),
  ),
});

/** The tasks that report once and end; they open no listener. */
export const reports = {
  /** Reads the key once and judges it. */
  read_key: readKey,
} as const;

/** A task that reports. */
export type ReportingTask = keyof typeof reports;
/** `serve` goes on until it is drained, and reports nothing. */
export type TaskName = 'serve' | ReportingTask;
export const taskNames: readonly TaskName[] = ['serve', ...(Object.keys(reports) as ReportingTask[])];

export type ReportOf<T extends ReportingTask> = Static<(typeof reports)[T]>;
