// Shapes of messages: what a value must be, and the type that it has then. What a shape does not name does not pass. Just what the
// channel needs, so that no schema library runs in the privileged process. Made for what JSON.parse returns.

declare const staticType: unique symbol;

/** Whether a value is of type `T`. */
export type Shape<T = unknown> = {
  readonly fits: (value: unknown) => boolean;
  /** The member may be absent. */
  readonly isOptional?: true;
  readonly [staticType]?: T;
};
export type Static<S extends Shape> = NonNullable<S[typeof staticType]>;

type Members = Readonly<Record<string, Shape>>;
type AbsentNames<M extends Members> = {
  [K in keyof M]: M[K] extends { readonly isOptional: true } ? K : never;
}[keyof M];
type StaticMembers<M extends Members> = {
  [K in Exclude<keyof M, AbsentNames<M>>]: M[K] extends Shape<infer T> ? T : never;
} & { [K in AbsentNames<M>]?: M[K] extends Shape<infer T> ? T : never };
/** As one object type. */
type Flat<T> = { [K in keyof T]: T[K] };

type Range = { readonly minimum?: number; readonly maximum?: number };

/** Finite, within the range; the ends belong to it. */
function numberIn(range: Range = {}): Shape<number> {
  const { minimum = -Infinity, maximum = Infinity } = range;
  return {
    fits: (value) => typeof value === 'number' && Number.isFinite(value) && value >= minimum && value <= maximum,
  };
}

/** Whole, within the range; the ends belong to it. */
function integerIn(range: Range = {}): Shape<number> {
  const { fits } = numberIn(range);
  return { fits: (value) => Number.isInteger(value) && fits(value) };
}

/** `maxLength` in UTF-16 units; `pattern` must be anchored by whoever writes it. */
function stringOf(rules: { readonly maxLength?: number; readonly pattern?: string } = {}): Shape<string> {
  const { maxLength = Infinity } = rules;
  const pattern = rules.pattern === undefined ? undefined : new RegExp(rules.pattern, 'u');
  return {
    fits: (value) => typeof value === 'string' && value.length <= maxLength && (pattern?.test(value) ?? true),
  };
}

function booleanOf(): Shape<boolean> {
  return { fits: (value) => typeof value === 'boolean' };
}

function anything(): Shape<unknown> {
  return { fits: () => true };
}

function literal<const T extends string>(wanted: T): Shape<T> {
  return { fits: (value) => value === wanted };
}

/** One word of the list. */
function oneOf<const T extends string>(words: readonly T[]): Shape<T> {
  const known = new Set<unknown>(words);
  return { fits: (value) => known.has(value) };
}

function optional<T>(shape: Shape<T>): Shape<T> & { readonly isOptional: true } {
  return { ...shape, isOptional: true };
}

function arrayOf<T>(items: Shape<T>, { maxItems }: { readonly maxItems: number }): Shape<T[]> {
  return { fits: (value) => Array.isArray(value) && value.length <= maxItems && value.every(items.fits) };
}

/** Names and values are both judged. */
function recordOf<T>(name: Shape<string>, member: Shape<T>): Shape<Record<string, T>> {
  return {
    fits: (value) => isObject(value) && Object.entries(value).every(([key, one]) => name.fits(key) && member.fits(one)),
  };
}

/** Exactly these members. */
function objectOf<const M extends Members>(members: M): Shape<Flat<StaticMembers<M>>> {
  const names = new Map(Object.entries(members));
  return {
    fits: (value) =>
      isObject(value) &&
      Object.keys(value).every((name) => names.has(name)) &&
      [...names].every(([name, { fits, isOptional }]) =>
        Object.hasOwn(value, name) ? fits(value[name]) : isOptional === true,
      ),
  };
}

/** The first that fits. */
function unionOf<const S extends readonly Shape[]>(shapes: S): Shape<Static<S[number]>> {
  return { fits: (value) => shapes.some(({ fits }) => fits(value)) };
}

/** The makers of shapes, under the words of JSON Schema. */
export const Type = {
  Number: numberIn,
  Integer: integerIn,
  String: stringOf,
  Boolean: booleanOf,
  Unknown: anything,
  Literal: literal,
  Enum: oneOf,
  Optional: optional,
  Array: arrayOf,
  Record: recordOf,
  Object: objectOf,
  Union: unionOf,
} as const;

/** Whether a value has the shape, and with it the type. */
export function check<T>(shape: Shape<T>, value: unknown): value is T {
  return shape.fits(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
