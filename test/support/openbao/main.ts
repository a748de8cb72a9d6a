// The development OpenBao as a process of its own: prints one JSON line with what a client needs, then serves until it is
// told to stop or its parent is gone.

import { createAuthority, createLeaf } from '../pki.ts';
import { developmentVersion, startDevelopmentServer } from './server.ts';

const authority = await createAuthority();
const server = await startDevelopmentServer({ leaf: await createLeaf(authority) });
const notice = 'development server: this is no OpenBao. No audit, no seal, no access review, everything in memory.';
process.stderr.write(`${notice}\n`);
process.stdout.write(
  `${JSON.stringify({ address: server.address, rootToken: server.rootToken, ca: authority.pem, version: developmentVersion })}\n`,
);
process.stdin.resume();
process.stdin.once('end', () => process.exit(0));
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
