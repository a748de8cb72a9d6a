// How long tests wait. A test says how long a thing takes at most on a calm machine, derived from what it waits for; how much longer
// a busy one may need is said here and nowhere else. A wait ends with what it waits for, so patience costs time only where something
// is broken.

/** With every core kept busy by others; `PATIENCE` names another factor. */
const factor = Number(process.env['PATIENCE'] ?? 4);

/** When to give up on what takes so long on a calm machine. */
export const limitOf = (calmMs: number): number => calmMs * factor;

const usualMs = 10_000;
const lookMs = 25;

/** Waits until a claim holds. `calmMs`: how long that takes at most on a calm machine. */
export async function until(
  claim: () => boolean | Promise<boolean>,
  what: string,
  calmMs = usualMs,
  everyMs = lookMs,
): Promise<void> {
  const limitMs = limitOf(calmMs);
  const endsAtMs = performance.now() + limitMs;
  while (!(await claim())) {
    if (performance.now() > endsAtMs) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
