// What the supervisor takes out of the configuration before it sends it: the plugin gets no path of this host.

import { fields } from './fields.ts';

const placeholders: ReadonlyMap<string, string> = new Map(
  fields.flatMap((field) =>
    field.kind === 'string' && field.isPath === true ? [[field.path, field.placeholder ?? '/withheld']] : [],
  ),
);

/** A copy of a valid document in which every path that was written is a placeholder of the same form. */
export function withoutPaths(document: unknown, at = ''): unknown {
  const isWritten = document !== '' && document !== null;
  if (isWritten && placeholders.has(at)) return placeholders.get(at);
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return document;
  const entries = Object.entries(document);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, withoutPaths(value, at === '' ? name : `${at}.${name}`)]),
  );
}
