// Reports of commands: one list of members, printed as text for people or as JSON for machines. Zero, empty and absent members
// are left out of JSON, but for those that a report always has (spec/supervisor 4.3).

export type Member =
  | string
  | number
  | boolean
  | undefined
  | readonly (string | Readonly<Record<string, string | number>>)[];
export type Report = {
  readonly members: Readonly<Record<string, Member>>;
  /** Present in JSON even when false, empty or zero. */
  readonly always: readonly string[];
};

export type OutputFormat = 'text' | 'json';

/** With a final newline. */
export function printReport(report: Report, format: OutputFormat): string {
  return format === 'json' ? toJson(report) : toText(report);
}

function toJson({ members, always }: Report): string {
  const isKept = ([name, value]: [string, Member]) =>
    always.includes(name) || !(value === undefined || value === '' || value === 0 || value === false || isEmpty(value));
  return `${JSON.stringify(Object.fromEntries(Object.entries(members).filter(isKept)), null, 2)}\n`;
}

function isEmpty(value: Member): boolean {
  return Array.isArray(value) && value.length === 0;
}

const listWords: Readonly<Record<string, string>> = {
  removedVersions: 'remove',
  restoredVersions: 'restore',
  limitations: 'limitation',
  warnings: 'warning',
  problems: 'problem',
  transitRightsFindings: 'right',
};

function toText({ members }: Report): string {
  const lines = Object.entries(members).flatMap(([name, value]) => {
    if (value === undefined || value === '') return [];
    if (name === 'name' || name === 'operation') return [String(value)];
    if (typeof value !== 'object') return [`${name}: ${value}`];
    return value.map((item) => `${listWords[name] ?? name}: ${itemText(item)}`);
  });
  return `${lines.join('\n')}\n`;
}

function itemText(item: string | Readonly<Record<string, string | number>>): string {
  if (typeof item === 'string') return item;
  return Object.entries(item)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}
