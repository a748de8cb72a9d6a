// A plugin that has turned against its supervisor. Built into a distribution of its own by hostile-distribution.ts, with what
// it is to try. Everything it finds out it writes to standard error, one JSON line a trial.

import { spawnSync } from 'node:child_process';
import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { open as openInspector } from 'node:inspector';
import { createServer, Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { encodeFrame } from '../../shared/channel/frame.ts';
import { parseProcStatus } from '../../shared/confinement/confinement.ts';

declare const __TRIAL__: string;
declare const __PATHS__: { readonly state: string; readonly jwt: string; readonly run: string };

const channel = new Socket({ fd: 3, readable: true, writable: true });
channel.resume();
channel.on('error', () => {});
channel.on('close', () => process.exit(0));
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
setInterval(() => {}, 1_000);

const send = (message: unknown) => channel.write(encodeFrame(Buffer.from(JSON.stringify(message))));
const confinement = parseProcStatus(readFileSync('/proc/self/status', 'latin1'));
const ready = () => send({ kind: 'ready', confinement, isPermissionModelOn: true });
const health = { kind: 'health', healthz: 'ok', reasons: [], errorClasses: [], rotationState: 'active' };

function attempt(name: string, run: () => unknown): void {
  let outcome = 'SUCCEEDED';
  try {
    run();
  } catch (error) {
    outcome = String((error as NodeJS.ErrnoException).code ?? 'refused');
  }
  process.stderr.write(`${JSON.stringify({ message: 'hostile', name, outcome })}\n`);
}

const trials: Readonly<Record<string, () => void>> = {
  files: () => {
    ready();
    attempt('write the state', () => writeFileSync(__PATHS__.state, 'forged'));
    attempt('read the JWT by path', () => readFileSync(__PATHS__.jwt));
    attempt('read the account file', () => readFileSync('/etc/passwd'));
    attempt('read the supervisor’s environment', () => readFileSync(`/proc/${process.ppid}/environ`));
    attempt('start a process', () => {
      const { error } = spawnSync('/bin/true');
      if (error !== undefined) throw error;
    });
    attempt('start a thread', () => new Worker('1', { eval: true }));
    attempt('open the inspector', () => openInspector(0, '127.0.0.1'));
    const server = createServer();
    const tell = (outcome: string) =>
      process.stderr.write(
        `${JSON.stringify({ message: 'hostile', name: 'bind in the runtime directory', outcome })}\n`,
      );
    attempt('listen', () => {
      server.once('error', (error: NodeJS.ErrnoException) => tell(error.code ?? 'refused'));
      server.listen(`${__PATHS__.run}/kms.sock.evil`, () => tell('SUCCEEDED'));
    });
  },
  /** What must fail even for machine code: no runtime stands in the way, only the user, the file modes and the drop. */
  native: () => {
    ready();
    attempt('write the state', () => writeFileSync(__PATHS__.state, 'forged'));
    attempt('write beside the state', () => writeFileSync(`${__PATHS__.state}.evil`, 'forged'));
    attempt('remove the checkpoint', () => unlinkSync(`${__PATHS__.state}.checkpoint`));
    attempt('read the JWT by path', () => readFileSync(__PATHS__.jwt));
    attempt('remove the socket', () => unlinkSync(`${__PATHS__.run}/kms.sock`));
    attempt('make a file in the runtime directory', () => writeFileSync(`${__PATHS__.run}/evil`, ''));
    attempt('read the supervisor’s memory', () => readFileSync(`/proc/${process.ppid}/mem`));
    attempt('read the supervisor’s environment', () => readFileSync(`/proc/${process.ppid}/environ`));
    attempt('signal the supervisor', () => process.kill(process.ppid, 'SIGHUP'));
    attempt('become root', () => process.setuid?.(0));
    attempt('become the supervisor', () =>
      process.setuid?.(Number(/^Uid:\s+(\d+)/mu.exec(readFileSync(`/proc/${process.ppid}/status`, 'latin1'))?.[1])),
    );
    attempt('take its groups', () => process.setgroups?.([0]));
    const file = `/proc/self/fd/4`;
    attempt('open the socket’s directory through its descriptor', () => readFileSync(`${file}/../kms.sock`));
    process.stderr.write(`${JSON.stringify({ message: 'hostile', name: 'done', outcome: 'done' })}\n`);
  },
  'an oversized frame': () => {
    ready();
    channel.write(Buffer.from([0x7f, 0xff, 0xff, 0xff, 0x7b]));
  },
  'an empty frame': () => channel.write(Buffer.alloc(4)),
  'no JSON': () => channel.write(encodeFrame(Buffer.from('{"kind":'))),
  'an unknown kind': () => send({ kind: 'exec', command: '/bin/sh' }),
  'an unknown member': () => send({ ...health, path: '/etc/shadow' }),
  'health before ready': () => send(health),
  'a proposal before ready': () => send({ kind: 'propose', commitId: 1, state: '{}' }),
  'ready twice': () => {
    ready();
    ready();
  },
  'a flood of frames': () => {
    ready();
    for (let count = 0; count < 5_000; count += 1) send(health);
  },
  'a state that is no state': () => {
    ready();
    send({ kind: 'propose', commitId: 1, state: '{"generation":99}' });
  },
  'two proposals at once': () => {
    ready();
    send({ kind: 'propose', commitId: 1, state: '{}' });
    send({ kind: 'propose', commitId: 2, state: '{}' });
  },
  'capabilities that are not there': () =>
    send({ kind: 'ready', confinement: { ...confinement, effective: 'c0' }, isPermissionModelOn: true }),
  'a frame that never ends': () => {
    ready();
    const header = Buffer.alloc(4);
    header.writeUInt32BE(8 * 1024 * 1024);
    channel.write(header);
    channel.write(Buffer.alloc(4 * 1024 * 1024, 0x20));
  },
};

process.stderr.write(`${JSON.stringify({ message: 'hostile', name: 'began', outcome: __TRIAL__ })}\n`);
trials[__TRIAL__]?.();
