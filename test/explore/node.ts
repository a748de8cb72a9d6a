// One node of the exploration: disk, supervisor and plugin as plain values, and every step they can take. What is decided is
// decided by the product's own code: the ledger's probe, the rules of succession and promotion, the judgement of the pair, the
// verdict. Only reading, saving and time are played here. Time moves in halves of the activation delay.

import { judge } from '../../plugin/health/verdict.ts';
import { startWait } from '../../plugin/keys/activation-wait.ts';
import {
  advance,
  type Ledger,
  type LedgerAnswer,
  type LedgerEffect,
  type LedgerSettings,
} from '../../plugin/keys/ledger.ts';
import type { KeyProfile } from '../../plugin/keys/profile.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { checkBelief } from '../../shared/registry/belief.ts';
import { type Checkpoint, checkpointOf } from '../../shared/registry/checkpoint.ts';
import { deriveKeyId } from '../../shared/registry/key-id.ts';
import { judgePair } from '../../shared/registry/pair.ts';
import type { RegistryState, Snapshot } from '../../shared/registry/state.ts';
import { activeSnapshot, checkPromotion, checkSuccessor, stableKeyId } from '../../shared/registry/successor.ts';
import { createdAtUnix, fingerprint, identity } from '../support/vectors.ts';

const halfMs = 1_000;
const delayMs = 2 * halfMs;
const nowUnix = 1_750_000_300;

export const settings: LedgerSettings = {
  identity,
  identityFingerprint: fingerprint,
  keyName: identity.transitKeyName,
  stableCount: 2,
  activationDelayMs: delayMs,
  probeIntervalMs: halfMs,
  rejectVersionRollback: true,
};

export type Plugin = {
  readonly published: RegistryState | undefined;
  readonly pendingCommit: Ledger['pendingCommit'];
  readonly inherited: { readonly keyId: string; readonly elapsedMs: number } | undefined;
  /** Of the activation wait; 0: over. */
  readonly waiting: { readonly keyId: string; readonly remainingMs: number } | undefined;
  readonly metadata: 'none' | 'good' | 'bad' | 'blocked';
  /** The key that passed the latest deep probe; undefined: none, or it failed. */
  readonly deepKeyId: string | undefined;
};

export type Node = {
  readonly disk: { readonly state: RegistryState | undefined; readonly checkpoint: Checkpoint | undefined };
  /** Undefined: the supervisor is down, and the plugin with it. */
  readonly supervisor:
    | {
        readonly current: RegistryState | undefined;
        readonly attempted: RegistryState | undefined;
        readonly known: { readonly keyId: string; readonly elapsedMs: number } | undefined;
      }
    | undefined;
  readonly plugin: Plugin | undefined;
  /** The greatest version that a healthy Status of this node ever named. */
  readonly reported: number;
};

export type NodeStep = {
  readonly label: string;
  readonly node: Node;
  /** A crash, a failed save, a stale or failed reading: the exploration has a budget of them. */
  readonly faults: number;
};

/** What must hold in every state. */
export const sentences = {
  equal: 'a healthy Status equals what Encrypt uses, and that key has passed its own probe',
  forward: 'the reported key_id never goes back on a node',
  accepted: 'nothing is encrypted with a version the node has not accepted as active',
  readable: 'what one node encrypted every node can decrypt after at most one discovery',
  history: 'history is append-only and hash-linked',
  free: 'a node is never stuck: with OpenBao reachable and acceptable it ends active on the latest version',
  honest: 'an honest plugin never proposes what the supervisor refuses',
  restart: 'the next start works without help',
} as const;

/** A sentence that does not hold. */
export class Violation extends Error {}

export const emptyNode: Node = {
  disk: { state: undefined, checkpoint: undefined },
  supervisor: { current: undefined, attempted: undefined, known: undefined },
  plugin: undefined,
  reported: 0,
};

const contents = new WeakMap<RegistryState, string>();
/** The records of a state, without what only tells one generation from another. */
function contentOf(state: RegistryState): string {
  const known = contents.get(state);
  if (known !== undefined) return known;
  const made = state.snapshots
    .map(
      (one) => `${one.state[0]}${one.transitVersion}${one.stableObservationCount}${one.stableAtUnix === 0 ? '' : 's'}`,
    )
    .join();
  contents.set(state, made);
  return made;
}

/**
 * Everything that decides what a node does next, as text: equal text, equal future. Which generation a state has does not
 * matter, only which of the states that the node holds are the same one, and how far apart they are.
 */
export function nodeKey(node: Node): string {
  const { disk, supervisor, plugin, reported } = node;
  const base = disk.state?.generation ?? 0;
  const numbers = new Map<string, number>();
  const name = (state: RegistryState | undefined) => {
    if (state === undefined) return '-';
    const number = numbers.get(state.currentHash) ?? numbers.size;
    if (numbers.has(state.currentHash)) return String(number);
    numbers.set(state.currentHash, number);
    return `${number}:${state.generation - base}:${contentOf(state)}`;
  };
  const version = (keyId: string | undefined) => (keyId === undefined ? '-' : (versionByKeyId.get(keyId) ?? '?'));
  const time = (one: { readonly keyId: string } | undefined, ms: number | undefined) =>
    `${version(one?.keyId)}+${ms ?? ''}`;
  const held = supervisor && [
    name(supervisor.current),
    name(supervisor.attempted),
    time(supervisor.known, supervisor.known?.elapsedMs),
  ];
  const inPlugin = plugin && [
    name(plugin.published),
    name(plugin.pendingCommit?.attempted),
    name(plugin.pendingCommit?.predecessor),
    time(plugin.inherited, plugin.inherited?.elapsedMs),
    time(plugin.waiting, plugin.waiting?.remainingMs),
    plugin.metadata,
    version(plugin.deepKeyId),
  ];
  const isCheckpointed = disk.checkpoint?.currentHash === disk.state?.currentHash;
  return `${name(disk.state)} ${isCheckpointed} ${held?.join(' ') ?? ''} | ${inPlugin?.join(' ') ?? ''} ${reported}`;
}

const versionByKeyId = new Map(
  [1, 2, 3, 4].map((version) => {
    const [transitVersion, transitVersionCreatedAtUnix] = [version, createdAtUnix + version - 1];
    return [deriveKeyId(identity, { transitVersion, transitVersionCreatedAtUnix }), version] as const;
  }),
);

/** Status of a node, by the product's own verdict; evidence is fresh whenever it is there. */
export function isHealthy({ plugin }: Node): boolean {
  if (plugin === undefined) return false;
  const { published, metadata, deepKeyId } = plugin;
  const wrong = { reason: 'profile_invalid', cause: { class: 'x' }, kind: 'wrong_answer' } as const;
  const failure = metadata === 'bad' || metadata === 'blocked' ? wrong : undefined;
  const isDeepGood = deepKeyId !== undefined && deepKeyId === published?.activeKeyId;
  const verdict = judge(
    {
      state: published,
      metadata: {
        goodAgeMs: metadata === 'none' ? undefined : 0,
        failure,
        wrong: failure,
        failing: failure && { sinceUnixMs: 0, ageMs: 0 },
      },
      deep: { goodAgeMs: isDeepGood ? 0 : undefined, failure: undefined, wrong: undefined, failing: undefined },
      rights: { findings: [], failing: undefined },
      isPersistenceDegraded: false,
      isSocketLost: false,
      isShuttingDown: false,
    },
    { statusMaxStalenessMs: 1, deepMaxAgeMs: 1 },
  );
  return verdict.healthz === 'ok';
}

/** The record that Encrypt uses at this moment, if Status is healthy. */
export function encryptsWith(node: Node): Snapshot | undefined {
  const published = node.plugin?.published;
  return isHealthy(node) && published !== undefined ? activeSnapshot(published) : undefined;
}

export function canDecrypt({ plugin }: Node, version: number): boolean {
  const usable = ['active', 'pending', 'retired'];
  return (
    plugin?.published?.snapshots.some((one) => one.transitVersion === version && usable.includes(one.state)) === true
  );
}

export function mayEncrypt(profile: KeyProfile, version: number): boolean {
  return (
    version <= profile.latestVersion &&
    version >= profile.minEncryptionVersion &&
    version >= profile.minDecryptionVersion
  );
}

/** All steps of a node but those of a stale reading, whatever the others do. */
export function stepsOf(node: Node, profile: KeyProfile): NodeStep[] {
  if (node.supervisor === undefined)
    return [{ label: 'supervisor started', node: passGate(node, undefined), faults: 0 }];
  const steps: NodeStep[] = [{ label: 'supervisor killed', node: killSupervisor(node), faults: 1 }];
  if (node.plugin === undefined) return [...steps, { label: 'plugin started', node: startPlugin(node), faults: 0 }];
  steps.push({ label: 'plugin killed', node: { ...node, plugin: undefined }, faults: 1 });
  steps.push(...probes(node, profile, profile, 'advance'), ...probes(node, profile, profile, 'discover'));
  steps.push({ label: 'metadata refused', node: withPlugin(node, { metadata: 'bad' }), faults: 1 });
  if (node.plugin.published !== undefined)
    steps.push({ label: 'deep probe', node: deepProbe(node, profile), faults: 0 });
  steps.push({ label: 'half of the delay passes', node: halfPasses(node), faults: 0 });
  return steps;
}

/** The probes of a node that reads what OpenBao said before its last change, while it is `profile` already. */
export function staleStepsOf(node: Node, stale: KeyProfile, profile: KeyProfile): NodeStep[] {
  if (node.plugin === undefined) return [];
  return [...probes(node, stale, profile, 'advance'), ...probes(node, stale, profile, 'discover')];
}

function withPlugin(node: Node, change: Partial<Plugin>): Node {
  return node.plugin === undefined ? node : { ...node, plugin: { ...node.plugin, ...change } };
}

function killSupervisor(node: Node): Node {
  return { ...node, supervisor: undefined, plugin: undefined };
}

/** The gate judges the pair and completes it; whatever a crash left must be acceptable. */
function passGate(node: Node, known: NonNullable<Node['supervisor']>['known']): Node {
  const { state, checkpoint } = node.disk;
  try {
    const verdict = judgePair(checkpoint, state, false);
    const current = verdict.kind === 'accepted' ? verdict.state : undefined;
    const disk = current === undefined ? node.disk : { state: current, checkpoint: checkpointOf(current) };
    return { ...node, disk, supervisor: { current, attempted: undefined, known: noted(current, known) } };
  } catch (error) {
    throw new Violation(sentences.restart, { cause: error });
  }
}

/** Since when a record has been known stable: kept while it is the same one. */
function noted(state: RegistryState | undefined, known: NonNullable<Node['supervisor']>['known']) {
  const keyId = stableKeyId(state);
  if (keyId === undefined) return undefined;
  return keyId === known?.keyId ? known : { keyId, elapsedMs: 0 };
}

function startPlugin(before: Node): Node {
  const node = passGate(before, before.supervisor?.known);
  const { current, known } = node.supervisor ?? { current: undefined, known: undefined };
  const plugin: Plugin = {
    published: current,
    pendingCommit: undefined,
    inherited: known,
    waiting: undefined,
    metadata: 'none',
    deepKeyId: undefined,
  };
  return { ...node, plugin };
}

function halfPasses(node: Node): Node {
  const { supervisor, plugin } = node;
  const known = supervisor?.known && {
    keyId: supervisor.known.keyId,
    elapsedMs: Math.min(delayMs, supervisor.known.elapsedMs + halfMs),
  };
  const waiting = plugin?.waiting && {
    keyId: plugin.waiting.keyId,
    remainingMs: Math.max(0, plugin.waiting.remainingMs - halfMs),
  };
  return {
    ...node,
    supervisor: supervisor && { ...supervisor, known },
    plugin: plugin && { ...plugin, waiting },
  };
}

function deepProbe(node: Node, profile: KeyProfile): Node {
  // A known restriction is no fault of the backend: nothing is probed.
  if (node.plugin?.metadata === 'blocked') return node;
  const active = node.plugin?.published && activeSnapshot(node.plugin.published);
  const isGood = active !== undefined && mayEncrypt(profile, active.transitVersion);
  return report(withPlugin(node, { deepKeyId: isGood ? active.kubernetesKeyId : undefined }));
}

/** What can happen to a save: done, refused by the disk before or after its rename, or cut short by a crash of either process. */
const saveFates = ['saved', 'disk untouched', 'checkpoint missing', 'plugin dies', 'supervisor dies half way'] as const;
type Fate = (typeof saveFates)[number];
type Choice = Fate | 'proven' | 'not proven';

/** One probe with every combination of fates of its effects. The generator is run again from its start for each of them. */
function probes(node: Node, read: KeyProfile, profile: KeyProfile, mode: 'advance' | 'discover'): NodeStep[] {
  const found: NodeStep[] = [];
  const queue: Choice[][] = [[]];
  for (let choices = queue.shift(); choices !== undefined; choices = queue.shift()) {
    const run = runProbe(node, read, profile, mode, choices);
    if ('ask' in run) queue.push(...run.ask.map((choice) => [...(choices ?? []), choice]));
    else {
      const bad = choices.filter((choice) => choice !== 'saved' && choice !== 'proven').length;
      const isStale = read !== profile;
      const reading = isStale ? ' of a stale reading' : '';
      found.push({
        label: `${mode}${reading}${choices.length === 0 ? '' : `: ${choices.join(', ')}`}`,
        node: run.node,
        faults: bad + (isStale ? 1 : 0),
      });
    }
  }
  return found;
}

type Run = { readonly ask: readonly Choice[] } | { readonly node: Node };

function runProbe(
  before: Node,
  read: KeyProfile,
  profile: KeyProfile,
  mode: 'advance' | 'discover',
  choices: readonly Choice[],
): Run {
  const { plugin } = before;
  if (plugin === undefined) return { node: before };
  const ledger: Ledger = {
    published: plugin.published,
    pendingCommit: plugin.pendingCommit,
    wait: {
      ...startWait(plugin.inherited),
      waiting: plugin.waiting && { keyId: plugin.waiting.keyId, endsAtMs: plugin.waiting.remainingMs },
    },
    lastCountedAtMs: Number.NEGATIVE_INFINITY,
  };
  const isDeepGood = plugin.deepKeyId !== undefined && plugin.deepKeyId === plugin.published?.activeKeyId;
  const steps = advance(ledger, settings, { profile: read, mode, startedAtMs: 0, nowUnix, nowMs: () => 0, isDeepGood });
  let node = before;
  let next = 0;
  const proven = new Set<string>();
  const keep = () => {
    const waiting = ledger.wait.waiting && {
      keyId: ledger.wait.waiting.keyId,
      remainingMs: Math.max(0, ledger.wait.waiting.endsAtMs),
    };
    const { published, pendingCommit } = ledger;
    node = withPlugin(node, { published, pendingCommit, inherited: ledger.wait.inherited, waiting });
  };
  try {
    let answer: LedgerAnswer;
    for (;;) {
      const step = steps.next(answer);
      if (step.done === true) {
        keep();
        return {
          node: report(withPlugin(node, { metadata: step.value === 'encryption_blocked' ? 'blocked' : 'good' })),
        };
      }
      const effect: LedgerEffect = step.value;
      answer = undefined;
      if (effect.kind === 'publish') {
        if (effect.isDeepProven && !proven.has(effect.state.activeKeyId)) throw new Violation(sentences.equal);
        node = report(published(node, effect));
        keep();
      }
      if (effect.kind === 'prove') {
        const choice = choices[next];
        if (choice === undefined)
          return {
            ask: mayEncrypt(profile, effect.candidate.transitVersion) ? ['proven', 'not proven'] : ['not proven'],
          };
        next += 1;
        answer = choice === 'proven';
        if (answer) proven.add(effect.candidate.kubernetesKeyId);
      }
      if (effect.kind === 'save') {
        const choice = choices[next];
        if (choice === undefined) return { ask: saveFates };
        next += 1;
        const saved = save(node, effect.state, choice as Fate);
        node = saved.node;
        if (saved.answer === undefined) return { node };
        answer = saved.answer;
      }
    }
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    keep();
    return { node: withPlugin(node, { metadata: 'bad' }) };
  }
}

function published(node: Node, { state, isDeepProven }: Extract<LedgerEffect, { kind: 'publish' }>): Node {
  const isChanged = state.activeKeyId !== node.plugin?.published?.activeKeyId;
  const deepKeyId = isChanged ? (isDeepProven ? state.activeKeyId : undefined) : node.plugin?.deepKeyId;
  return withPlugin(node, { published: state, metadata: 'good', deepKeyId });
}

type Saved = { readonly node: Node; readonly answer: LedgerAnswer };

/** The supervisor's side of a proposal: its own rules first, then state, then checkpoint. */
function save(node: Node, state: RegistryState, fate: Fate): Saved {
  const supervisor = node.supervisor;
  if (supervisor === undefined) throw new Violation('a plugin without a supervisor');
  const { current } = supervisor;
  const isThere = current?.currentHash === state.currentHash;
  if (!isThere) {
    try {
      checkSuccessor(current, state);
      checkPromotion(current, state, supervisor.known, delayMs);
      checkBelief(current, state, nowUnix);
    } catch (error) {
      throw new Violation(sentences.honest, { cause: error });
    }
    checkHistory(current, state);
  }
  const whole = { state, checkpoint: checkpointOf(state) };
  const half = { state, checkpoint: node.disk.checkpoint };
  switch (fate) {
    case 'disk untouched':
      return {
        node: { ...node, supervisor: { ...supervisor, attempted: state } },
        answer: { outcome: 'failed', onDisk: isThere ? 'attempted' : 'predecessor' },
      };
    case 'checkpoint missing':
      return {
        node: { ...node, disk: half, supervisor: { ...supervisor, attempted: state } },
        answer: { outcome: 'failed', onDisk: 'attempted' },
      };
    case 'supervisor dies half way':
      return { node: { ...killSupervisor(node), disk: half }, answer: undefined };
    case 'saved':
    case 'plugin dies': {
      const known = noted(state, supervisor.known);
      const saved: Node = { ...node, disk: whole, supervisor: { current: state, attempted: undefined, known } };
      if (fate === 'plugin dies') return { node: { ...saved, plugin: undefined }, answer: undefined };
      return { node: saved, answer: { outcome: 'saved', onDisk: 'attempted' } };
    }
  }
}

/** Append-only and linked, checked without the product's own rule. */
function checkHistory(before: RegistryState | undefined, after: RegistryState): void {
  const generation = before?.generation ?? 0;
  if (after.generation !== generation + 1) throw new Violation(sentences.history);
  if (after.previousHash !== (before?.currentHash ?? '')) throw new Violation(sentences.history);
  const kinds = new Map(after.snapshots.map(({ kubernetesKeyId, state }) => [kubernetesKeyId, state]));
  for (const { kubernetesKeyId, state } of before?.snapshots ?? []) {
    const kind = kinds.get(kubernetesKeyId);
    if (kind === undefined || (kind === 'removed') !== (state === 'removed')) throw new Violation(sentences.history);
  }
}

/** Notes what a healthy Status says at this moment: it never goes back, and the disk has accepted it already. */
function report(node: Node): Node {
  const active = encryptsWith(node);
  if (active === undefined) return node;
  const accepted = node.disk.state?.snapshots.find((one) => one.kubernetesKeyId === active.kubernetesKeyId);
  if (accepted?.state !== 'active' && accepted?.state !== 'retired') throw new Violation(sentences.accepted);
  if (active.transitVersion < node.reported) throw new Violation(sentences.forward);
  return active.transitVersion === node.reported ? node : { ...node, reported: active.transitVersion };
}
