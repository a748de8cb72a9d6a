// The commands about rotation, run as an operator runs them: what they print, what they write, what they refuse.

import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkBelief } from '../../shared/registry/belief.ts';
import { checkpointOf, encodeCheckpoint } from '../../shared/registry/checkpoint.ts';
import { deriveKeyId } from '../../shared/registry/key-id.ts';
import { encodeState, parseState, type Snapshot, sealState } from '../../shared/registry/state.ts';
import { activeSnapshot } from '../../shared/registry/successor.ts';
import { runCommand } from '../support/command.ts';
import { type Installed, until, withInstallation } from '../support/installation.ts';
import { refusalOf } from '../support/kms-client.ts';
import { parsePolicy } from '../support/openbao/access.ts';
import { defaultInstallation, providerPolicy } from '../support/openbao/provision.ts';
import { untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';
import { pluginId } from '../support/workplace.ts';

const quickRotation = {
  change: (config: Record<string, unknown>) => {
    config['rotation'] = { activationDelay: '1s', requireStableObservationCount: 1 };
  },
};

const rotate = ({ engine }: Installed) =>
  engine.handle('write', 'keys/k8s-demo-etcd/rotate', {}, Math.floor(Date.now() / 1000));
const restrict = ({ engine }: Installed, minimums: Record<string, number>) =>
  engine.handle('write', 'keys/k8s-demo-etcd/config', minimums, Math.floor(Date.now() / 1000));

/** JSON of a command that must succeed. */
async function report({ workplace }: Installed, ...words: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await runCommand(workplace, ...words, '--output', 'json');
  assert.is(code, 0, stderr);
  assert.is(stderr, '');
  return JSON.parse(stdout);
}

const stateFiles = ({ workplace }: Installed) =>
  readdirSync(`${workplace.directory}/state`)
    .sort()
    .map((name) => [name, name.endsWith('.lock') ? '' : readFileSync(`${workplace.directory}/state/${name}`, 'utf8')]);

/** Serves until version 2 is active; the provider has stopped afterwards. @returns what version 1 sealed */
async function rotatedOnce(installed: Installed) {
  const provider = installed.start();
  const before = await untilHealthy(provider);
  const sealed = await provider.client.encrypt(randomBytes(32));
  rotate(installed);
  await until(async () => {
    const { healthz, keyId } = await provider.client.status();
    return healthz === 'ok' && keyId !== before;
  }, 'the promotion');
  await provider.stop();
  return sealed;
}

test('rotation-plan before the first start says what a first start would make, and writes nothing', () =>
  withInstallation(async (installed) => {
    const plan = await report(installed, 'rotation-plan');
    const { activeKeyIdHash, ...rest } = plan;
    assert.equal(rest, {
      name: 'rotation-plan',
      transitMetadataStatus: 'pass',
      transitRightsStatus: 'pass',
      transitDisableUpsert: true,
      stateLoaded: false,
      stateCheckpointLoaded: false,
      stateCheckpointStatus: 'absent',
      stateBootstrapEligible: true,
      rotationState: 'active',
      activeTransitVersion: 1,
      latestTransitVersion: 1,
    });
    assert.match(String(activeKeyIdHash), /^[A-Za-z0-9_-]{43}$/u);
    assert.equal(stateFiles(installed), []);
    rotate(installed);
    const refused = await runCommand(installed.workplace, 'rotation-plan');
    assert.is(refused.code, 4);
    assert.match(refused.stdout, /^stateBootstrapEligible: false$/mu);
    assert.match(refused.stdout, /^stateBootstrapReason: no registry state/mu);
  }));

const seldom = {
  change: (config: Record<string, unknown>) => {
    config['status'] = { probeInterval: '15s', deepProbeInterval: '20s', statusMaxStaleness: '60s' };
    config['rotation'] = { requireStableObservationCount: 1 };
  },
};

test('rotation-plan while the provider serves: its state, the newer version, and when it may be promoted', () =>
  withInstallation(async (installed) => {
    const provider = installed.start();
    await untilHealthy(provider);
    const state = JSON.parse(readFileSync(installed.workplace.statePath, 'utf8'));
    const calm = await report(installed, 'rotation-plan');
    assert.equal(
      [calm['stateHash'], calm['stateGeneration'], calm['stateCheckpointStatus'], calm['stateCheckpointHash']],
      [state.currentHash, 1, 'current', state.currentHash],
    );
    rotate(installed);
    await until(async () => (await report(installed, 'rotation-plan'))['pendingPromotesAfter'] !== undefined, 'stable');
    const plan = await report(installed, 'rotation-plan');
    assert.equal(
      [
        plan['rotationState'],
        plan['latestTransitVersion'],
        plan['pendingTransitVersion'],
        plan['pendingStableObservationCount'],
      ],
      ['pending', 2, 2, 1],
    );
    assert.match(String(plan['pendingPromotesAfter']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/u);
    rotate(installed);
    const superseded = await report(installed, 'rotation-plan');
    assert.ok(String(superseded['warnings']).includes('supersedes'));
    assert.is((await provider.client.status()).healthz, 'ok', 'and the provider serves on');
    // The provider looks once, at a random moment of the interval, and not again before the last report.
  }, seldom));

test('verify-rotation says what it cannot prove', () =>
  withInstallation(async (installed) => {
    await rotatedOnce(installed);
    const { confidence, limitations, activeTransitVersion } = await report(installed, 'verify-rotation');
    assert.equal([confidence, activeTransitVersion], ['limited', 2]);
    assert.match(String(limitations), /cannot prove/u);
  }, quickRotation));

test('without OpenBao what is known here is printed all the same, exit 4', () =>
  withInstallation(async (installed) => {
    const provider = installed.start();
    await untilHealthy(provider);
    installed.bao.fault = () => 'close';
    const { code, stdout } = await runCommand(installed.workplace, 'rotation-plan', '--output', 'json');
    assert.is(code, 4);
    const plan = JSON.parse(stdout);
    assert.equal(
      [plan.transitMetadataStatus, plan.failureKind, plan.stateLoaded, plan.activeTransitVersion],
      ['fail', 'unreachable', true, 1],
    );
  }));

for (const [what, fault, error, kind] of [
  ['a key that may be deleted', { deletion_allowed: true }, 'profile_invalid (deletion_allowed)', 'check'],
  ['a mount that makes keys on demand', undefined, undefined, undefined],
] as const) {
  test(`${what} shows in the report`, () =>
    withInstallation(async (installed) => {
      if (fault !== undefined) restrict(installed, fault as unknown as Record<string, number>);
      else installed.engine.isUpsertDisabled = false;
      const { stdout, code } = await runCommand(installed.workplace, 'rotation-plan', '--output', 'json');
      const plan = JSON.parse(stdout);
      assert.equal([plan.transitMetadataError, plan.failureKind], [error, kind]);
      assert.is(code, fault === undefined ? 0 : 4);
      if (fault === undefined) assert.equal([plan.transitDisableUpsert, plan.warnings.length], [false, 1]);
    }));
}

for (const [what, change, metadata, findings] of [
  ['an extra right', 'path "transit/export/*" { capabilities = ["read"] }', 'pass', ['extra_export']],
  ['a missing right', /path "transit\/decrypt[^}]*\}/u, 'pass', ['missing_decrypt']],
  ['a denied read', /path "transit\/keys[^}]*\}/u, 'fail', ['missing_metadata_read']],
  ['rights that may not be asked for', /path "sys\/[^}]*\}/u, 'pass', ['missing_capabilities']],
] as const) {
  test(`${what} fails rotation-plan and verify-rotation, and is named`, () =>
    withInstallation(async (installed) => {
      const full = providerPolicy(defaultInstallation);
      const text = typeof change === 'string' ? `${full}\n${change}` : full.replace(change, '');
      assert.is.not(text, full);
      installed.bao.access.policies.set(defaultInstallation.policyName, parsePolicy(text));
      for (const name of ['rotation-plan', 'verify-rotation']) {
        const { stdout, code } = await runCommand(installed.workplace, name, '--output', 'json');
        const plan = JSON.parse(stdout);
        assert.equal(
          [code, plan.transitMetadataStatus, plan.transitRightsStatus, plan.failureKind, plan.transitRightsFindings],
          [4, metadata, 'fail', 'check', findings],
        );
      }
      const { stdout } = await runCommand(installed.workplace, 'rotation-plan');
      assert.match(stdout, new RegExp(`^right: ${findings[0]}$`, 'mu'));
    }));
}

test('half of a pair, or the state of another identity, fails closed with exit 4 and is not touched', () =>
  withInstallation(async (installed) => {
    await untilHealthy(installed.start());
    const { workplace } = installed;
    workplace.writeConfig((config) => {
      (config['transit'] as Record<string, unknown>)['keyName'] = 'another-key';
    });
    const foreign = await runCommand(workplace, 'rotation-plan');
    assert.equal([foreign.code, foreign.stdout], [4, '']);
    assert.match(foreign.stderr, /^bao-kms-provider: rotation-plan: gate\.state: .*another identity/u);
    workplace.writeConfig();
    renameSync(workplace.statePath, `${workplace.statePath}.away`);
    const half = await runCommand(workplace, 'retire-versions', '--before-version', '2');
    assert.is(half.code, 4);
    assert.match(half.stderr, /gate\.state: the state is missing/u);
    renameSync(`${workplace.statePath}.away`, workplace.statePath);
  }));

test('retire and restore: a plan writes nothing, applied the old version stops and starts to decrypt, by hash only', () =>
  withInstallation(async (installed) => {
    const { workplace } = installed;
    const sealed = await rotatedOnce(installed);
    const before = stateFiles(installed);
    const plan = await report(installed, 'retire-versions', '--before-version', '2');
    assert.equal(
      [
        plan['operation'],
        plan['applied'],
        plan['beforeVersion'],
        (plan['removedVersions'] as { transitVersion: number }[])[0]?.transitVersion,
      ],
      ['retire-versions', false, 2, 1],
    );
    assert.equal(stateFiles(installed), before);

    const wrong = `krs1.${'A'.repeat(43)}`;
    const stale = await runCommand(
      workplace,
      'retire-versions',
      '--before-version',
      '2',
      '--apply',
      '--expected-state-hash',
      wrong,
    );
    assert.is(stale.code, 4);
    assert.match(stale.stderr, /another hash/u);
    assert.equal(stateFiles(installed), before);

    const apply = (hash: unknown) => ['--apply', '--expected-state-hash', String(hash)];
    const retired = await report(installed, 'retire-versions', '--before-version', '2', ...apply(plan['stateHash']));
    assert.equal([retired['applied'], retired['nextStateHash']], [true, plan['nextStateHash']]);
    assert.is(JSON.parse(readFileSync(workplace.statePath, 'utf8')).currentHash, plan['nextStateHash']);

    const again = await runCommand(workplace, 'retire-versions', '--before-version', '2', ...apply(plan['stateHash']));
    assert.is(again.code, 4, 'the hash of the plan no longer holds');
    const idle = await report(installed, 'retire-versions', '--before-version', '2');
    assert.is(idle['nextStateHash'], idle['stateHash'], 'nothing left to retire: the same state');

    const provider = installed.start();
    await untilHealthy(provider);
    assert.is((await refusalOf(provider.client.decrypt(sealed))).message, 'key_id unknown');
    const busy = await runCommand(workplace, 'restore-versions', '--versions', '1', ...apply(plan['nextStateHash']));
    assert.is(busy.code, 4);
    assert.match(busy.stderr, new RegExp(`gate\\.lock: the provider with process id ${provider.child.pid}`, 'u'));
    await provider.stop();

    const restore = await report(installed, 'restore-versions', '--versions', '1');
    assert.is((restore['restoredVersions'] as unknown[]).length, 1);
    await report(installed, 'restore-versions', '--versions', '1', ...apply(restore['stateHash']));
    const restored = installed.start();
    await untilHealthy(restored);
    assert.is((await restored.client.decrypt(sealed)).plaintext.length, 32);
  }, quickRotation));

/** What a plugin that was taken over can leave behind within the rules: a version that OpenBao never had. */
function poison({ workplace }: Installed): void {
  const state = parseState(readFileSync(workplace.statePath, 'utf8'));
  const active = activeSnapshot(state);
  const keyVersion = { transitVersion: 999, transitVersionCreatedAtUnix: active.transitVersionCreatedAtUnix + 1 };
  const kubernetesKeyId = deriveKeyId(active, keyVersion);
  const lie: Snapshot = { ...active, ...keyVersion, kubernetesKeyId, state: 'pending', promotedAtUnix: 0 };
  const next = sealState({
    identityFingerprint: state.identityFingerprint,
    generation: state.generation + 1,
    previousHash: state.currentHash,
    activeKeyId: state.activeKeyId,
    snapshots: [active, lie],
  });
  checkBelief(state, next, Math.floor(Date.now() / 1000));
  writeFileSync(workplace.statePath, encodeState(next));
  writeFileSync(`${workplace.statePath}.checkpoint`, encodeCheckpoint(checkpointOf(next)));
}

test('a version that OpenBao never had: /ready and rotation-plan name the command, and it brings service back', () =>
  withInstallation(async (installed) => {
    const { workplace } = installed;
    const provider = installed.start();
    await untilHealthy(provider);
    await provider.stop();
    poison(installed);
    const refused = installed.start();
    let body: { cause?: { finding?: string; repair?: string } } = {};
    await refused.line((line) => line['finding'] === 'version_missing');
    await until(async () => {
      body = (await refused.ready()).body as typeof body;
      return body.cause?.repair !== undefined;
    }, 'the cause in /ready');
    assert.equal(
      [body.cause?.finding, body.cause?.repair],
      ['version_missing', 'bao-kms-provider forget-versions --versions 999'],
    );
    await refused.stop();

    const plan = await runCommand(workplace, 'rotation-plan', '--output', 'json');
    assert.is(plan.code, 4);
    const { warnings } = JSON.parse(plan.stdout);
    const [, line = ''] = /plan the way back: bao-kms-provider (.*)$/u.exec(String(warnings)) ?? [];
    assert.match(line, /^forget-versions --config \S+ --development --versions 999$/u);
    const words = line.split(' ').filter((word) => word !== '--development');
    const planned = await report(installed, ...words);
    assert.equal((planned['forgottenVersions'] as { transitVersion: number }[])[0]?.transitVersion, 999);
    assert.is((await runCommand(workplace, 'forget-versions', '--versions', '1')).code, 4, 'version 1 is active');
    await report(installed, ...words, '--apply', '--expected-state-hash', String(planned['stateHash']));
    await untilHealthy(installed.start());
  }, quickRotation));

/** What a plugin that was taken over can say at a first start: that OpenBao made version 1 at another time. */
function lieAboutTheFirst({ workplace }: Installed): void {
  const state = parseState(readFileSync(workplace.statePath, 'utf8'));
  const active = activeSnapshot(state);
  const lie = { ...active, transitVersionCreatedAtUnix: active.transitVersionCreatedAtUnix - 86_400 };
  const kubernetesKeyId = deriveKeyId(lie, lie);
  const { identityFingerprint, generation, previousHash } = state;
  const snapshots = [{ ...lie, kubernetesKeyId }];
  const forged = sealState({ identityFingerprint, generation, previousHash, activeKeyId: kubernetesKeyId, snapshots });
  checkBelief(undefined, forged, Math.floor(Date.now() / 1000));
  writeFileSync(workplace.statePath, encodeState(forged));
  writeFileSync(`${workplace.statePath}.checkpoint`, encodeCheckpoint(checkpointOf(forged)));
}

test('a first version recorded with another creation time: the printed command records it as OpenBao has it', () =>
  withInstallation(async (installed) => {
    const { workplace } = installed;
    const provider = installed.start();
    await untilHealthy(provider);
    const right = (await provider.client.status()).keyId;
    await provider.stop();
    lieAboutTheFirst(installed);
    const blocked = installed.start();
    await blocked.line((line) => line['finding'] === 'version_recreated');
    let cause: { finding?: string; repair?: string } | undefined;
    await until(async () => {
      cause = ((await blocked.ready()).body as { cause?: typeof cause }).cause;
      return cause?.repair !== undefined;
    }, 'the cause in /ready');
    assert.equal(
      [cause?.finding, cause?.repair],
      ['version_recreated', 'bao-kms-provider forget-versions --versions 1'],
    );
    await blocked.stop();

    const plan = await runCommand(workplace, 'rotation-plan', '--output', 'json');
    assert.is(plan.code, 4);
    assert.match(plan.stdout, /if this key was never deleted and created again.* forget-versions .*--versions 1"/u);
    const planned = await report(installed, 'forget-versions', '--versions', '1');
    const versionOf = (name: string) => (planned[name] as { transitVersion: number }[])[0]?.transitVersion;
    assert.equal([versionOf('forgottenVersions'), versionOf('correctedVersions')], [1, 1]);
    assert.match(String(planned['limitations']), /does not decrypt afterwards/u);
    const hash = String(planned['stateHash']);
    await report(installed, 'forget-versions', '--versions', '1', '--apply', '--expected-state-hash', hash);
    const served = installed.start();
    await untilHealthy(served);
    assert.is((await served.client.status()).keyId, right);
    const sealed = await served.client.encrypt(randomBytes(32));
    assert.is((await served.client.decrypt(sealed)).plaintext.length, 32);
    await served.stop();
    const again = await runCommand(workplace, 'forget-versions', '--versions', '1');
    assert.is(again.code, 4);
    assert.match(again.stderr, /version 1 is or was active/u);
  }, quickRotation));

test('what cannot be is refused with the rule, exit 4, nothing changed', () =>
  withInstallation(async (installed) => {
    await rotatedOnce(installed);
    const before = stateFiles(installed);
    for (const [words, rule] of [
      [['retire-versions', '--before-version', '3'], /between 2 and the active version 2/u],
      [['restore-versions', '--versions', '1'], /version 1 is not one that retire-versions retired/u],
      [['restore-versions', '--versions', '2'], /version 2 is the active version/u],
      [['restore-versions', '--versions', '1,1'], /twice/u],
    ] as const) {
      const { code, stderr } = await runCommand(installed.workplace, ...words);
      assert.is(code, 4);
      assert.match(stderr, rule);
    }
    unlinkSync(`${installed.workplace.statePath}.checkpoint`);
    const { code, stderr } = await runCommand(installed.workplace, 'retire-versions', '--before-version', '2');
    assert.is(code, 4);
    assert.match(stderr, /no checkpoint/u);
    assert.is(before.length, 3);
  }, quickRotation));

test('two commands at once: one wins, the other is refused by lock or hash', () =>
  withInstallation(async (installed) => {
    await rotatedOnce(installed);
    const { stateHash } = await report(installed, 'retire-versions', '--before-version', '2');
    const words = ['retire-versions', '--before-version', '2', '--apply', '--expected-state-hash', String(stateHash)];
    const both = await Promise.all([
      runCommand(installed.workplace, ...words),
      runCommand(installed.workplace, ...words),
    ]);
    assert.equal(both.map(({ code }) => code).sort(), [0, 4]);
    assert.is(JSON.parse(readFileSync(installed.workplace.statePath, 'utf8')).generation, 4);
  }, quickRotation));

test('min_decryption_version raised too early: unhealthy, and well again after retire-versions', () =>
  withInstallation(async (installed) => {
    await rotatedOnce(installed);
    restrict(installed, { min_decryption_version: 2 });
    const provider = installed.start();
    await provider.event('serve.ready');
    await until(async () => String((await provider.ready()).body['reasons']).includes('profile_invalid'), 'the reason');
    await provider.stop();
    const { stateHash } = await report(installed, 'retire-versions', '--before-version', '2');
    await report(
      installed,
      'retire-versions',
      '--before-version',
      '2',
      '--apply',
      '--expected-state-hash',
      String(stateHash),
    );
    await untilHealthy(installed.start());
  }, quickRotation));

test('a caller who may not change to the plugin’s user runs the task as itself', () =>
  withInstallation(
    async (installed) => {
      assert.is((await report(installed, 'rotation-plan'))['transitMetadataStatus'], 'pass');
    },
    {
      change: (config) => {
        config['process'] = { pluginUser: String(pluginId) };
      },
    },
  ));

test('a caller who may change users runs the task as the plugin’s user', async () => {
  if (skipWithout(process.geteuid?.() === 0, 'a task as another user', 'root')) return;
  await withInstallation(
    async (installed) => {
      const plan = await report(installed, 'rotation-plan');
      assert.is(plan['transitMetadataStatus'], 'pass');
      assert.is(pluginId, 64_322);
    },
    { hasTwoUsers: true },
  );
});

test.run();
