// Mistakes of administrators, each with what it must show in the log, in `/ready` and in the status line, on a whole provider
// before a real OpenBao when one is found, else before the development server. A few at a time, all on one server.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findNotifyHelper } from '../support/notify-socket.ts';
import { limitOf, until } from '../support/patience.ts';
import { type LogLine, type Provider, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';
import { warned } from './key.ts';
import type { Mistake, Told, Warned } from './mistake.ts';
import { mistakes } from './mistakes.ts';
import { isReal, openPlace, type Server, startServer } from './place.ts';

const sideBySide = 4;
/** A start, a login that may be tried again, a few probes; four of them share the cores. */
const patientMs = limitOf(15_000);
/** A rights look follows at the second metadata probe; the status line is made anew every 10 s. */
const settleMs = 15_000;
const isStatusHeard = findNotifyHelper();

type Seen = {
  readonly lines: readonly LogLine[];
  readonly ready: Record<string, unknown>;
  readonly statusLine: string;
  readonly text: string;
};

const isProbe = (told: Told) => (line: LogLine) => line.message === 'status.probe' && line['reason'] === told.reason;
const classTold = ({ class: errorClass, detail, finding }: Told) => {
  const more = detail ?? finding;
  return more === undefined ? errorClass : `${errorClass}: ${more}`;
};

async function see(server: Server, mistake: Mistake): Promise<Seen> {
  const { place, start, close } = await openPlace(server, mistake, isStatusHeard);
  try {
    if (mistake.isMadeWhileServing !== true) await mistake.make?.(place);
    const { provider, statusLines } = start();
    if (mistake.isMadeWhileServing === true) {
      await untilHealthy(provider);
      await mistake.make?.(place);
    }
    await provider.line(isProbe(mistake.told), patientMs);
    return await seen(provider, statusLines, (ready, statusLine) => {
      const words = [mistake.told.reason, causeInLine(mistake.told)];
      const isLineRight = !isStatusHeard || words.every((word) => statusLine.includes(word));
      return isLineRight && JSON.stringify(causeOfReady(ready)) === JSON.stringify(causeOfTold(mistake.told));
    });
  } finally {
    await close();
  }
}

async function seeWarning(server: Server, { make, warning, ...options }: Warned): Promise<Seen> {
  const { place, start, close } = await openPlace(server, options, isStatusHeard);
  try {
    await make(place);
    const { provider, statusLines } = start();
    await untilHealthy(provider);
    return await seen(provider, statusLines, (ready, statusLine) => {
      const isLineRight = !isStatusHeard || (statusLine.startsWith('healthy') && statusLine.includes(warning));
      return isLineRight && JSON.stringify(ready['warnings'] ?? []).includes(warning);
    });
  } finally {
    await close();
  }
}

/** Looks until it has settled, or for as long as it should have: what is seen then is held to. */
async function seen(
  provider: Provider,
  statusLines: () => readonly string[],
  isSettled: (ready: Seen['ready'], statusLine: string) => boolean,
): Promise<Seen> {
  let ready: Seen['ready'] = {};
  let statusLine = '';
  // What was looked at last is what is held to: the line may say something else a moment later.
  const look = async () => {
    ready = (await provider.ready()).body;
    statusLine = statusLines().at(-1) ?? '';
    return isSettled(ready, statusLine);
  };
  await until(look, 'it has settled', settleMs, 200).catch(() => {});
  return { lines: [...provider.log], ready, statusLine, text: provider.text() };
}

/** Members that are not there are left out. */
const causeIn = (members: Readonly<Record<string, unknown>>) =>
  JSON.parse(JSON.stringify(members)) as Record<string, unknown>;
const causeOfTold = ({ class: errorClass, detail, finding, right, httpStatus }: Told) =>
  causeIn({ class: errorClass, detail, finding: finding ?? right, httpStatus });
const causeOfLine = (line: LogLine | undefined) =>
  causeIn({
    class: line?.['error_class'],
    detail: line?.['detail'],
    finding: line?.['finding'],
    httpStatus: line?.['http_status'],
  });

function checkLog({ lines }: Seen, told: Told): void {
  const probe = lines.find(isProbe(told));
  // The rights are looked at after the denial, and told with their own line.
  const { right, ...ofProbe } = told;
  assert.equal(causeOfLine(probe), causeOfTold(ofProbe), 'status.probe');
  if (right !== undefined) checkRights(lines, right);
  assert.type(probe?.['hint'], 'string', 'the probe says what to do');
  const logins = lines.filter(({ message, error_class }) => message === 'auth.login' && error_class !== undefined);
  if (told.reason !== 'login_failed') return;
  assert.equal(causeOfLine(logins[0]), causeOfTold(told), 'auth.login');
  assert.is(logins[0]?.['hint'], probe?.['hint'], 'login and probe say the same');
}

function checkRights(lines: readonly LogLine[], finding: string): void {
  const told = lines.filter(({ message }) => message === 'rights.changed').map((line) => String(line['finding']));
  assert.ok(
    told.some((findings) => findings.includes(finding)),
    `rights.changed says ${told.join(' ')}`,
  );
}

/** Nothing of what OpenBao wrote, and nothing of what a JWT claims. */
function checkForeign({ text }: Seen): void {
  assert.not.match(
    text,
    /error validating|could not be found|permission denied|rate limit quota|namespace not found/iu,
  );
  assert.not.match(text, /somebody-else|staging|another-issuer/u);
}

/** The status of a probe's answer, and what a look at the rights found behind it. */
const causeOfReady = (ready: Seen['ready']) => {
  const cause = (ready['cause'] ?? {}) as Record<string, unknown>;
  const { class: errorClass, detail, finding, http_status: httpStatus } = cause;
  return causeIn({ class: errorClass, detail, finding, httpStatus });
};

function checkReady({ ready }: Seen, told: Told): void {
  const reasons = ready['reasons'] as readonly string[];
  assert.ok(reasons.includes(told.reason), `/ready says ${reasons.join(', ')}`);
  assert.equal(causeOfReady(ready), causeOfTold(told), '/ready');
}

const causeInLine = ({ class: errorClass, detail, finding, right }: Told) => {
  const more = detail ?? finding ?? right;
  return `(${more === undefined ? errorClass : `${errorClass}: ${more}`}`;
};

function checkStatusLine({ statusLine }: Seen, told: Told): void {
  assert.ok(statusLine.startsWith('unhealthy: '), statusLine);
  assert.ok(statusLine.includes(told.reason), `${statusLine} does not say ${told.reason}`);
  assert.ok(statusLine.includes(causeInLine(told)), `${statusLine} does not say ${causeInLine(told)}`);
}

const outcomes = new Map([...mistakes, ...warned].map(({ title }) => [title, Promise.withResolvers<Seen>()]));
const isPossible = (mistake: Mistake) => isReal || mistake.needsReal !== true;
let server: Server | undefined;

async function seeAll(): Promise<void> {
  if (server !== undefined) return;
  const started = await startServer();
  server = started;
  for (const { promise } of outcomes.values()) promise.catch(() => {});
  const queue = [
    ...mistakes.filter(isPossible).map((one) => ({ title: one.title, run: () => see(started, one) })),
    ...warned.map((one) => ({ title: one.title, run: () => seeWarning(started, one) })),
  ];
  const worker = async () => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      const outcome = outcomes.get(one.title);
      await one.run().then(outcome?.resolve, outcome?.reject);
    }
  };
  for (let count = 0; count < sideBySide; count += 1) void worker();
}

for (const mistake of mistakes) {
  const { title, told } = mistake;
  test(`${title}: ${told.reason} (${classTold(told)})`, async () => {
    if (skipWithout(isPossible(mistake), title, 'a real OpenBao')) return;
    await seeAll();
    const seen = await outcomes.get(title)?.promise;
    assert.ok(seen);
    checkLog(seen, told);
    checkForeign(seen);
    checkReady(seen, told);
    if (isStatusHeard) checkStatusLine(seen, told);
  });
}

for (const { title, warning } of warned) {
  test(`${title}: Status stays ok, and ${warning} is a warning`, async () => {
    await seeAll();
    const seen = await outcomes.get(title)?.promise;
    assert.ok(seen);
    assert.is(seen.ready['status'], 'ok');
    assert.ok(JSON.stringify(seen.ready['warnings'] ?? []).includes(`"${warning}"`), JSON.stringify(seen.ready));
    checkRights(seen.lines, warning);
    checkForeign(seen);
    if (isStatusHeard) {
      assert.match(seen.statusLine, new RegExp(`^healthy.*warning: [^;]*${warning}`, 'u'), seen.statusLine);
    }
  });
}

test('no two mistakes have one title', () => {
  assert.is(outcomes.size, mistakes.length + warned.length);
});

test('the status line was heard', () => {
  skipWithout(isStatusHeard, 'the status line of each mistake', 'perl and systemd-notify');
});

test('the server is stopped', async () => {
  await server?.stop();
});

test.run();
