// `flood.ts {JSON}`: everything that a stranger may do to the plugin, all at once, from a process of its own until it is killed. One
// JSON line a second tells what was sent.

import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { DecryptRequest } from '../../plugin/kms/generated/kms/v2/api.ts';
import { connectStranger, framed, type Stranger } from './kms-socket.ts';

export type FloodPlan = {
  readonly socketPath: string;
  /** A Decrypt that the provider would serve, as bytes of its message in hexadecimal. */
  readonly decryptHex: string;
  /** `host:port` of /metrics and of /live; left out: these are spared. */
  readonly metricsAddress?: string;
  readonly healthAddress?: string;
};

/** gRPC statuses of the Decrypts, -1 for none. */
const statuses: Record<string, number> = {};
const sent = { connections: 0, halfOpen: 0, decrypts: 0, givenUp: 0, scrapes: 0, slow: 0 };

/** Runs again and again, whatever happens to it. */
function forever(everyMs: number, run: () => void): void {
  const again = () => {
    try {
      run();
    } catch {
      // The other side has closed it.
    }
    setTimeout(again, everyMs);
  };
  again();
}

/** A stranger who comes back when his connection was ended. */
function persistent(path: string): () => Stranger {
  let stranger = connectStranger(path);
  return () => {
    if (stranger.session.destroyed || stranger.session.closed) stranger = connectStranger(path);
    return stranger;
  };
}

function floodHalfOpen(path: string): void {
  const part = framed(Buffer.alloc(60_000)).subarray(0, 2_000);
  for (const method of ['Decrypt', 'Decrypt', 'Encrypt', 'Status']) {
    const stranger = persistent(path);
    forever(100, () => {
      for (let count = 0; count < 20; count += 1) {
        stranger().begin(method, count % 2 === 0 ? part : undefined);
        sent.halfOpen += 1;
      }
    });
  }
}

/** Each equal to no other, with as many annotations as may be, each as long as may be. */
function floodDecrypts(path: string, template: DecryptRequest): void {
  const extra = Array.from({ length: 16 - template.annotations.size }, (_, index): [string, Buffer] => [
    `x${index}.example.org`,
    Buffer.alloc(1_024, 0x61),
  ]);
  for (const isLarge of [true, true, false]) {
    const stranger = persistent(path);
    let inFlight = 0;
    forever(20, () => {
      for (; inFlight < 1_000; inFlight += 1) {
        const ciphertext = Buffer.from(`vault:v1:${randomBytes(40).toString('base64')}`);
        const annotations = isLarge ? new Map([...template.annotations, ...extra]) : template.annotations;
        const message = Buffer.from(DecryptRequest.encode({ ...template, ciphertext, annotations }).finish());
        sent.decrypts += 1;
        void stranger()
          .call('Decrypt', message)
          .then((status) => {
            statuses[status] = (statuses[status] ?? 0) + 1;
            setTimeout(() => (inFlight -= 1), 1_000);
          });
      }
    });
  }
}

function floodResets(path: string): void {
  const stranger = persistent(path);
  forever(20, () => {
    for (let count = 0; count < 20; count += 1) {
      stranger().begin('Decrypt').close(8);
      sent.givenUp += 1;
    }
  });
}

/** More connections than there are places, none of which says anything. */
function floodConnections(path: string): void {
  for (let place = 0; place < 70; place += 1) {
    let socket: Socket | undefined;
    forever(200, () => {
      if (socket !== undefined && !socket.destroyed) return;
      sent.connections += 1;
      socket = connect(path);
      socket.on('error', () => {});
      socket.resume();
    });
  }
}

function floodHttp(address: string, count: number, begin: (socket: Socket) => void): void {
  const [host = '', port = ''] = address.split(':');
  for (let place = 0; place < count; place += 1) {
    let socket: Socket | undefined;
    forever(100, () => {
      if (socket !== undefined && !socket.destroyed) return;
      socket = connect(Number(port), host, () => socket !== undefined && begin(socket));
      socket.on('error', () => {});
      // Read, or its end would not be seen and nobody would come back.
      socket.resume();
    });
  }
}

function flood(plan: FloodPlan): void {
  const { socketPath, metricsAddress, healthAddress } = plan;
  floodHalfOpen(socketPath);
  floodDecrypts(socketPath, DecryptRequest.decode(Buffer.from(plan.decryptHex, 'hex')));
  floodResets(socketPath);
  setTimeout(() => floodConnections(socketPath), 500);
  if (metricsAddress !== undefined) {
    floodHttp(metricsAddress, 4, (socket) => {
      sent.scrapes += 1_500;
      socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1_500));
    });
  }
  if (healthAddress !== undefined) {
    floodHttp(healthAddress, 64, (socket) => {
      sent.slow += 1;
      socket.write('GET /live HTTP/1.1\r\nHost: ');
    });
  }
  setInterval(() => process.stdout.write(`${JSON.stringify({ ...sent, statuses })}\n`), 1_000);
}

if (process.argv[1] === new URL(import.meta.url).pathname) flood(JSON.parse(process.argv[2] ?? '{}') as FloodPlan);
