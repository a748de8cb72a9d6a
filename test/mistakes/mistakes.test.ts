// Mistakes of administrators, each with what it must show in the log, in `/ready` and in the status line, on a whole provider
// before a real OpenBao when one is found, else before the development server. A few at a time, all on one server.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../support/installation.ts';
import { findNotifyHelper } from '../support/notify-socket.ts';
import { type LogLine, type Provider, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';
import type { Mistake, Told } from './mistake.ts';
import { mistakes } from './mistakes.ts';
import { isReal, openPlace, type Server, startServer } from './place.ts';

const sideBySide = 4;
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
    await provider.line(isProbe(mistake.told), 60_000);
    const ready = await readyThatTells(provider, mistake.told);
    const { reason } = mistake.told;
    const isTold = () => (statusLines().at(-1) ?? '').includes(reason);
    if (isStatusHeard) await until(isTold, `a status line that tells ${reason}`, 60_000);
    return { lines: [...provider.log], ready, statusLine: statusLines().at(-1) ?? '', text: provider.text() };
  } finally {
    await close();
  }
}

/** The probe writes its line before the cache takes its result. */
async function readyThatTells(provider: Provider, { reason }: Told): Promise<Record<string, unknown>> {
  let body: Record<string, unknown> = {};
  await until(
    async () => {
      body = (await provider.ready()).body;
      return (body['reasons'] as string[]).includes(reason);
    },
    `/ready that tells ${reason}`,
    60_000,
  );
  return body;
}

/** Members that are not there are left out. */
const causeIn = (members: Readonly<Record<string, unknown>>) =>
  JSON.parse(JSON.stringify(members)) as Record<string, unknown>;
const causeOfTold = ({ class: errorClass, detail, finding, httpStatus }: Told) =>
  causeIn({ class: errorClass, detail, finding, httpStatus });
const causeOfLine = (line: LogLine | undefined) =>
  causeIn({
    class: line?.['error_class'],
    detail: line?.['detail'],
    finding: line?.['finding'],
    httpStatus: line?.['http_status'],
  });

function checkLog({ lines }: Seen, told: Told): void {
  const probe = lines.find(isProbe(told));
  assert.equal(causeOfLine(probe), causeOfTold(told), 'status.probe');
  assert.type(probe?.['hint'], 'string', 'the probe says what to do');
  const logins = lines.filter(({ message, error_class }) => message === 'auth.login' && error_class !== undefined);
  if (told.reason !== 'login_failed') return;
  assert.equal(causeOfLine(logins[0]), causeOfTold(told), 'auth.login');
  assert.is(logins[0]?.['hint'], probe?.['hint'], 'login and probe say the same');
}

/** Nothing of what OpenBao wrote, and nothing of what a JWT claims. */
function checkForeign({ text }: Seen): void {
  assert.not.match(
    text,
    /error validating|could not be found|permission denied|rate limit quota|namespace not found/iu,
  );
  assert.not.match(text, /somebody-else|staging|another-issuer/u);
}

function checkReady({ ready }: Seen, told: Told): void {
  const classes = [ready['metadata_error_class'], ready['deep_error_class']];
  assert.ok(classes.includes(told.class), `/ready names ${classes.join(', ')}`);
}

function checkStatusLine({ statusLine }: Seen, told: Told): void {
  assert.ok(statusLine.startsWith('unhealthy: '), statusLine);
  assert.ok(statusLine.includes(told.class), `${statusLine} does not say ${classTold(told)}`);
}

const outcomes = new Map(mistakes.map(({ title }) => [title, Promise.withResolvers<Seen>()]));
const isPossible = (mistake: Mistake) => isReal || mistake.needsReal !== true;
let server: Server | undefined;

async function seeAll(): Promise<void> {
  if (server !== undefined) return;
  const started = await startServer();
  server = started;
  for (const { promise } of outcomes.values()) promise.catch(() => {});
  const queue = mistakes.filter(isPossible);
  const worker = async () => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      const outcome = outcomes.get(one.title);
      await see(started, one).then(outcome?.resolve, outcome?.reject);
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

test('no two mistakes have one title', () => {
  assert.is(outcomes.size, mistakes.length);
});

test('the status line was heard', () => {
  skipWithout(isStatusHeard, 'the status line of each mistake', 'perl and systemd-notify');
});

test('the server is stopped', async () => {
  await server?.stop();
});

test.run();
