// The known name that is nearest to a misspelt one, for "did you mean".

/** Names are compared without regard to case; undefined when nothing is near enough to be meant. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const ranked = [...known].map((one) => ({ one, distance: editDistance(one.toLowerCase(), name.toLowerCase()) }));
  const [best] = ranked.sort((one, other) => one.distance - other.distance);
  return best !== undefined && best.distance <= Math.max(2, name.length / 3) ? best.one : undefined;
}

/** Levenshtein distance; both texts are cut at 64 characters. */
function editDistance(one: string, other: string): number {
  let row = Array.from({ length: Math.min(other.length, 64) + 1 }, (_, index) => index);
  for (const [i, character] of [...one.slice(0, 64)].entries()) {
    const next = [i + 1];
    for (let j = 1; j < row.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (character === other[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
