// The steps at which one of the processes is killed: of start, bind, commit, rotation, promotion, replacement and stop.

import type { CrashStep } from '../support/crashing-distribution.ts';

const checks = 'supervisor/gate/checks';
const serve = 'supervisor/commands/serve.ts';
const holdings = 'supervisor/gate/holdings.ts';
const socket = 'supervisor/custody/socket.ts';
export const store = 'supervisor/custody/state-store.ts';
const loop = 'supervisor/lifecycle/loop.ts';
export const incumbent = 'supervisor/lifecycle/incumbent.ts';
const running = 'supervisor/launch/running.ts';
const pluginServe = 'plugin/tasks/serve.ts';
const commits = 'plugin/keys/commits.ts';

export const starting: readonly CrashStep[] = [
  { file: `${checks}/config.ts`, at: 'step: config.read', side: 'before' },
  { file: `${checks}/credentials.ts`, at: 'step: custody.create', side: 'before' },
  { file: `${checks}/identity.ts`, at: 'step: identity.check', side: 'before' },
  { file: `${checks}/runtime-directory.ts`, at: 'step: runtime-directory.pin', side: 'before' },
  { file: `${checks}/lock.ts`, at: 'step: lock.pin', side: 'before' },
  { file: `${checks}/lock.ts`, at: 'step: lock.taken', side: 'after' },
  { file: `${checks}/state.ts`, at: 'step: state.open', side: 'before' },
  { file: `${checks}/socket.ts`, at: 'step: socket.prove-dead', side: 'before' },
  { file: holdings, at: 'step: listeners.bind', side: 'before' },
  { file: socket, at: 'step: socket.private-name', side: 'after' },
  { file: socket, at: 'step: socket.chmod', side: 'before' },
  { file: socket, at: 'step: socket.rename', side: 'before' },
  { file: socket, at: 'step: socket.rename', side: 'after' },
  { file: running, at: 'step: plugin.launch', side: 'before' },
  { file: running, at: 'step: plugin.launch', side: 'after' },
  { file: running, at: 'step: plugin.greet', side: 'after' },
  { file: incumbent, at: 'step: incumbent.next-ready', side: 'before' },
  { file: 'plugin/main.ts', at: 'step: plugin.signals', side: 'after' },
  { file: pluginServe, at: 'step: plugin.server', side: 'before' },
  { file: pluginServe, at: 'step: plugin.ready', side: 'before' },
  { file: pluginServe, at: 'step: plugin.ready', side: 'after' },
];

export const committing: readonly CrashStep[] = [
  { file: store, at: 'step: state.save', side: 'before' },
  { file: store, at: 'step: state.save', side: 'after' },
  { file: store, at: 'step: state.stable', side: 'before' },
  {
    file: incumbent,
    at: 'step: commit.answer',
    side: 'before',
  },
  {
    file: incumbent,
    at: 'step: commit.answer',
    side: 'after',
  },
  { file: commits, at: 'step: commit.propose', side: 'before' },
  { file: commits, at: 'step: commit.propose', side: 'after' },
  { file: commits, at: 'step: commit.settled', side: 'before' },
];

/** Inside one save, of the state and of the checkpoint. */
export const saving: readonly CrashStep[] = [
  { file: store, at: 'step: state.write', side: 'before' },
  { file: store, at: 'step: state.sync', side: 'before' },
  { file: store, at: 'step: state.rename', side: 'before' },
  { file: store, at: 'step: state.rename', side: 'after' },
  { file: store, at: 'step: state.sync-directory', side: 'after' },
];

export const replacing: readonly CrashStep[] = [
  {
    file: incumbent,
    at: 'step: next.start',
    side: 'before',
  },
  {
    file: incumbent,
    at: 'step: next.start',
    side: 'after',
  },
  { file: loop, at: 'step: reload.adopt', side: 'before' },
  { file: incumbent, at: 'step: incumbent.retire', side: 'before' },
  { file: incumbent, at: 'step: incumbent.retire', side: 'after' },
  {
    file: pluginServe,
    at: 'step: plugin.until-healthy',
    side: 'before',
    when: "start.listen === 'when_healthy'",
  },
  {
    file: pluginServe,
    at: 'step: plugin.ready',
    side: 'before',
    when: "this.#start.listen === 'when_healthy'",
  },
  {
    file: pluginServe,
    at: 'step: plugin.ready',
    side: 'after',
    when: "this.#start.listen === 'when_healthy'",
  },
  { file: pluginServe, at: 'step: plugin.shutting-down', side: 'before', when: 'isReplaced' },
  { file: pluginServe, at: 'step: plugin.shutting-down', side: 'after', when: 'isReplaced' },
  { file: pluginServe, at: 'step: plugin.drained', side: 'before', when: 'isReplaced' },
  { file: pluginServe, at: 'step: plugin.drained', side: 'after', when: 'isReplaced' },
];

export const stopping: readonly CrashStep[] = [
  { file: serve, at: 'step: stop.notify', side: 'before' },
  {
    file: incumbent,
    at: 'step: stop.drain',
    side: 'before',
  },
  {
    file: incumbent,
    at: 'step: stop.drain',
    side: 'after',
  },
  { file: serve, at: 'step: stop.state-idle', side: 'before' },
  {
    file: holdings,
    at: 'step: stop.unlock',
    side: 'after',
  },
  { file: pluginServe, at: 'step: plugin.shutting-down', side: 'after' },
  { file: pluginServe, at: 'step: plugin.drained', side: 'after' },
];
