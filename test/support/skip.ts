// A test that needs a server that is not there says so in one loud line, and counts as skipped.

/** @returns whether the test must stop here */
export function skipWithout(isThere: boolean, title: string, needs: string): boolean {
  if (!isThere) process.stdout.write(`\nSKIPPED: ${title} (needs ${needs})\n`);
  return !isThere;
}
