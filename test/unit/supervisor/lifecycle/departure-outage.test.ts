// A JWT that is good for hours is no reason to end, whatever OpenBao does: docs/operations.md, "Directories that lost their name".

import { duplexPair } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeFrame } from '../../../../shared/channel/frame.ts';
import { encodeMessage, type PluginMessage } from '../../../../shared/channel/messages.ts';
import { emptyCounters } from '../../../../supervisor/launch/counters.ts';
import type { Custody } from '../../../../supervisor/launch/running.ts';
import { createDeparture } from '../../../../supervisor/lifecycle/departure.ts';
import { Incumbent } from '../../../../supervisor/lifecycle/incumbent.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { confinement } from '../../../support/life-bench.ts';

test('OpenBao is down, the token has ended, the credentials directory is away for a moment: the JWT in use is kept', async () => {
  const clock = createFakeClock();
  const [ours, theirs] = duplexPair();
  const log: string[] = [];
  const incumbent = new Incumbent({
    clock,
    log: (_, message) => void log.push(message),
    counters: emptyCounters(0),
    event: () => {},
    healthChanged: () => {},
    stateDirectoryGone: () => {},
    portsUnopened: () => {},
    becameIncumbent: () => {},
  });
  const custody = {
    store: { current: undefined, stable: undefined, idle: async () => {}, commit: async () => ({}) },
    credentials: { look: () => [{ kind: 'credential', name: 'jwt', generation: 1, modifiedAtUnixMs: 0, bytes: '' }] },
    loginCredentials: ['jwt'],
    isStateDirectoryGone: () => false,
    privilege: { kind: 'same-user' },
    launch: () => ({ pid: 1, channel: ours, kill: () => {}, ended: new Promise(() => {}) }),
    start: { kind: 'start', task: 'serve', build: {}, config: {}, overrides: {}, identityFingerprint: '' },
  } as unknown as Custody;
  incumbent.launch(custody);
  const say = async (message: PluginMessage) => {
    theirs.write(encodeFrame(encodeMessage(message)));
    await clock.settle();
  };
  await say({ kind: 'ready', confinement, isPermissionModelOn: true });
  await say({ kind: 'credential_result', name: 'jwt', generation: 1, result: 'in_use' });
  await say({
    kind: 'health',
    healthz: 'unhealthy',
    reasons: ['status_stale', 'login_failed'],
    errorClasses: ['connection_failed'],
    cause: { class: 'connection_failed', sinceUnixMs: 1 },
    rotationState: 'active',
    isCredentialEnding: false,
  } as PluginMessage);
  const departed: string[] = [];
  const departure = createDeparture({
    clock,
    log: (_, message) => void log.push(message),
    isUnderServiceManager: true,
    isCredentialGood: () => incumbent.hasCredential,
    isServing: () => incumbent.pid !== undefined,
    lastAtUnixMs: () => undefined,
    note: () => true,
    depart: (name) => void departed.push(name),
  });
  const findings = { runtime: 'here', credentials: 'missing', state: 'here' } as const;
  departure.looked(findings);
  await clock.advance(10_000);
  departure.looked(findings);
  assert.equal(departed, []);
});
test.run();
