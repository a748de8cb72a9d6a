// Answers of OpenBao as the HTTP layer sends them: the success envelope, the error body, and the two ways an error is told.

import { randomUUID } from 'node:crypto';

export type Answer = {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** The body ends without the line feed that every other one has. */
  readonly isWithoutLineFeed?: true;
};
export type Auth = Readonly<Record<string, unknown>>;

/** 200 with `data` (members sorted, as Go prints maps) or `auth`. */
export function success(
  data: Record<string, unknown> | null,
  auth: Auth | null = null,
  warnings: string[] | null = null,
): Answer {
  const sorted = data === null ? null : Object.fromEntries(Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1)));
  return {
    status: 200,
    body: {
      request_id: randomUUID(),
      lease_id: '',
      renewable: false,
      lease_duration: 0,
      data: sorted,
      wrap_info: null,
      warnings,
      auth,
    },
  };
}

export const noContent: Answer = { status: 204, body: undefined };

/** An error whose text the endpoint wrote itself. */
export function refuse(status: number, ...errors: string[]): Answer {
  return { status, body: { errors } };
}

/** A plain Go error of an authenticated endpoint: the text comes wrapped. */
export function wrapped(status: number, text: string): Answer {
  return refuse(status, `1 error occurred:\n\t* ${text}\n\n`);
}

export function notImplemented(feature: string): Answer {
  return refuse(501, `development server: ${feature} is not implemented`);
}

/** An answer thrown from the depth of an endpoint. */
export class Refusal extends Error {
  readonly answer: Answer;

  constructor(answer: Answer) {
    super('refused');
    this.answer = answer;
  }
}
