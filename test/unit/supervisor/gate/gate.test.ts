// The gate for who only looks: every check that can run does, each fault is found by its own check, and nothing is made or taken.

import { spawn } from 'node:child_process';
import { chmodSync, chownSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Purpose } from '../../../../supervisor/gate/checks/check.ts';
import { commandChecks, servingChecks } from '../../../../supervisor/gate/checks/table.ts';
import { type Finding, lookAtGate } from '../../../../supervisor/gate/gate.ts';
import { checkIds } from '../../../../supervisor/refusal.ts';
import * as system from '../../../../supervisor/system.ts';
import { until } from '../../../support/installation.ts';
import { createWorkplace, type Workplace } from '../../../support/workplace.ts';

async function withWorkplace(run: (workplace: Workplace) => Promise<void>): Promise<void> {
  const workplace = createWorkplace({ address: 'https://127.0.0.1:1', ca: 'not looked at', jwt: 'not looked at' });
  try {
    await run(workplace);
  } finally {
    workplace.remove();
  }
}

/** As the user of the provider. */
function look({ configPath, directory, uid }: Workplace, purpose: Purpose = 'serve') {
  const identity = { ...system.processIdentity(), uid, gids: [uid] };
  const { clock, randomHex, findHelper, runHelper } = system;
  const deps = { identity, clock, randomHex, findHelper, runHelper, pid: process.pid, words: [] };
  return lookAtGate(configPath, { developmentDirectory: directory }, deps, purpose);
}

function told(findings: readonly Finding[]): Readonly<Record<string, string>> {
  const what = (finding: Finding) => {
    if (finding.outcome === 'refused') return finding.refusal.check === finding.id ? 'refused' : finding.refusal.check;
    return finding.outcome === 'passed' ? 'passed' : `without ${finding.because.join(', ')}`;
  };
  return Object.fromEntries(findings.map((finding) => [finding.id, what(finding)]));
}

const allPassed = Object.fromEntries(checkIds.map((id) => [id, 'passed']));

function filesIn({ directory }: Workplace): readonly string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => !name.startsWith('dist'))
    .sort();
}

test('where nothing is wrong every check passes, and no file is there that was not there before', () =>
  withWorkplace(async (workplace) => {
    const before = filesIn(workplace);
    assert.equal(told(await look(workplace)), allPassed);
    assert.equal(filesIn(workplace), before);
    // Nothing is held either: it can be done again.
    assert.equal(told(await look(workplace)), allPassed);
  }));

test('independent faults are all found, each by its own check', () =>
  withWorkplace(async (workplace) => {
    chmodSync(workplace.jwtPath, 0o666);
    chmodSync(dirname(workplace.socketPath), 0o777);
    writeFileSync(workplace.statePath, 'no state');
    assert.equal(told(await look(workplace)), {
      ...allPassed,
      'gate.credentials': 'refused',
      'gate.runtime_directory': 'refused',
      'gate.lock': 'without gate.runtime_directory',
      'gate.state': 'without gate.lock',
      'gate.socket': 'without gate.runtime_directory',
    });
    chmodSync(dirname(workplace.socketPath), 0o750);
    assert.equal(told(await look(workplace)), { ...allPassed, 'gate.credentials': 'refused', 'gate.state': 'refused' });
  }));

test('without a configuration nothing that needs it is run, and that is said', () =>
  withWorkplace(async (workplace) => {
    rmSync(workplace.configPath);
    const findings = told(await look(workplace));
    assert.is(findings['gate.config'], 'refused');
    assert.is(findings['gate.credentials'], 'without gate.config');
    assert.is(findings['gate.runtime'], 'passed');
  }));

test('a provider that runs is found by its lock, which stays with it', () =>
  withWorkplace(async (workplace) => {
    const path = `${workplace.statePath}.lock`;
    writeFileSync(path, '1 2026-01-01T00:00:00.000Z\n', { mode: 0o600 });
    const holder = spawn('flock', ['-x', path, 'sleep', '60'], { detached: true, stdio: 'ignore' });
    const end = () => holder.pid !== undefined && process.kill(-holder.pid, 'SIGKILL');
    try {
      await until(async () => told(await look(workplace))['gate.lock'] === 'refused', 'the lock is seen');
      assert.is(told(await look(workplace, 'change'))['gate.lock'], 'refused');
      assert.is(told(await look(workplace, 'read'))['gate.lock'], 'passed', 'who only reads may run beside it');
    } finally {
      end();
    }
  }));

test('a lock file that nobody holds keeps nobody out', () =>
  withWorkplace(async (workplace) => {
    const path = `${workplace.statePath}.lock`;
    writeFileSync(path, '1 2026-01-01T00:00:00.000Z\n', { mode: 0o600 });
    if (process.geteuid?.() === 0) chownSync(path, workplace.uid, workplace.uid);
    for (const purpose of ['serve', 'change', 'read'] as const)
      assert.is(told(await look(workplace, purpose))['gate.lock'], 'passed', purpose);
  }));

test('a socket that somebody serves refuses a provider, and is left alone', () =>
  withWorkplace(async (workplace) => {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(workplace.socketPath, resolve));
    try {
      assert.is(told(await look(workplace))['gate.socket'], 'refused');
      assert.ok(statSync(workplace.socketPath).isSocket());
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  }));

for (const [name, rows] of Object.entries({ servingChecks, commandChecks })) {
  test(`${name}: each needs only what those before it give`, () => {
    const given = new Set<string>();
    for (const { id, needs, gives } of rows) {
      for (const fact of needs) assert.ok(given.has(fact), `${id} needs ${fact}`);
      for (const fact of gives) given.add(fact);
    }
  });
}

test.run();
