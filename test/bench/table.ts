// Rows of text in columns. Pure.

import { type Figures, targets, verdictOf } from './targets.ts';

/** The first column starts its lines, the others end where their titles end. */
export function table(titles: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [titles, ...rows];
  const width = (column: number) => Math.max(...all.map((row) => (row[column] ?? '').length));
  return all.map((row) =>
    row
      .map((text, column) => (column === 0 ? text.padEnd(width(0)) : text.padStart(width(column))))
      .join('  ')
      .trimEnd(),
  );
}

/** A number as it is printed, `–` for none. */
export function shown(value: number | undefined, digits: number): string {
  return value === undefined || !Number.isFinite(value) ? '–' : value.toFixed(digits);
}

/** What was promised, what was measured, and whether that is enough. */
export function targetTable(figures: Figures): string[] {
  const rows = targets.map((target) => {
    const { title, figure, unit, digits, sense, must, goal } = target;
    const sign = sense === 'at least' ? '≥' : '≤';
    const bound = (value: number) => `${sign} ${value.toFixed(digits)}${unit === '' ? '' : ` ${unit}`}`;
    const verdicts = [must, goal].map((value) => verdictOf(target, value, figures));
    return [title, shown(figures[figure], digits), bound(must), verdicts[0] ?? '', bound(goal), verdicts[1] ?? ''];
  });
  return table(['target', 'measured', 'must', '', 'goal', ''], rows);
}
