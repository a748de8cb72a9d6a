// A plugin that has turned against its supervisor. Built into a distribution of its own by hostile-distribution.ts, with what
// it is to try. Everything it finds out it writes to standard error, one line a trial.

import { spawn, spawnSync } from 'node:child_process';
import { closeSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { open as openInspector } from 'node:inspector';
import { createServer, Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { encodeFrame, FrameDecoder } from '../../shared/channel/frame.ts';
import { parseSupervisorMessage, type SupervisorMessage } from '../../shared/channel/messages.ts';
import { parseProcStatus } from '../../shared/confinement/confinement.ts';
import { encodeState, parseState, type RegistryState, sealState } from '../../shared/registry/state.ts';
import { trialLine } from './hostile-words.ts';

declare const __TRIAL__: string;
declare const __PATHS__: { readonly state: string; readonly jwt: string; readonly run: string };

const channel = new Socket({ fd: 3, readable: true, writable: true });
channel.resume();
channel.on('error', () => {});
channel.on('close', () => process.exit(0));
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
setInterval(() => {}, 1_000);

const frameOf = (message: unknown) => encodeFrame(Buffer.from(JSON.stringify(message)));
const send = (message: unknown) => channel.write(frameOf(message));
/** What the supervisor says, decoded. */
function heard(receive: (message: SupervisorMessage) => void): void {
  const decoder = new FrameDecoder();
  channel.on('data', (chunk: Buffer) => {
    for (const payload of decoder.push(chunk)) receive(parseSupervisorMessage(payload));
  });
}

const confinement = parseProcStatus(readFileSync('/proc/self/status', 'latin1'));
const ready = () => send({ kind: 'ready', confinement, isPermissionModelOn: true });
const health = { kind: 'health', healthz: 'ok', reasons: [], errorClasses: [], rotationState: 'active' };

const tellTrial = (trial: string, outcome: string) => process.stderr.write(trialLine({ trial, outcome }));

function attempt(trial: string, run: () => unknown): void {
  let outcome = 'SUCCEEDED';
  try {
    run();
  } catch (error) {
    outcome = String((error as NodeJS.ErrnoException).code ?? 'refused');
  }
  tellTrial(trial, outcome);
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
    const tell = (outcome: string) => tellTrial('bind in the runtime directory', outcome);
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
    tellTrial('done', 'done');
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
    // In one write: the first must not be answered before the second is read.
    const proposals = [1, 2].map((commitId) => ({ kind: 'propose', commitId, state: '{}' }));
    channel.write(Buffer.concat(proposals.map(frameOf)));
  },
  'capabilities that are not there': () =>
    send({ kind: 'ready', confinement: { ...confinement, effective: 'c0' }, isPermissionModelOn: true }),
  'a frame that never ends': () => {
    ready();
    const header = Buffer.alloc(4);
    header.writeUInt32BE(8 * 1024 * 1024);
    channel.write(header);
    channel.write('{"kind":"propose","commitId":1,"state":"');
    channel.write(Buffer.alloc(4 * 1024 * 1024, 0x20));
  },
  'closes its standard error': () => {
    closeSync(2);
    send(health);
  },
  'speaks in our name': () => {
    process.stderr.write('\u001b[2Jcanary-control\r\n');
    process.stderr.write(`${JSON.stringify({ message: 'serve.shutdown', canary: 'canary-member' })}\n`);
    process.stderr.write(`${'canary-long '.repeat(2_000)}\n`);
    const line = { level: 'info', ts: new Date().toISOString(), process: 'supervisor' };
    for (const message of ['clock.regressed', 'serve.shutdown', 'reload.done', 'all.well']) {
      process.stderr.write(`${JSON.stringify({ ...line, message })}\n`);
    }
    let left = 200;
    const flood = setInterval(() => {
      process.stderr.write('canary-flood\n'.repeat(100));
      left -= 1;
      if (left > 0) return;
      clearInterval(flood);
      setTimeout(() => send(health), 1_500);
    }, 1);
  },
  'leaves a process behind': () => {
    // Only without the runtime's permission model.
    const { pid = 0 } = spawn('/bin/sleep', ['300'], { stdio: 'ignore' });
    tellTrial('left', String(pid));
    setTimeout(() => process.exit(1), 200);
  },
  'small objects': () => {
    ready();
    const body = `{"kind":"propose","commitId":1,"state":"","x":[${'{},'.repeat(2_700_000)}{}]}`;
    channel.write(encodeFrame(Buffer.from(body)));
  },
  'a long word': () => {
    ready();
    send({ ...health, reasons: ['x'.repeat(5_000)] });
  },
  'a word of its own': () => {
    ready();
    send({ kind: 'credential_result', name: 'jwt', generation: 1, result: 'refused', class: 'canary_class' });
  },
  'a frame byte by byte': () => {
    ready();
    const frame = encodeFrame(
      Buffer.from(JSON.stringify({ kind: 'propose', commitId: 1, state: 'x'.repeat(4_000_000) })),
    );
    let at = 0;
    setInterval(() => {
      for (let count = 0; count < 2_000; count += 1, at += 1) channel.write(frame.subarray(at, at + 1));
    }, 5);
  },
  'reads nothing': () => {
    ready();
    send(health);
    setTimeout(() => channel.pause(), 500);
    // Its pings can be answered unread: their numbers are 1, 2, 3.
    let id = 0;
    setInterval(() => {
      id += 1;
      send({ kind: 'pong', id, lagMs: 0 });
    }, 2_000);
  },
  'says of its credentials what it likes': () => {
    ready();
    send(health);
    heard((message) => {
      if (message.kind === 'ping') send({ kind: 'pong', id: message.id, lagMs: 0 });
    });
    const lie = { kind: 'credential_result', name: 'jwt', result: 'refused', class: 'auth_rejected' };
    setInterval(() => {
      for (const generation of [1, 999]) send({ ...lie, generation });
    }, 50);
  },
  'commits all the time': () => {
    let state: RegistryState | undefined;
    const next = () => {
      if (state === undefined) return;
      const { generation, currentHash, identityFingerprint, activeKeyId, snapshots } = state;
      const after = {
        identityFingerprint,
        generation: generation + 1,
        previousHash: currentHash,
        activeKeyId,
        snapshots,
      };
      state = sealState(after);
      send({ kind: 'propose', commitId: generation, state: encodeState(state) });
    };
    heard((message) => {
      if (message.kind === 'start' && message.state !== undefined) state = parseState(message.state);
      if (message.kind === 'start') {
        ready();
        send(health);
        next();
      }
      if (message.kind === 'committed' && message.outcome === 'saved') next();
      if (message.kind === 'ping') send({ kind: 'pong', id: message.id, lagMs: 0 });
    });
  },
};

tellTrial('began', __TRIAL__);
trials[__TRIAL__]?.();
