// Document → typed values by the field table. Strict: unknown names, foreign types and bare numbers for durations are
// problems; all of them are collected before anything is said.

import { ProviderError } from '../errors/error.ts';
import { nearestName } from '../text/nearest.ts';
import { durationExpected, parseDurationMs } from '../time/duration.ts';
import { type Field, type FieldPath, fields } from './fields.ts';
import { type Problem, problem } from './problem.ts';

export type Value = string | number | boolean | readonly string[];
/** Values by dotted path: durations in milliseconds, absent ones defaulted. */
export type Values = ReadonlyMap<FieldPath, Value>;
export type Decoded = { readonly values: Values; readonly written: ReadonlySet<string>; readonly problems: Problem[] };

/**
 * Reads a parsed document against the table. A field that broke its rules keeps its value for the cross-field checks to
 * skip; a field of the wrong type has none.
 *
 * @param overrides  values by path that win over the document
 */
export function decodeDocument(document: unknown, overrides: ReadonlyMap<string, string>): Decoded {
  const problems: Problem[] = [];
  const leaves = new Map<string, unknown>();
  flatten(document, '', leaves, problems);
  for (const [path, value] of overrides) leaves.set(path, value);
  const values = new Map<FieldPath, Value>();
  for (const field of fields) {
    const raw = leaves.get(field.path) ?? undefined;
    const value = raw === undefined ? defaultOf(field) : decodeValue(field, raw, problems);
    if (value !== undefined) values.set(field.path, value);
  }
  const written = new Set([...leaves].filter(([, value]) => value !== null).map(([path]) => path));
  return { values, written, problems };
}

const sections = new Set(
  fields.flatMap(({ path }) => path.split('.').map((_, index, parts) => parts.slice(0, index).join('.'))),
);
const leafPaths: ReadonlySet<string> = new Set(fields.map(({ path }) => path));

function flatten(value: unknown, path: string, leaves: Map<string, unknown>, problems: Problem[]): void {
  if (value === null || value === undefined) return;
  if (typeof value !== 'object' || Array.isArray(value)) {
    problems.push(problem(path === '' ? 'config' : path, 'type', 'must be a mapping'));
    return;
  }
  for (const [name, child] of Object.entries(value)) {
    const childPath = path === '' ? name : `${path}.${name}`;
    if (leafPaths.has(childPath)) leaves.set(childPath, child);
    else if (sections.has(childPath)) {
      leaves.set(childPath, child);
      flatten(child, childPath, leaves, problems);
    } else problems.push(problem(childPath, 'unknown', `is not a known field${suggestion(path, name)}`));
  }
}

function suggestion(section: string, name: string): string {
  const prefix = section === '' ? '' : `${section}.`;
  const siblings = [...leafPaths, ...sections]
    .filter((path) => path !== '' && path.startsWith(prefix) && !path.slice(prefix.length).includes('.'))
    .map((path) => path.slice(prefix.length));
  const near = nearestName(name, siblings);
  return near === undefined ? '' : `; did you mean ${near}?`;
}

function defaultOf(field: Field): Value | undefined {
  if (field.kind === 'strings') return [];
  if (field.kind === 'duration') return parseDurationMs(field.byDefault);
  return field.byDefault;
}

function decodeValue(field: Field, raw: unknown, problems: Problem[]): Value | undefined {
  const wrongType = (message: string) => {
    problems.push(problem(field.path, 'type', message));
    return undefined;
  };
  switch (field.kind) {
    case 'string':
      return typeof raw === 'string' ? canonical(field, raw) : wrongType('must be a string; put it in quotes');
    case 'integer':
      return Number.isSafeInteger(raw) && typeof raw === 'number'
        ? raw
        : wrongType('must be an integer without quotes');
    case 'boolean':
      return typeof raw === 'boolean' ? raw : wrongType('must be true or false without quotes');
    case 'strings':
      return isStrings(raw) ? [...raw] : wrongType('must be a list of strings');
    case 'duration':
      return decodeDuration(raw) ?? wrongType(durationExpected);
  }
}

function canonical(field: Field & { readonly kind: 'string' }, text: string): string {
  return field.canonical === undefined ? text : field.canonical(text);
}

function isStrings(raw: unknown): raw is readonly string[] {
  return Array.isArray(raw) && raw.every((item) => typeof item === 'string');
}

function decodeDuration(raw: unknown): number | undefined {
  if (typeof raw !== 'string') return undefined;
  try {
    return parseDurationMs(raw);
  } catch (error) {
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}

/** Applies a field's own rules to its value; the problems of one field, in rule order. */
export function checkField(field: Field, value: Value | undefined): Problem[] {
  if (value === undefined) return missing(field);
  const broken = brokenRules(field, value);
  const isRequiredBroken = broken.some(({ code }) => code === 'required');
  const shown = isRequiredBroken ? broken.filter(({ code }) => code === 'required') : broken;
  return shown.map(({ code, message }) => problem(field.path, code, message));
}

function missing(field: Field): Problem[] {
  const isRequired =
    field.kind === 'integer' || (field.kind === 'string' && field.rules.some(({ code }) => code === 'required'));
  return isRequired ? [problem(field.path, 'required', 'is required')] : [];
}

function brokenRules(field: Field, value: Value): readonly { readonly code: string; readonly message: string }[] {
  if (field.kind === 'boolean') return [];
  if (field.kind === 'strings') {
    const items = isStrings(value) ? value : [];
    const hasEmpty = items.some((item) => item.trim() === '');
    const empty = hasEmpty ? [{ code: 'empty_item', message: 'must not contain empty values' }] : [];
    return [...empty, ...field.rules.filter((rule) => !items.every((item) => rule.holds(item)))];
  }
  if (field.kind === 'string') return typeof value === 'string' ? field.rules.filter((rule) => !rule.holds(value)) : [];
  return typeof value === 'number' ? field.rules.filter((rule) => !rule.holds(value)) : [];
}
