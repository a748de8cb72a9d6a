// A saving process killed at 200 random moments: the next start finds the old or the new state, never a third, and needs
// no help. The directory is the same all along, so every start repairs what the last kill left.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const kills = 200;
const program = new URL('../support/save-loop.ts', import.meta.url).pathname;

type Round = { readonly loaded: number | undefined; readonly lastSaved: number; readonly errors: string };

const maxSaves = 4;
const maxMoreMs = 25;

/** Starts, lets it save a few times and for a random moment more, kills: in the middle of a save, for there is always one. */
function killOnce(path: string): Promise<Round> {
  const child: ChildProcess = spawn(process.execPath, ['--no-warnings', program, path], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  let isArmed = false;
  const saves = randomInt(maxSaves);
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString('utf8');
  });
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString('utf8');
    if (isArmed || !/^loaded \d+\n/u.test(output) || (output.match(/^saved \d+\n/gmu) ?? []).length < saves) return;
    isArmed = true;
    setTimeout(() => child.kill('SIGKILL'), randomInt(1000 * maxMoreMs) / 1000);
  });
  return new Promise((resolve) => {
    child.once('close', () => {
      const loaded = /^loaded (\d+)$/mu.exec(output)?.[1];
      const saved = [...output.matchAll(/^saved (\d+)$/gmu)].map(([, generation]) => Number(generation));
      resolve({ loaded: loaded === undefined ? undefined : Number(loaded), lastSaved: saved.at(-1) ?? 0, errors });
    });
  });
}

test(`${kills} kills at random moments: every next start works, and no saved generation is lost`, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-kill-'));
  chmodSync(directory, 0o750);
  try {
    let known = 0;
    for (let round = 0; round < kills; round += 1) {
      const { loaded, lastSaved, errors } = await killOnce(join(directory, 'state.json'));
      assert.ok(loaded !== undefined, `round ${round} did not start: ${errors}`);
      // The save that the kill met may or may not have reached the disk; anything else is a third state.
      assert.ok([known, known + 1].includes(loaded), `${known} was saved, then ${loaded} was found`);
      known = Math.max(loaded, lastSaved);
    }
    assert.ok(known > kills, `${known} generations were saved`);
    assert.ok(readdirSync(directory).length <= 4, 'no litter');
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test.run();
