// The turns of handshakes with an address whose certificate was refused.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HandshakePace } from '../../../../plugin/http/handshake-pace.ts';

test('an address that was never refused is not waited for', () => {
  const pace = new HandshakePace();
  pace.refused('192.0.2.1', 400, 0);
  assert.is(pace.takeTurn('192.0.2.2', 0), 0);
});

test('a refused one rests four times as long as its handshake took, also between those that wait for it', () => {
  const pace = new HandshakePace();
  pace.refused('192.0.2.1', 100, 1_000);
  assert.equal(
    [1_000, 1_000, 1_100].map((nowMs) => pace.takeTurn('192.0.2.1', nowMs)),
    [400, 800, 1_100],
  );
});

test('a rest is never longer than two seconds, and who would wait longer takes no turn', () => {
  const pace = new HandshakePace();
  pace.refused('192.0.2.1', 60_000, 0);
  assert.equal(
    [0, 0, 1, 2_000].map((nowMs) => pace.takeTurn('192.0.2.1', nowMs)),
    [2_000, undefined, undefined, 2_000],
  );
});

test('a second refusal does not bring turns forward that others have taken', () => {
  const pace = new HandshakePace();
  pace.refused('192.0.2.1', 400, 0);
  assert.is(pace.takeTurn('192.0.2.1', 0), 1_600);
  pace.refused('192.0.2.1', 1, 10);
  assert.is(pace.takeTurn('192.0.2.1', 1_900), 1_300);
});

test('an accepted certificate ends the rest', () => {
  const pace = new HandshakePace();
  pace.refused('192.0.2.1', 400, 0);
  pace.accepted('192.0.2.1');
  assert.is(pace.takeTurn('192.0.2.1', 0), 0);
});

test('of more than 64 refused addresses the oldest is forgotten', () => {
  const pace = new HandshakePace();
  for (let host = 0; host <= 64; host += 1) pace.refused(`192.0.2.${host}`, 100, 0);
  assert.equal([pace.takeTurn('192.0.2.0', 0), pace.takeTurn('192.0.2.1', 0)], [0, 400]);
});

test.run();
