// Every state that three nodes and one OpenBao can reach within bounds, and the sentences that hold in all of them. Nodes are
// equal, so their order does not count. A node's own steps are worked out once for each of its states.

import type { KeyProfile } from '../../plugin/keys/profile.ts';
import { profile as profileOf } from '../support/vectors.ts';
import {
  canDecrypt,
  emptyNode,
  encryptsWith,
  isHealthy,
  mayEncrypt,
  type Node,
  type NodeStep,
  nodeKey,
  sentences,
  staleStepsOf,
  stepsOf,
  Violation,
} from './node.ts';

export type Bounds = {
  readonly nodes: number;
  readonly rotations: number;
  /** Changes of the minimum versions by administrators. */
  readonly changes: number;
  /** Crashes, failed saves, stale and failed readings, together. */
  readonly faults: number;
};

export type Outcome = {
  readonly states: number;
  readonly nodeStates: number;
  readonly milliseconds: number;
  /** The first sentence that does not hold, and the way to it. */
  readonly violation: { readonly sentence: string; readonly path: readonly string[] } | undefined;
};

type Key = { readonly latest: number; readonly minDecryption: number; readonly minEncryption: number };

type World = {
  readonly bao: Key;
  /** Before the last change: what a lagging reader may still see. */
  readonly stale: Key;
  readonly rotations: number;
  readonly changes: number;
  readonly faults: number;
  /** Bit n: something was encrypted with version n. */
  readonly encrypted: number;
  /** Numbers of node states, ascending. */
  readonly nodes: readonly number[];
  readonly from: World | undefined;
  readonly label: string;
};

const profiles = new Map<string, KeyProfile>();
function profileAt({ latest, minDecryption, minEncryption }: Key): KeyProfile {
  const name = `${latest} ${minDecryption} ${minEncryption}`;
  const known = profiles.get(name);
  if (known !== undefined) return known;
  const whole = profileOf(latest, { minDecryptionVersion: minDecryption, minEncryptionVersion: minEncryption });
  // OpenBao lists only versions that may decrypt.
  const versions = new Map([...whole.versions].filter(([version]) => version >= minDecryption));
  const made = { ...whole, versions };
  profiles.set(name, made);
  return made;
}

/** What an administrator can do next, as OpenBao allows it. */
function administrators(
  world: World,
): readonly { readonly label: string; readonly bao: Key; readonly rotates: boolean }[] {
  const { bao } = world;
  const found: { label: string; bao: Key; rotates: boolean }[] = [];
  if (world.rotations > 0) found.push({ label: 'rotate', bao: { ...bao, latest: bao.latest + 1 }, rotates: true });
  if (world.changes === 0) return found;
  for (let version = 1; version <= bao.latest; version += 1) {
    const isBelowEncryption = bao.minEncryption === 0 || version <= bao.minEncryption;
    if (version !== bao.minDecryption && isBelowEncryption) {
      found.push({
        label: `min_decryption_version ${version}`,
        bao: { ...bao, minDecryption: version },
        rotates: false,
      });
    }
  }
  for (let version = 0; version <= bao.latest; version += 1) {
    const isAboveDecryption = version === 0 || version >= bao.minDecryption;
    if (version !== bao.minEncryption && isAboveDecryption) {
      found.push({
        label: `min_encryption_version ${version}`,
        bao: { ...bao, minEncryption: version },
        rotates: false,
      });
    }
  }
  return found;
}

/** Below 512: no version is above 7. */
function keyNumber({ latest, minDecryption, minEncryption }: Key): number {
  return (latest * 8 + minDecryption) * 8 + minEncryption;
}

type NumberedStep = Omit<NodeStep, 'node'> & { readonly node: number };

/** Node states by number, and their steps for each state of OpenBao. */
class Nodes {
  readonly #numbers = new Map<string, number>();
  readonly #nodes: Node[] = [];
  readonly #steps = new Map<number, readonly NumberedStep[]>();
  readonly #checked = new Set<number>();

  get count(): number {
    return this.#nodes.length;
  }

  at(number: number): Node {
    const node = this.#nodes[number];
    if (node === undefined) throw new Error('no such node');
    return node;
  }

  number(node: Node): number {
    const key = nodeKey(node);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.#nodes.length);
    this.#nodes.push(node);
    return this.#nodes.length - 1;
  }

  steps(number: number, bao: Key): readonly NumberedStep[] {
    return this.#known(number * 512 + keyNumber(bao), () => stepsOf(this.at(number), profileAt(bao)));
  }

  staleSteps(number: number, stale: Key, bao: Key): readonly NumberedStep[] {
    const key = -((number * 512 + keyNumber(bao)) * 512 + keyNumber(stale));
    return this.#known(key, () => staleStepsOf(this.at(number), profileAt(stale), profileAt(bao)));
  }

  #known(key: number, make: () => readonly NodeStep[]): readonly NumberedStep[] {
    const known = this.#steps.get(key);
    if (known !== undefined) return known;
    const found = make().map((step) => ({ ...step, node: this.number(step.node) }));
    this.#steps.set(key, found);
    return found;
  }

  /** The sentences about one node and the OpenBao of this moment. */
  check(number: number, bao: Key, encrypted: number): void {
    const at = (number * 512 + keyNumber(bao)) * 32;
    if (!this.#isNew(at + encrypted + 1)) return;
    checkReadable(this, number, bao, encrypted);
    if (!this.#isNew(at)) return;
    checkEncrypt(this.at(number));
    checkNotStuck(this, number, bao);
  }

  #isNew(key: number): boolean {
    const isNew = !this.#checked.has(key);
    this.#checked.add(key);
    return isNew;
  }
}

function checkEncrypt(node: Node): void {
  const active = encryptsWith(node);
  if (active === undefined) return;
  if (active.state !== 'active' || active.kubernetesKeyId !== node.plugin?.deepKeyId) {
    throw new Violation(sentences.equal);
  }
}

/** Only what may decrypt at all; an observation that administrators' restrictions forbid finds nothing. */
function checkReadable(nodes: Nodes, number: number, bao: Key, encrypted: number): void {
  const node = nodes.at(number);
  const { plugin } = node;
  if (plugin?.published === undefined || !isServable(node, bao)) return;
  for (let version = bao.minDecryption; version <= bao.latest; version += 1) {
    if ((encrypted & (1 << version)) === 0 || canDecrypt(node, version)) continue;
    const discovered = nodes
      .steps(number, bao)
      .filter(({ label, faults }) => label.startsWith('discover') && faults === 0);
    if (discovered.length === 0 || !discovered.every((step) => canDecrypt(nodes.at(step.node), version))) {
      throw new Violation(sentences.readable);
    }
  }
}

/** Every recorded version inside the restrictions. */
function isServable(node: Node, bao: Key): boolean {
  const held = [node.disk.state, node.plugin?.published].flatMap((state) => state?.snapshots ?? []);
  return held.every(
    ({ transitVersion, state }) =>
      state === 'removed' || (transitVersion >= bao.minDecryption && transitVersion <= bao.latest),
  );
}

const enoughRounds = 12;

/** From here on nothing goes wrong any more: probes, time, and starts of what is down. */
function checkNotStuck(nodes: Nodes, first: number, bao: Key): void {
  const start = nodes.at(first);
  const isBootstrapped = start.disk.state !== undefined || bao.latest === 1;
  // A pending version is the newest one; a jump brings the ones between, which must be listed.
  const active = start.disk.state?.snapshots.find(({ state }) => state === 'active')?.transitVersion ?? 1;
  const isJumpListed = bao.minDecryption <= active;
  const isAcceptable = bao.minEncryption <= bao.latest && bao.minDecryption <= 1;
  if (!isBootstrapped || !isAcceptable || !isJumpListed || !isServable(start, bao)) return;
  let number = first;
  for (let round = 0; round < enoughRounds; round += 1) {
    for (const wanted of [
      'supervisor started',
      'plugin started',
      'advance',
      'deep probe',
      'half of the delay passes',
    ]) {
      const step = nodes.steps(number, bao).find(({ label, faults }) => faults === 0 && label.startsWith(wanted));
      if (step !== undefined) number = step.node;
    }
  }
  const node = nodes.at(number);
  const version = encryptsWith(node)?.transitVersion;
  if (!isHealthy(node) || version !== bao.latest || !mayEncrypt(profileAt(bao), version)) {
    throw new Violation(sentences.free);
  }
}

function worldKey({ bao, stale, rotations, changes, faults, encrypted, nodes }: World): string {
  return `${keyNumber(bao)}.${keyNumber(stale)}.${rotations}${changes}${faults}.${encrypted}.${nodes.join('.')}`;
}

function pathTo(world: World): string[] {
  const path: string[] = [];
  for (let at: World | undefined = world; at?.from !== undefined; at = at.from) path.unshift(at.label);
  return path;
}

/**
 * Breadth first, so that the way to a violation is as short as can be.
 *
 * @param progress  told of the states seen so far, now and then
 */
export function explore(bounds: Bounds, progress: (states: number) => void = () => {}): Outcome {
  const startedAtMs = performance.now();
  const nodes = new Nodes();
  const first: Key = { latest: 1, minDecryption: 1, minEncryption: 0 };
  const start: World = {
    bao: first,
    stale: first,
    rotations: bounds.rotations,
    changes: bounds.changes,
    faults: bounds.faults,
    encrypted: 0,
    nodes: Array.from({ length: bounds.nodes }, () => nodes.number(emptyNode)),
    from: undefined,
    label: '',
  };
  const seen = new Set([worldKey(start)]);
  let layer = [start];
  const done = (violation: Outcome['violation']): Outcome => ({
    states: seen.size,
    nodeStates: nodes.count,
    milliseconds: performance.now() - startedAtMs,
    violation,
  });
  let at = start;
  try {
    while (layer.length > 0) {
      const next: World[] = [];
      for (const world of layer) {
        at = world;
        for (const reached of successors(world, nodes)) {
          const key = worldKey(reached);
          if (seen.has(key)) continue;
          seen.add(key);
          if (seen.size % 100_000 === 0) progress(seen.size);
          at = reached;
          for (const number of reached.nodes) nodes.check(number, reached.bao, reached.encrypted);
          next.push(reached);
        }
      }
      layer = next;
    }
    return done(undefined);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    return done({ sentence: error.message, path: pathTo(at) });
  }
}

function* successors(world: World, nodes: Nodes): Generator<World> {
  for (const { label, bao, rotates } of administrators(world)) {
    const used = rotates ? { rotations: world.rotations - 1 } : { changes: world.changes - 1 };
    yield { ...world, ...used, bao, stale: world.bao, from: world, label };
  }
  for (const [index, number] of world.nodes.entries()) {
    if (world.nodes.indexOf(number) !== index) continue;
    const isChanged = keyNumber(world.stale) !== keyNumber(world.bao);
    const stale = isChanged && world.faults > 0 ? nodes.staleSteps(number, world.stale, world.bao) : [];
    for (const step of [...nodes.steps(number, world.bao), ...stale]) {
      if (step.faults > world.faults) continue;
      const moved = world.nodes
        .map((one, other) => (other === index ? step.node : one))
        .sort((one, other) => one - other);
      // A node that is healthy may encrypt at any moment, so what it would encrypt with counts as encrypted.
      const active = encryptsWith(nodes.at(step.node));
      const encrypted = active === undefined ? world.encrypted : world.encrypted | (1 << active.transitVersion);
      const faults = world.faults - step.faults;
      yield { ...world, nodes: moved, encrypted, faults, from: world, label: `node ${index + 1}: ${step.label}` };
    }
  }
}
