// Places in the sources that tests name by a marker: `// step: socket.rename`, `// control: jwt.leeway`. A marker stands at the end of
// the line that is meant, or alone on the line before it. What else changes in the file does not matter to who names it; a marker that
// is gone, or stands twice, is an error.

export type Place = {
  /** Source file, from the root of the project. */
  readonly file: string;
  /** The marker, without its slashes. */
  readonly at: string;
};

/** A change within the line of a place. */
export type MarkedEdit = Place & {
  /** Stands once in the line; if there is none, the whole line is replaced. */
  readonly find?: string;
  readonly replace: string;
};

const form = /(?:^|\s+)\/\/ ((?:step|control): \S.*)$/u;

const markerOf = (line: string): string | undefined => form.exec(line)?.[1];
const codeOf = (line: string): string => line.replace(form, '');

/** The markers of a source, as often as they stand there. */
export function markersIn(source: string): string[] {
  return source.split('\n').flatMap((line) => markerOf(line) ?? []);
}

/** @throws Error when the marker does not stand there exactly once */
function lineOf(lines: readonly string[], { file, at }: Place): number {
  const found = lines.flatMap((line, index) => (markerOf(line) === at ? [index] : []));
  const [first] = found;
  if (first === undefined || found.length > 1) throw new Error(`"// ${at}" stands ${found.length} times in ${file}`);
  const meant = lines.findIndex((line, index) => index >= first && codeOf(line).trim() !== '');
  if (meant === -1) throw new Error(`"// ${at}" in ${file} marks no line`);
  return meant;
}

/** The source with other code in the line of a place. @throws Error when there is no such place, or two */
function withLine(source: string, place: Place, change: (code: string) => string): string {
  const lines = source.split('\n');
  const index = lineOf(lines, place);
  return lines.with(index, change(codeOf(lines[index] ?? ''))).join('\n');
}

/** @throws Error when there is no such place, when its line does not hold the text once, or when nothing would change */
export function withEdit(source: string, edit: MarkedEdit): string {
  const { file, at, find, replace } = edit;
  return withLine(source, edit, (code) => {
    const indent = /^\s*/u.exec(code)?.[0] ?? '';
    const count = find === undefined ? 1 : code.split(find).length - 1;
    if (count !== 1) throw new Error(`"${find}" stands ${count} times in the line of "// ${at}" in ${file}`);
    const changed = find === undefined ? indent + replace : code.replace(find, () => replace);
    if (changed === code) throw new Error(`nothing changes at "// ${at}" in ${file}`);
    return changed;
  });
}

/** The source with a statement more, on a side of the line of a place. @throws Error when there is no such place, or two */
export function withStatement(source: string, place: Place, side: 'before' | 'after', statement: string): string {
  return withLine(source, place, (code) => (side === 'before' ? `${statement}\n${code}` : `${code}\n${statement}`));
}
