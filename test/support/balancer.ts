// A TCP balancer before some nodes on the loopback address. A blind one takes the nodes in turn and never looks at them; one that
// looks sends everybody to the first node that it takes for well, and leaves the connections that are there alone.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export type Balancer = {
  readonly port: number;
  /** Nothing passes to or from this node any more, as behind a broken cable: no reset, no end. */
  readonly isolate: (port: number) => void;
  readonly rejoin: (port: number) => void;
  readonly close: () => Promise<void>;
};

export type BalancerOptions = {
  readonly ports: readonly number[];
  /** Whether a node is well; asked twice a second. Left out, the balancer is blind. */
  readonly isWell?: (port: number) => Promise<boolean>;
};

const lookMs = 500;

type Pair = { readonly front: Socket; readonly back: Socket; readonly port: number };

export async function startBalancer({ ports, isWell }: BalancerOptions): Promise<Balancer> {
  const isolated = new Set<number>();
  const pairs = new Set<Pair>();
  const unwell = new Set<number>();
  let turn = 0;
  const choose = (): number | undefined => {
    if (isWell !== undefined) return ports.find((port) => !unwell.has(port)) ?? ports[0];
    turn += 1;
    return ports[turn % ports.length];
  };
  const look = async (port: number) => {
    const isFine = !isolated.has(port) && (await isWell?.(port)) === true;
    if (isFine) unwell.delete(port);
    else unwell.add(port);
  };
  const lookAtAll = () => {
    if (isWell !== undefined) for (const port of ports) void look(port);
  };
  const timer = setInterval(lookAtAll, lookMs);
  const server = createServer({ pauseOnConnect: true }, (front) => {
    const port = choose() ?? 0;
    front.on('error', () => {});
    const back = connect(port, '127.0.0.1');
    const pair = { front, back, port };
    pairs.add(pair);
    back.on('error', () => {});
    back.once('close', () => isolated.has(port) || front.destroy());
    front.once('close', () => {
      pairs.delete(pair);
      back.destroy();
    });
    if (!isolated.has(port)) pass(pair);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    isolate: (port) => {
      isolated.add(port);
      for (const pair of pairs) if (pair.port === port) part(pair);
    },
    rejoin: (port) => {
      isolated.delete(port);
      for (const pair of pairs) if (pair.port === port) pass(pair);
    },
    close: () => {
      clearInterval(timer);
      for (const { front, back } of pairs) {
        front.destroy();
        back.destroy();
      }
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function pass({ front, back }: Pair): void {
  front.pipe(back);
  back.pipe(front);
}

function part({ front, back }: Pair): void {
  front.unpipe(back).pause();
  back.unpipe(front).pause();
}
